"""The four generic package names are ours, and the agent loads nothing of a terminal or an SSH client."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ["console", "nodeagent", "store", "widgets"]


@pytest.mark.parametrize("name", OURS)
def test_a_package_name_resolves_to_this_checkout(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


@pytest.mark.parametrize("name", OURS)
def test_no_other_distribution_claims_a_package_name_of_ours(name: str) -> None:
    assert set(packages_distributions().get(name, [])) <= {"outstation"}


def _modules_after(importing: list[str]) -> set[str]:
    code = (
        "import importlib, json, sys\n"
        "[importlib.import_module(name) for name in json.loads(sys.argv[1])]\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps(importing)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(answer.stdout))


def _modules_of(package: str) -> list[str]:
    names = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] not in ("__init__", "__main__"):
            names.append(".".join(parts))
    return names


def test_the_whole_agent_loads_no_terminal_and_no_ssh_client() -> None:
    loaded = _modules_after(_modules_of("nodeagent"))
    assert not loaded & {"textual", "rich", "asyncssh", "httpx", "httpcore"}


def test_the_supervisor_loads_no_model_runtime_and_no_schema_tool() -> None:
    loaded = _modules_after(["nodeagent.supervisor"])
    assert not loaded & {"onnxruntime", "numpy", "sqlite_utils", "onnx"}


@pytest.mark.parametrize("module", ["nodeagent.processes.launcher", "nodeagent.bridge"])
def test_the_launcher_and_the_bridge_load_the_standard_library_only(module: str) -> None:
    foreign = {name.partition(".")[0] for name in _modules_after([module])} - set(sys.stdlib_module_names)
    assert {name for name in foreign if not name.startswith(("_", "nodeagent", "editables"))} <= {"sitecustomize"}
