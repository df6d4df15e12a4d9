"""A folder that travels, on a stick or otherwise: nodes, bundles, kits, ledgers and who may sign, each with its hash.

The hashes say that it arrived whole, not that it is to be believed: what is taken from it is checked as if it came
alone. No key and no secret is ever in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from store import durable
from store.errors import from_os

INDEX_NAME: Final = "carry.json"
FILES_MAX: Final = 10_000
INDEX_BYTES_MAX: Final = 8 << 20
PIECE_BYTES: Final = 1 << 20
SITE: Final = "site.json"
Kind = Literal["site", "bundle", "kit", "ledger", "signers"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,198}$")]


class Carried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file, in the folder of its kind."""

    kind: Kind
    file: Name
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, msgspec.Meta(ge=0)]

    def path(self, folder: Path) -> Path:
        return folder / self.kind / self.file


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is there, who packed it and when by their clock."""

    format: Literal[1] = 1
    packed_by: str
    packed_wall_s: float
    files: Annotated[list[Carried], msgspec.Meta(max_length=FILES_MAX)]

    def of(self, kind: Kind) -> list[Carried]:
        return [file for file in self.files if file.kind == kind]


class CarryRefused(Exception):
    """The folder cannot be used. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass
class Packing:
    """A folder being filled; what is in it counts once `finish` wrote the index."""

    folder: Path
    files: list[Carried]

    @classmethod
    def begin(cls, folder: Path) -> Packing:
        """An index of an earlier packing goes first: half old and half new must not look whole. Raises StoreError."""
        durable.make_dir(folder, 0o755)
        durable.unlink(folder / INDEX_NAME)
        return cls(folder, [])

    def add(self, kind: Kind, source: Path, name: str = "") -> None:
        """Copies a file in. Raises StoreError kinds."""
        file = name or source.name
        target = self.folder / kind / file
        durable.make_dir(target.parent, 0o755)
        found, size = hashlib.sha256(), 0
        with durable.replacing(target, 0o644) as out:
            for piece in _pieces(source):
                found.update(piece)
                size += out.write(piece)
        self.files.append(Carried(kind=kind, file=file, sha256=found.hexdigest(), size=size))

    def finish(self, packed_by: str, wall_s: float) -> Index:
        """Writes the index. Raises StoreError kinds."""
        index = Index(packed_by=packed_by, packed_wall_s=wall_s, files=self.files)
        data = msgspec.json.format(msgspec.json.encode(index, order="sorted"), indent=1) + b"\n"
        durable.write_file(self.folder / INDEX_NAME, data, 0o644)
        return index


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise from_os(error, "read", path) from error


def open_carried(folder: Path) -> Index:
    """The index of a folder whose every file is whole. Raises CarryRefused, StoreError kinds."""
    path = folder / INDEX_NAME
    try:
        with path.open("rb") as opened:
            index = msgspec.json.decode(opened.read(INDEX_BYTES_MAX), type=Index)
    except FileNotFoundError:
        hint = "name the folder that `outstation carry pack` filled; a packing that was cut off has no index"
        raise CarryRefused(f"{folder} holds no {INDEX_NAME}", hint) from None
    except OSError as error:
        raise from_os(error, "read", path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CarryRefused(f"{path} cannot be read: {error}", "pack it again") from error
    for file in index.files:
        found = hashlib.sha256()
        for piece in _pieces(file.path(folder)):
            found.update(piece)
        if found.hexdigest() != file.sha256:
            hint = "copy the folder again, or pack it again; nothing was taken"
            raise CarryRefused(f"{file.path(folder)} is not what was packed", hint)
    return index
