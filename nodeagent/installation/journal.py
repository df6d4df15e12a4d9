"""What was changed on the node, written down before it is changed, so that any of it can be taken back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store import durable

ACTS_MAX = 100


class SetupError(Exception):
    """A step cannot be done; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(slots=True)
class Journal:
    """The acts so far, oldest first: each a table with its `act` and what it is done to. `state`: the node's folder."""

    path: Path
    state: str = ""
    acts: list[dict[str, Any]] = field(default_factory=list)

    def will(self, act: str, **what: Any) -> None:
        """Writes an act down, once. Raises StoreError, SetupError."""
        entry = {"act": act, **what}
        if entry in self.acts:
            return
        if len(self.acts) >= ACTS_MAX:
            raise SetupError(f"{self.path} holds {ACTS_MAX} acts: something repeats itself")
        self.acts.append(entry)
        self._save()

    def undone(self, entry: dict[str, Any]) -> None:
        """Crosses an act out after it was taken back."""
        self.acts.remove(entry)
        self._save()

    def all(self, act: str) -> list[dict[str, Any]]:
        """Every act of one kind."""
        return [entry for entry in self.acts if entry["act"] == act]

    def _save(self) -> None:
        document = {"format": 1, "state": self.state, "acts": self.acts}
        durable.write_file(self.path, (json.dumps(document, indent=1) + "\n").encode(), 0o644)


def load(path: Path) -> Journal:
    """The journal at `path`; an empty one where there is none. Raises SetupError for one that is not ours."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != 1:
            raise ValueError(f"format {document['format']}")
        return Journal(path, str(document["state"]), list(document["acts"]))
    except FileNotFoundError:
        return Journal(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} cannot be read: {error}", "look at it, and move it away if it is not ours") from error


def make_folder(journal: Journal, folder: Path, mode: int) -> None:
    """Makes a folder and what is missing above it, remembering the topmost that is new."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    if not missing:
        return
    if journal.path.parent.is_dir():
        for path in reversed(missing):
            journal.will("folder", path=str(path))
    durable.make_dir(folder, mode)
    for path in reversed(missing):
        journal.will("folder", path=str(path))
