"""Content by its digest: a blob's path holds its digest, or there is no such path (I7).

`blobs/sha256/ab/<hex>` are whole and read-only; `uploads/<hex>.part` are on their way. Both lie in one folder and so
in one file system. Digests are `sha256:<64 hex digits>`; anything else is a ValueError and never becomes a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from store import durable, errors
from store.hashing import bulk_sha256

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_HEX = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1 << 20


class BlobState(NamedTuple):
    """How much of a blob is here. `complete`: the whole was hashed and is the digest."""

    received_bytes: int
    complete: bool


class BlobOffset(Exception):
    """The piece does not continue what is here; `received_bytes` is where to go on."""

    def __init__(self, digest: str, received_bytes: int) -> None:
        self.digest = digest
        self.received_bytes = received_bytes
        super().__init__(f"{digest} continues at byte {received_bytes}")


class BlobMismatch(Exception):
    """What was received is not what the digest names; it was thrown away."""

    def __init__(self, digest: str, found: str) -> None:
        self.digest = digest
        self.found = found
        super().__init__(f"expected {digest}, received {found}")


class Blobs:
    """The blobs below one state folder."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._uploads = root / "uploads"
        self._fresh: set[str] = set()

    def create(self) -> None:
        """Makes the folders; once, by whoever owns the state folder."""
        durable.make_dir(self._blobs)
        durable.make_dir(self._uploads)

    def path(self, digest: str) -> Path:
        """Where the whole blob lies, whether it is here or not."""
        digits = _digits(digest)
        return self._blobs / digits[:2] / digits

    def state(self, digest: str) -> BlobState:
        """What is here of `digest`: the whole, a part, or 0 bytes."""
        try:
            return BlobState(self.path(digest).stat().st_size, True)
        except FileNotFoundError:
            return BlobState(self._part(digest).size(), False)

    def put_at(self, digest: str, offset: int, data: bytes, total: int) -> BlobState:
        """Takes one piece of a blob of `total` bytes. A repeated piece is taken again; a gap raises BlobOffset.

        A blob that is whole already is left alone. After the last piece the blob is not complete before `finish`.
        """
        if offset < 0 or offset + len(data) > total:
            raise ValueError(f"{len(data)} bytes at {offset} do not fit into {total}")
        state = self.state(digest)
        if state.complete:
            return state
        if offset > state.received_bytes:
            raise BlobOffset(digest, state.received_bytes)
        self._fresh.add(digest)
        return BlobState(self._part(digest).write_at(offset, data), False)

    def finish(self, digest: str) -> Path:
        """Hashes the whole part and makes it the blob; idempotent. Raises BlobMismatch, or FileNotFoundError."""
        target = self.path(digest)
        if target.exists():
            return target
        part = self._part(digest)
        with part.path.open("rb") as file:
            found = digest_of(file)
        if found != digest:
            part.discard()
            raise BlobMismatch(digest, found)
        part.promote(target)
        return target

    def make(self, digest: str, pieces: Iterable[bytes]) -> Path:
        """Makes the blob of pieces in order, in the place of any part of it. Raises BlobMismatch, and as they do."""
        part, size = self._part(digest), 0
        part.discard()
        for piece in pieces:
            size = part.write_at(size, piece)
        return self.finish(digest)

    def put(self, data: bytes) -> str:
        """Stores `data` whole and returns its digest."""
        digest = _digest(data)
        target = self.path(digest)
        if not target.exists():
            durable.make_dir(target.parent)
            durable.write_file(target, data, 0o444)
        return digest

    def read(self, digest: str, *, bytes_max: int) -> bytes:
        """The blob's bytes, hashed as they are returned. Raises FileNotFoundError, ValueError when larger, Corrupt."""
        with self.path(digest).open("rb") as file:
            data = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise ValueError(f"{digest} is larger than {bytes_max} bytes")
        if _digest(data) != digest:
            raise errors.Corrupt("read", self.path(digest), "the content is not its digest; send the blob again")
        return data

    def scrub(self, digest: str) -> bool:
        """Whether the blob on the disk is what its digest names. Reads twice before it says no."""
        return any(self._hash_from_disk(digest) == digest for _ in range(2))

    def delete(self, digest: str) -> int:
        """Removes the blob and any part of it; returns the bytes freed."""
        freed = self.state(digest).received_bytes
        durable.unlink(self.path(digest))
        self._part(digest).discard()
        return freed

    def whole(self) -> Iterator[tuple[str, int]]:
        """Every whole blob: digest and size in bytes."""
        for path in sorted(self._blobs.glob("[0-9a-f][0-9a-f]/*")):
            if _HEX.fullmatch(path.name):
                yield f"sha256:{path.name}", path.stat().st_size

    def collect(self, keep: Collection[str]) -> int:
        """Removes every blob and part that is not in `keep`; returns the bytes freed.

        A part that grew since the last time stays for once: it may be a difference, which nothing names.
        Call it with the digests that the database names and those that their manifests name, and not while a
        deployment is RECEIVING: what its manifest names is not known before that has come.
        """
        freed = sum(self.delete(digest) for digest, _ in list(self.whole()) if digest not in keep)
        fresh, self._fresh = self._fresh, set()
        for part in self._parts():
            if f"sha256:{part.path.stem}" not in fresh.union(keep):
                freed += part.size()
                part.discard()
        return freed

    def recover(self, *, rebooted: bool) -> None:
        """At start: removes what a kill left, and after a reboot cuts parts back to what is surely on the disk."""
        for folder in (self._blobs, *self._blobs.glob("[0-9a-f][0-9a-f]")):
            durable.remove_temporaries(folder)
        for part in self._parts():
            if rebooted:
                part.settle()

    def _parts(self) -> list[durable.Part]:
        return [durable.Part(path) for path in self._uploads.glob("*.part") if _HEX.fullmatch(path.stem)]

    def _part(self, digest: str) -> durable.Part:
        return durable.Part(self._uploads / f"{_digits(digest)}.part")

    def _hash_from_disk(self, digest: str) -> str:
        with self.path(digest).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return digest_of(file)


def digest_of(file: BinaryIO) -> str:
    """The digest of what `file` holds from here to its end."""
    digest = bulk_sha256()
    while piece := file.read(_READ_BYTES):
        digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _digest(data: bytes) -> str:
    digest = bulk_sha256()
    digest.update(data)
    return f"sha256:{digest.hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether `text` is a digest as we write it."""
    return _DIGEST.fullmatch(text) is not None


def _digits(digest: str) -> str:
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"not a digest: {digest[:80]!r}")
    return match[1]
