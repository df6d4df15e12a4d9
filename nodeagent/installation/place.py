"""One version of the agent in a folder of its own, the two commands in it, and the link that says which one counts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nodeagent.installation import unpack
from nodeagent.installation.journal import Journal, SetupError, make_folder
from nodeagent.installation.layout import Layout
from store import durable

INIT_S = 120.0
_PLACED = "installed.json"
# -P and PYTHONSAFEPATH: the folder in which somebody stands must never be searched for modules.
_LAUNCHER = """#!/bin/sh
# Written by `outstation node bootstrap`. Starts the version in whose folder it lies.
here=$(dirname "$(readlink -f "$0")")
OUTSTATION_STATE=${OUTSTATION_STATE:-%(state)s}
PYTHONPATH=$here/site PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
export OUTSTATION_STATE PYTHONPATH PYTHONSAFEPATH PYTHONNOUSERSITE PYTHONDONTWRITEBYTECODE
exec %(python)s -P -m %(module)s "$@"
"""


def begin(layout: Layout, journal: Journal) -> None:
    """The folders, each written down before it is made."""
    journal.state = str(layout.state)
    make_folder(journal, layout.prefix, 0o755)
    make_folder(journal, layout.versions, 0o755)
    make_folder(journal, layout.staging, 0o700)


def staged(layout: Layout) -> dict[str, int]:
    """Bytes of every file that was copied so far, by its SHA-256."""
    if not layout.staging.is_dir():
        return {}
    return {path.name: path.stat().st_size for path in layout.staging.iterdir()}


def is_placed(layout: Layout, version: str) -> bool:
    """Whether a version is there whole: its folder gets its name only then."""
    return (layout.versions / version / _PLACED).is_file()


def place(layout: Layout, version: str, wheels: Sequence[dict[str, Any]], python: str) -> int:
    """Checks and unpacks the staged wheels as `version`; returns the files written, 0 when it was there. SetupError."""
    if is_placed(layout, version):
        return 0
    for wheel in wheels:
        unpack.check(layout.staging / wheel["sha256"], wheel["sha256"])
    new = layout.versions / f".{version}.new"
    files = unpack.unpack([(w["file"], layout.staging / w["sha256"]) for w in wheels], new / "site")
    words = {"python": shlex.quote(python), "state": shlex.quote(str(layout.state))}
    for name, module in (("outstation-agent", "nodeagent"), ("outstation-keeper", "nodeagent.installation.keeper")):
        durable.write_file(new / name, (_LAUNCHER % {**words, "module": module}).encode(), 0o755)
    _prove(python, new / "site")
    unpack.compile_all(new / "site")
    facts = {"version": version, "python": python, "wheels": list(wheels)}
    durable.write_file(new / _PLACED, json.dumps(facts, indent=1).encode() + b"\n", 0o644)
    unpack.settle(new, layout.versions / version)
    return files


def _prove(python: str, site: Path) -> None:
    """Loads what a worker will: a compiled part that does not fit this node shows itself now, not at night."""
    code = "import cryptography.hazmat.primitives.serialization, httptools, msgspec, numpy, onnxruntime, psutil"
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ.get("PATH", os.defpath)}
    environment["ORT_DISABLE_TELEMETRY"] = "1"  # it would leave an id of the device in the account's cache
    command = [python, "-P", "-s", "-c", code]
    tried = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=INIT_S, check=False)
    if tried.returncode != 0:
        said = tried.stderr.strip().splitlines()[-1:] or [f"exit status {tried.returncode}"]
        raise SetupError(
            f"the agent's packages do not load on this node: {said[0]}",
            "is the kit for this node's Python and glibc, and may files below the prefix be executed?",
        )


def init(layout: Layout, version: str, *, name: str, site: str, signers: str, run: str) -> str:
    """Makes the node (or finds it made) and returns its id. `run`: the folder of the sockets, empty for the usual."""
    agent = layout.versions / version / "outstation-agent"
    command = [str(agent), "init", "--state", str(layout.state), "--name", name, "--site", site]
    if signers:
        file = layout.prefix / "allow_signers"
        durable.write_file(file, signers.encode(), 0o600)
        command += ["--allow-signer", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INIT_S, check=False)
    if signers:
        durable.unlink(layout.prefix / "allow_signers")
    if done.returncode != 0:
        raise SetupError(done.stderr.strip()[-600:] or "outstation-agent init failed")
    settings = layout.state / "node.toml"
    text = settings.read_text("utf-8")
    if run and "[api]" not in text:
        durable.write_file(settings, f"{text.rstrip()}\n\n[api]\nrun = {json.dumps(run)}\n".encode(), 0o644)
    return done.stdout.strip()


def switch(layout: Layout, version: str) -> str:
    """Makes `version` the one that counts, in one step of the file system; returns the one before, or nothing."""
    if not is_placed(layout, version):
        raise SetupError(f"version {version} is not installed")
    before = os.readlink(layout.current).rpartition("/")[2] if layout.current.is_symlink() else ""
    new = layout.prefix / ".current.new"
    durable.unlink(new)
    os.symlink(f"versions/{version}", new)
    os.rename(new, layout.current)
    durable.sync_dir(layout.prefix)
    return "" if before == version else before


def prune(layout: Layout, keep: set[str]) -> list[str]:
    """Removes every version that is not named; returns their names. A half removed one is no version any more."""
    gone = []
    for folder in sorted(layout.versions.iterdir()):
        if folder.name not in keep:
            durable.unlink(folder / _PLACED)
            shutil.rmtree(folder)
            gone.append(folder.name)
    durable.sync_dir(layout.versions)
    return gone


def unstage(layout: Layout) -> None:
    """Gives the room of the copied files back."""
    if layout.staging.is_dir():
        shutil.rmtree(layout.staging)
        durable.sync_dir(layout.prefix)
