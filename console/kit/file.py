"""A kit as a file: one uncompressed tar with kit.json, its signature, and every other file under its hash.

Names inside never become paths: they are compared, and a wheel is found by its SHA-256. The same content makes the same
bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from console.kit import manifest as kit_manifest
from console.kit.manifest import KitMalformed, Manifest, Target
from store import durable, errors, signing, ustar
from store.signing import SIGNATURE_BYTES_MAX, Signer

KIT_NAMESPACE = "outstation-kit"
SUFFIX = ".ostk"
MANIFEST_NAME = "kit.json"
SIGNATURE_NAME = "kit.json.sig"
MEMBERS_MAX = 600
PIECE_BYTES = 1 << 20
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")


class KitRefused(Exception):
    """The kit is not to be used; the text says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Kit:
    """An open kit; use as a context manager. Its manifest is read, nothing else of it is believed yet."""

    def __init__(self, path: Path, file: BinaryIO, small: Mapping[str, bytes], found: Mapping[str, tuple[int, int]]):
        self.path, self._file, self._found = path, file, found
        self.manifest_bytes = small[MANIFEST_NAME]
        self.manifest: Manifest = kit_manifest.parse(self.manifest_bytes)
        self.signature: bytes | None = small.get(SIGNATURE_NAME)
        self.digest = hashlib.sha256(self.manifest_bytes).hexdigest()
        parts = self.manifest.parts()
        for sha256, part in parts.items():
            if found.get(sha256, (0, -1))[1] != part.size:
                raise KitMalformed(f"{part.file} is missing or has another size")
        if unnamed := found.keys() - parts.keys():
            raise KitMalformed(f"{min(unnamed)} is named by nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def size_of(self, target: Target) -> int:
        """Bytes of the wheels of one target."""
        return sum(wheel.size for wheel in self.manifest.wheels_for(target))

    def read(self, sha256: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of one file of the kit, not hashed. KeyError: there is no such file."""
        start, whole = self._found[sha256]
        left = max(0, whole - offset)
        return os.pread(self._file.fileno(), left if size is None else min(size, left), start + offset)

    def pieces(self, sha256: str, offset: int = 0) -> Iterator[bytes]:
        """The same in pieces of at most PIECE_BYTES."""
        while piece := self.read(sha256, offset, PIECE_BYTES):
            yield piece
            offset += len(piece)

    def damaged(self) -> list[str]:
        """Names of the files whose content is another one; reads all of the kit."""
        return [part.file for sha256, part in self.manifest.parts().items() if self._hash(sha256) != sha256]

    def _hash(self, sha256: str) -> str:
        found = hashlib.sha256()
        for piece in self.pieces(sha256):
            found.update(piece)
        return found.hexdigest()

    def verify(self, allowed_signers: str, *, at_s: float) -> Signer:
        """Who signed the kit; every byte of it is then what was signed. Raises KitRefused, SignatureRefused."""
        if self.signature is None:
            raise KitRefused(f"{self.path.name} is not signed", f"outstation kit sign {self.path} --key FILE")
        signer = signing.verify(
            self.manifest_bytes, self.signature, allowed_signers, namespace=KIT_NAMESPACE, at_s=at_s
        )
        if damaged := self.damaged():
            raise KitRefused(f"{self.path.name} is damaged: {', '.join(damaged[:3])}", "copy the kit again")
        return signer


def open_kit(path: Path) -> Kit:
    """Opens the kit at `path` and reads its manifest. Raises KitMalformed, or StoreError kinds."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise errors.from_os(error, "open", path) from error
    try:
        return _read(path, file)
    except ustar.Malformed as error:
        file.close()
        raise KitMalformed(f"{path.name} is no kit: {error}") from error
    except BaseException:
        file.close()
        raise


def _read(path: Path, file: BinaryIO) -> Kit:
    found: dict[str, tuple[int, int]] = {}
    small: dict[str, bytes] = {}
    limits = {MANIFEST_NAME: kit_manifest.MANIFEST_BYTES_MAX, SIGNATURE_NAME: SIGNATURE_BYTES_MAX}
    for member in ustar.members(file, os.fstat(file.fileno()).st_size, members_max=MEMBERS_MAX):
        match = _BLOB.fullmatch(member.name)
        key = match[1] if match else member.name
        if key in found or key in small:
            raise KitMalformed(f"{member.name} is in the kit twice")
        if match:
            found[key] = (member.offset, member.size)
        elif member.size <= limits.get(key, -1):
            small[key] = os.pread(file.fileno(), member.size, member.offset)
        else:
            raise KitMalformed(f"{member.name!r} does not belong into a kit")
    if MANIFEST_NAME not in small:
        raise KitMalformed(f"{path.name} holds no {MANIFEST_NAME}")
    return Kit(path, file, small, found)


def write_kit(
    path: Path, manifest_bytes: bytes, pieces: Callable[[str], Iterator[bytes]], signature: bytes | None = None
) -> None:
    """Writes a kit; `pieces` gives the content of each file that the manifest names, which is checked as written."""
    parts = kit_manifest.parse(manifest_bytes).parts()
    with durable.replacing(path, 0o644) as file:
        _write_member(file, MANIFEST_NAME, len(manifest_bytes), iter([manifest_bytes]))
        if signature is not None:
            _write_member(file, SIGNATURE_NAME, len(signature), iter([signature]))
        for sha256, part in sorted(parts.items()):
            if _write_member(file, f"blobs/sha256/{sha256}", part.size, pieces(sha256)) != sha256:
                raise KitMalformed(f"the content of {part.file} is another one, or changed while it was read")
        file.write(ustar.END)


def _write_member(file: BinaryIO, name: str, size: int, pieces: Iterator[bytes]) -> str:
    file.write(ustar.header(name, size))
    written, found = 0, hashlib.sha256()
    for piece in pieces:
        found.update(piece)
        written += file.write(piece)
    if written != size:
        raise KitMalformed(f"{name} has {written} bytes and should have {size}")
    file.write(ustar.padding(size))
    return found.hexdigest()


def sign_kit(path: Path, out: Path, sign: Callable[[bytes], bytes]) -> None:
    """Writes the kit at `path` to `out` with the signature that `sign` makes of its manifest."""
    with open_kit(path) as kit:
        write_kit(out, kit.manifest_bytes, kit.pieces, sign(kit.manifest_bytes))
