"""Taking everything back that was written down, newest first. What we did not make stays, and is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from nodeagent.installation import boot, keeper, systemd
from nodeagent.installation.journal import Journal
from nodeagent.installation.layout import Layout
from store import durable

# What a node's state folder holds at least one of: no other folder is ever removed with everything in it.
_OF_A_NODE = ("node.db", "node.id", "node.toml")
_OURS = ("versions", "staging", "runtimes", "current", ".current.new", "keeper.lock", "keeper.log", "allow_signers")


def stop(layout: Layout, journal: Journal) -> None:
    """Stops whatever runs the agent. Raises SetupError."""
    for entry in journal.all("unit"):
        if Path(entry["path"]).exists():
            systemd.stop(user=entry["user"])
    keeper.stop(layout.keeper_lock)


def wipe(layout: Layout, journal: Journal, *, keep_state: bool) -> list[str]:
    """Removes the agent; returns what was left because it is not ours. Raises SetupError, StoreError."""
    for entry in reversed(list(journal.acts)):
        if entry["act"] != "folder":
            _take_back(entry, journal)
    keeper.stop(layout.keeper_lock)
    left: list[str] = []
    if not keep_state:
        left += _remove_state(layout.state)
    if not layout.prefix.is_dir():
        return left
    for name in _OURS:
        _remove(layout.prefix / name)
    durable.remove_temporaries(layout.prefix)
    folders = [Path(entry["path"]) for entry in journal.all("folder")]
    # The journal goes last, and with it the knowledge of which folders above are ours.
    durable.unlink(layout.journal)
    for folder in sorted({*folders, layout.prefix}, key=lambda path: len(path.parts), reverse=True):
        if folder.is_dir():
            inside = sorted(path.name for path in folder.iterdir())
            if not inside:
                durable.remove_dir(folder)
            elif folder == layout.prefix and not (keep_state and inside == [layout.state.name]):
                left.append(f"{folder}: {', '.join(inside[:5])}")
    return left


def _take_back(entry: dict[str, Any], journal: Journal) -> None:
    match entry["act"]:
        case "unit":
            systemd.uninstall(Path(entry["path"]), user=entry["user"])
        case "linger":
            systemd.stop_linger(entry["account"])
        case "crontab":
            boot.remove_from_crontab()
        case "rc.local":
            boot.remove_from_rc_local(Path(entry["path"]))
        case "account":
            systemd.remove_account(entry["name"])
        case other:
            raise ValueError(f"{journal.path} holds an act that nobody knows: {other}")
    journal.undone(entry)


def _remove_state(state: Path) -> list[str]:
    if not state.exists():
        return []
    if not any((state / name).exists() for name in _OF_A_NODE) and any(state.iterdir()):
        return [f"{state}: it does not look like a node's"]
    shutil.rmtree(state)
    durable.sync_dir(state.parent)
    return []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        os.unlink(path)
