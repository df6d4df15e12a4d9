"""Policies that a person can take as they are, and those kept as files in the console's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from console.rollout.policy import FILE_BYTES_MAX, PolicyError, parse_policy

FILES_MAX = 100
FOLDER = "policies"


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """A policy by its name, with its text. `wrong`: why it cannot be used; `file`: where it is kept, "" for ours."""

    name: str
    text: str
    wrong: str = ""
    file: str = ""


def _preset(name: str, body: str) -> PolicyEntry:
    return PolicyEntry(name, f'name = "{name}"\n{body}')


PRESETS = (
    _preset(
        "canary, a quarter, all",
        '[waves]\ncanary = 1\nsteps = ["25%", "100%"]\nsoak = "10m"\n[trial]\nwindow = "10m"\nsoak = "2m"\n',
    ),
    _preset(
        "canary, then all, quick",
        '[waves]\ncanary = 1\nsoak = "1m"\n[trial]\nwindow = "5m"\nsoak = "30s"\n[gate]\npredictions_min = 1\n',
    ),
    _preset(
        "one node at a time",
        '[waves]\ncanary = 1\nconcurrency = 1\nsoak = "10m"\n[trial]\nwindow = "10m"\nsoak = "5m"\n',
    ),
    _preset(
        "line by line, pausing after each",
        'success = "pause"\n[waves]\ncanary = 1\nby = "line"\nsoak = "30m"\n[trial]\nwindow = "15m"\nsoak = "5m"\n',
    ),
    _preset("site by site", '[waves]\ncanary = 1\nby = "site"\nsoak = "1h"\n[trial]\nwindow = "15m"\nsoak = "5m"\n'),
)


def policies(home: Path) -> list[PolicyEntry]:
    """Those of the console's folder first, by name, then ours. A file that cannot be used says why."""
    folder = home / FOLDER
    files = sorted(folder.glob("*.toml"))[:FILES_MAX] if folder.is_dir() else []
    return [*(_read(path) for path in files), *PRESETS]


def _read(path: Path) -> PolicyEntry:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1).decode()
        policy = parse_policy(text)
    except (PolicyError, UnicodeDecodeError, OSError) as error:
        return PolicyEntry(path.stem, "", wrong=str(error), file=str(path))
    return PolicyEntry(policy.name or path.stem, text, file=str(path))
