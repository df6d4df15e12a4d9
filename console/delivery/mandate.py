"""Under what a person changes nodes: a change number, an emergency, and the signed papers that this console holds.

A paper is a permit or an approval that somebody signed (store/warrant.py), one file each. Which one a change needs is
found by what it is for and by the node; those whose end is past by this console's clock are passed over.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from console.client.clean import clean
from nodeagent.protocol import SignedWarrant
from store import durable, warrant
from store.errors import StoreError, from_os
from store.warrant import Kind, Warrant, WarrantRefused

SUFFIX = ".warrant"
FILE_BYTES_MAX = 64 << 10
FILES_MAX = 2_000

FindPaper = Callable[[Kind, str, str], SignedWarrant | None]


class PaperRefused(Exception):
    """The file is no paper. `hint` says what to do."""

    hint = "let it be signed again with `outstation trust permit` or `outstation approve`"


@dataclass(frozen=True, slots=True)
class Mandate:
    """What every change of one command, or of one sitting, carries.

    `find(kind, subject, node id)` looks among the papers at hand; `brought(digest)` says by which receipt of a scan
    station something came to this console, for the node's ledger.
    """

    change_number: str = ""
    emergency: str = ""
    find: FindPaper | None = None
    brought: Callable[[str], str] = lambda _: ""

    def paper(self, kind: Kind, subject: str, node_id: str) -> SignedWarrant | None:
        """The paper that counts for this, if there is one."""
        return None if self.find is None else self.find(kind, subject, node_id)


class Papers:
    """The papers of a console, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, paper: SignedWarrant) -> tuple[Path, Warrant]:
        """Keeps a paper under its id; the same again changes nothing. Raises PaperRefused, StoreError kinds."""
        found = read(paper)
        durable.make_dir(self._folder, 0o700)
        path = self._folder / f"{found.id}{SUFFIX}"
        write(path, paper)
        return path, found

    def all(self) -> list[Warrant]:
        """What every paper says, those that end last first. A file that cannot be read is none."""
        return [found for found, _ in self._held()]

    def find(self, kind: Kind, subject: str, node_id: str) -> SignedWarrant | None:
        """The one that counts longest; what it misses the node says."""
        now_s = time.time()
        for found, paper in self._held():
            if (found.kind, found.subject) == (kind, subject) and node_id in found.nodes and found.until_s > now_s:
                return paper
        return None

    def _held(self) -> list[tuple[Warrant, SignedWarrant]]:
        held: list[tuple[Warrant, SignedWarrant]] = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}"))[:FILES_MAX]:
            with contextlib.suppress(PaperRefused, StoreError):
                paper = load(path)
                held.append((read(paper), paper))
        return sorted(held, key=lambda pair: -pair[0].until_s)


def read(paper: SignedWarrant) -> Warrant:
    """What a paper says; whether its signature counts is the node's to say. Raises PaperRefused."""
    try:
        return warrant.read(paper.document.encode())
    except WarrantRefused as error:
        raise PaperRefused(clean(str(error), 200)) from error


def load(path: Path) -> SignedWarrant:
    """A paper from a file. Raises PaperRefused, StoreError kinds."""
    try:
        data = path.read_bytes() if path.stat().st_size <= FILE_BYTES_MAX else b""
    except OSError as error:
        raise from_os(error, "read", path) from error
    try:
        return msgspec.json.decode(data, type=SignedWarrant)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PaperRefused(f"{path}: this is no permit and no approval") from error


def write(path: Path, paper: SignedWarrant) -> None:
    """A paper as a file, 0600, all or nothing. Raises StoreError kinds."""
    with durable.replacing(path) as file:
        file.write(msgspec.json.encode(paper) + b"\n")
