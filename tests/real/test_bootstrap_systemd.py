"""The agent's unit under a real systemd: started hardened, killed, cut off from power, and taken off again.

The whole way, from a console over SSH to predictions out of a PLC, is `python -m tests.faults systemd`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.bootstrap.carried import carried
from nodeagent.installation.place import _LAUNCHER

_spec = importlib.util.spec_from_file_location("systemd_machine", Path(__file__).with_name("systemd_machine.py"))
assert _spec is not None
assert _spec.loader is not None
_machine = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_machine)

ROOT = Path(__file__).parents[2]
PYTHON = f"/srv/python/bin/python3.{sys.version_info.minor}"
PREFIX, STATE, UNIT = "/opt/outstation", "/var/lib/outstation", "outstation-agent.service"
EXPOSURE_MAX = 2.0
WAIT_S = 60.0


@pytest.fixture
def machine() -> Iterator[Any]:
    """It runs, and sees this Python, the environment's packages and the project."""
    folder = Path(tempfile.mkdtemp(prefix="sd-", dir="/tmp"))
    python, packages = Path(sys.base_prefix), Path(sysconfig.get_path("purelib"))
    try:
        made = _machine.Machine(folder, "", python=python, packages=packages, project=ROOT)
        try:
            made.boot()
            yield made
        finally:
            made.close()
    except _machine.NotHere as error:
        pytest.fail(f"NOT RUN: a systemd of its own cannot be booted here: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(machine: Any) -> None:
    """A version as bootstrap unpacks it, but of links to the environment's own packages."""
    version = machine.root / PREFIX[1:] / "versions" / "dev"
    (version / "site").mkdir(parents=True)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        (version / "site" / entry.name).symlink_to(f"/srv/packages/{entry.name}")
    for name in ("nodeagent", "store"):
        (version / "site" / name).symlink_to(f"/srv/project/{name}")
    words = {"python": PYTHON, "state": STATE, "module": "nodeagent"}
    (version / "outstation-agent").write_text(_LAUNCHER % words)
    (version / "outstation-agent").chmod(0o755)
    (version / "installed.json").write_text("{}")


def ask(machine: Any, verb: str, **more: Any) -> dict[str, Any]:
    """One verb of `nodeagent.installation`, run as bootstrap runs it."""
    request = {"verb": verb, "prefix": PREFIX, "state": STATE, "version": "dev", "start": "systemd", **more}
    (machine.root / "root" / "setup.zip").write_bytes(carried(request))
    words = ["env", "PYTHONPATH=/root/setup.zip", "PYTHONDONTWRITEBYTECODE=1", PYTHON, "-P", "-s"]
    said = machine.run(*words, "-m", "nodeagent.installation", "/root/setup.zip", check=False)
    answer: dict[str, Any] = json.loads(said)
    (machine.root / "root" / "setup.zip").unlink()
    return answer


def shown(machine: Any, *names: str) -> dict[str, str]:
    lines = machine.run("systemctl", "show", UNIT, *(f"--property={name}" for name in names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_unit_starts_hardened_outlives_a_kill_and_a_power_cut_and_is_taken_off_without_a_trace(
    machine: Any,
) -> None:
    before = machine.files()
    ask(machine, "begin")
    place(machine)
    ask(machine, "init", name="press-07", site="hall", signers="", run="/run/outstation")
    forgetful = Path(machine.root, "etc/systemd/system", f"{UNIT}.d", "forgetful.conf")
    forgetful.parent.mkdir()
    forgetful.write_text("[Service]\nRuntimeDirectory=\n")
    assert "Permission denied: '/run/outstation'" in ask(machine, "start", restart=False)["error"]
    shutil.rmtree(forgetful.parent)
    assert ask(machine, "start", restart=True) == {"notes": []}
    unit = shown(machine, "ActiveState", "User", "NRestarts", "UnitFileState", "NoNewPrivileges", "StatusErrno")
    assert unit == {
        "ActiveState": "active",
        "User": "outstation",
        "NRestarts": "0",
        "UnitFileState": "enabled",
        "NoNewPrivileges": "yes",
        "StatusErrno": "0",
    }
    judged = machine.run("systemd-analyze", "security", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", judged)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX

    machine.run("kill", "-KILL", shown(machine, "MainPID")["MainPID"])
    until_s = time.monotonic() + WAIT_S
    while shown(machine, "ActiveState", "NRestarts") != {"ActiveState": "active", "NRestarts": "1"}:
        assert time.monotonic() < until_s, machine.run("journalctl", "--no-pager", "-u", UNIT)
        time.sleep(0.1)

    machine.cut()
    machine.boot()
    assert shown(machine, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    assert ask(machine, "wipe", keep_state=False) == {"left": []}
    assert sorted(machine.files() - before) == []
    assert "outstation" not in machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow")
    assert shown(machine, "ActiveState", "LoadState") == {"ActiveState": "inactive", "LoadState": "not-found"}
