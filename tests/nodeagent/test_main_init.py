"""`outstation-agent` as a person at the node types it: init, version, inspect-model, and what it says when it fails."""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nodeagent.state import installed, state_folder
from store import db
from store.node import identity as rows

SIGNER = (
    'release namespaces="outstation-bundle" '
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFJ6tG6BiDUMM0Vmh5WGlkfN5HTk7RM1Ok1oIjA4dEHE\n"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodeagent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_init_makes_a_node_and_again_changes_nothing(tmp_path: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text(SIGNER)
    state = tmp_path / "n"
    first = run("init", "--state", str(state), "--allow-signer", str(signers), "--name", 'press "7"', "--site", "east")
    assert first.returncode == 0, first.stderr
    node_id = first.stdout.strip()
    files = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file() and "node.db" not in path.name}
    again = run("init", "--state", str(state), "--allow-signer", str(signers), "--name", "other")
    assert again.stdout.strip() == node_id
    assert {name: (state / name).read_bytes() for name in files} == files
    assert stat.S_IMODE((state / "node.db").stat().st_mode) == 0o600
    connection = db.open_reader(state / "node.db")
    assert rows.node_id(connection) == node_id == state_folder.read_id(state)
    connection.close()
    assert state_folder.count_signers(state) == 1
    assert 'name = "press \\"7\\""' in (state / "node.toml").read_text()


def test_init_adds_a_signer_and_keeps_the_others(tmp_path: Path) -> None:
    state = tmp_path / "n"
    run("init", "--state", str(state))
    assert state_folder.count_signers(state) == 0
    (tmp_path / "signers").write_text(SIGNER)
    run("init", "--state", str(state), "--allow-signer", str(tmp_path / "signers"))
    (tmp_path / "signers").write_text(SIGNER.replace("release", "second"))
    run("init", "--state", str(state), "--allow-signer", str(tmp_path / "signers"))
    assert state_folder.count_signers(state) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("release ssh-ed25519 AAAA\n", "line 1"),
        (SIGNER.replace("outstation-bundle", "git"), 'no line has namespaces="outstation-bundle"'),
        ("", 'no line has namespaces="outstation-bundle"'),
    ],
)
def test_a_signer_that_silently_would_be_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "signers").write_text(text)
    done = run("init", "--state", str(tmp_path / "n"), "--allow-signer", str(tmp_path / "signers"))
    assert done.returncode == 1
    assert says in done.stderr
    assert not (tmp_path / "n" / "allowed_signers").exists()


def test_running_what_is_no_node_says_what_to_do(tmp_path: Path) -> None:
    done = run("run", "--state", str(tmp_path))
    assert (done.returncode, "outstation-agent init" in done.stderr) == (78, True)


def test_asking_an_agent_that_does_not_run_says_so(tmp_path: Path) -> None:
    for verb in ("status", "hold", "release"):
        done = run(verb, "--state", str(tmp_path))
        assert done.returncode == 1
        assert "does the agent run?" in done.stderr


def test_inspect_model_tells_the_facts_of_a_file(models: dict[str, Path], tmp_path: Path) -> None:
    done = run("inspect-model", str(models["tiny"]), "--json")
    facts = json.loads(done.stdout)
    assert (facts["opsets"], facts["operators"]) == ({"": 17}, ["Gemm", "Softmax"])
    assert facts["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}]
    assert "input x: FP32" in run("inspect-model", str(models["tiny"])).stdout
    (tmp_path / "not.onnx").write_bytes(b"\xff" * 100)
    assert run("inspect-model", str(tmp_path / "not.onnx")).returncode == 1


def test_version_is_the_distribution_s() -> None:
    assert run("version").stdout.strip().count(".") == 2


def test_the_supervisor_imports_nothing_heavy() -> None:
    code = (
        "import sys, nodeagent.supervisor\n"
        "heavy = {'onnxruntime', 'numpy', 'sqlite_utils', 'cryptography', 'textual', 'asyncssh', 'httpx', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


IDLE = """argparse gettext tempfile shutil bz2 lzma statistics fractions ctypes csv email http.client xml ssl _ssl
_hashlib multiprocessing nodeagent.checks.all nodeagent.pipeline.engine store.signing store.catalog"""


def test_an_idle_supervisor_has_loaded_nothing_that_only_work_needs() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['supervisor']\n"
        "try: runpy.run_module('nodeagent.supervisor', run_name='__main__')\n"
        "except SystemExit as end: status = end.code\n"
        f"print(status, sorted(name for name in {IDLE.split()!r} if sys.modules.get(name)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{os.EX_USAGE} []"
    assert "usage" in done.stderr


def test_a_launcher_without_a_trial_has_loaded_neither_sqlite_nor_what_copies_files() -> None:
    code = (
        "import sys, nodeagent.processes.launcher\n"
        "print(sorted({'sqlite3', 'tempfile', 'shutil', 'bz2', 'asyncio', 'logging', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_much_is_hashed_by_openssl_in_a_process_that_was_started_without_it() -> None:
    code = (
        "import sys; sys.modules['_hashlib'] = None\n"
        "import hashlib, store.hashing\n"
        "before = '_hashlib' in sys.modules and sys.modules['_hashlib'] is not None\n"
        "hashed = store.hashing.bulk_sha256(); hashed.update(b'abc')\n"
        "print(before, type(hashed).__module__, hashed.hexdigest() == hashlib.sha256(b'abc').hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "_hashlib", "True"]


def test_a_python_whose_hashes_are_all_openssls_keeps_it_and_still_hashes() -> None:
    code = (
        "import sys; sys.modules['_md5'] = sys.modules['_sha256'] = sys.modules['_sha2'] = None\n"
        "from nodeagent.lean import shut_out; shut_out()\n"
        "import hashlib; print(sys.modules.get('_hashlib') is not None, hashlib.sha256(b'abc').hexdigest()[:8])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["True", "ba7816bf"], "")


def test_an_installed_version_is_what_the_packaging_tools_say() -> None:
    for name in ("outstation", "onnxruntime", "sqlite-utils"):
        assert installed.version(name) == importlib.metadata.version(name)
    assert installed.version("no-such-distribution") is None
