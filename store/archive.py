"""NAME-VERSION.ostn: an OCI image layout in one uncompressed tar, which skopeo and oras read.

Names inside never become paths: they are `oci-layout`, `index.json` and `blobs/sha256/<hex>`, and only compared. The
signature is a manifest of its own whose subject is the bundle's manifest, so registries carry it as a referrer.
The same content always makes the same bytes. Nothing here checks a signature: `store.signing` does.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Literal, Self

import msgspec

from store import blobs, bundle, durable, errors, ustar
from store.bundle import BundleMalformed, Descriptor, Manifest

SIGNATURE_BYTES_MAX = 16 << 10
SIGNATURE_ARTIFACT = "application/vnd.outstation.signature.v1"
SIGNATURE_TYPE = "application/vnd.outstation.signature.v1+sshsig"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
REF_ANNOTATION = "org.opencontainers.image.ref.name"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY = b"{}"
_INDEX_BYTES_MAX = 16 << 10
_MEMBERS_MAX = 32
_BLOB_NAME = re.compile(r"blobs/sha256/([0-9a-f]{64})")

# What a blob to be written is: its bytes, or a file with seek, which is read as it is written.
Content = bytes | BinaryIO


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """OCI image index with the bundle's manifest and, when it is signed, its signature's."""

    schema_version: Literal[2]
    media_type: Literal["application/vnd.oci.image.index.v1+json"]
    manifests: Annotated[list[Descriptor], msgspec.Meta(min_length=1, max_length=2)]


class Archive:
    """An open archive. Use as a context manager; `open_blob` reads the very file that was checked."""

    def __init__(self, file: BinaryIO, manifest_bytes: bytes, signature_bytes: bytes | None) -> None:
        self._file = file
        self.manifest_bytes = manifest_bytes
        self.manifest_digest = bundle.digest_of(manifest_bytes)
        self.manifest = bundle.parse_manifest(manifest_bytes)
        self.signature_bytes = signature_bytes
        self.blobs: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def path(self) -> Path:
        """Where the file was when it was opened."""
        return Path(self._file.name)

    def facts(self) -> bundle.Facts:
        """The bundle's facts."""
        layer = self.manifest.layer("facts")
        if layer is None:
            raise BundleMalformed("a bundle needs facts")
        return bundle.facts_of(self.manifest, self.open_blob(layer.digest).read())

    def open_blob(self, digest: str) -> BinaryIO:
        """A reader of one blob's bytes, with seek. KeyError: the archive has no such blob. Not hashed."""
        offset, size = self.blobs[digest]
        return io.BufferedReader(_Window(self._file.fileno(), offset, size), 1 << 20)

    def damaged(self) -> list[str]:
        """Digests of the blobs whose content is another one; reads all of the archive."""
        return [digest for digest in self.blobs if blobs.digest_of(self.open_blob(digest)) != digest]


def read_archive(path: Path) -> Archive:
    """Opens `path` and reads its headers, index and manifests. Raises BundleMalformed, or StoreError kinds."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise errors.from_os(error, "open", path) from error
    try:
        return _read(file)
    except ustar.Malformed as error:
        file.close()
        raise BundleMalformed(str(error)) from error
    except BaseException:
        file.close()
        raise


def write_archive(
    path: Path, manifest_bytes: bytes, contents: Mapping[str, Content], signature_bytes: bytes | None = None
) -> None:
    """Writes a bundle. `contents` has every blob that the manifest names, by digest; they are checked as written."""
    manifest = bundle.parse_manifest(manifest_bytes)
    annotations = manifest.annotations or {}
    ref = f"{annotations[bundle.TITLE_ANNOTATION]}-{annotations[bundle.VERSION_ANNOTATION]}"
    every: dict[str, Content] = {bundle.digest_of(manifest_bytes): manifest_bytes}
    every |= {digest: contents[digest] for digest in bundle.blobs_named(manifest)}
    subject = _descriptor(manifest_bytes, bundle.MANIFEST_TYPE, artifact_type=manifest.artifact_type)
    manifests = [msgspec.structs.replace(subject, annotations={REF_ANNOTATION: ref})]
    if signature_bytes is not None:
        signed = bundle.canonical(_signature_manifest(signature_bytes, subject))
        manifests.append(_descriptor(signed, bundle.MANIFEST_TYPE, artifact_type=SIGNATURE_ARTIFACT))
        every |= {bundle.digest_of(blob): blob for blob in (signed, signature_bytes, _EMPTY)}
    index = Index(schema_version=2, media_type="application/vnd.oci.image.index.v1+json", manifests=manifests)
    with durable.replacing(path, 0o644) as file:
        _write_member(file, "oci-layout", LAYOUT)
        _write_member(file, "index.json", bundle.canonical(index))
        for digest, content in every.items():
            _write_member(file, f"blobs/sha256/{digest.removeprefix('sha256:')}", content, digest)
        file.write(ustar.END)


def sign_archive(path: Path, out: Path, sign: Callable[[bytes], bytes]) -> None:
    """Writes the bundle of `path` to `out` with the signature that `sign` makes of its manifest."""
    with read_archive(path) as archive:
        contents = {digest: archive.open_blob(digest) for digest in bundle.blobs_named(archive.manifest)}
        write_archive(out, archive.manifest_bytes, contents, sign(archive.manifest_bytes))


class _Window(io.RawIOBase):
    """Bytes `offset` to `offset + size` of an open file, without moving anybody's position."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._descriptor, wanted, self._offset + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _read(file: BinaryIO) -> Archive:
    found: dict[str, tuple[int, int]] = {}
    small: dict[str, bytes] = {}
    for member in ustar.members(file, os.fstat(file.fileno()).st_size, members_max=_MEMBERS_MAX):
        match = _BLOB_NAME.fullmatch(member.name)
        key = f"sha256:{match[1]}" if match else member.name
        if key in found or key in small:
            raise BundleMalformed(f"{member.name} is in the archive twice")
        if match:
            found[key] = (member.offset, member.size)
        elif key in ("oci-layout", "index.json") and member.size <= _INDEX_BYTES_MAX:
            small[key] = os.pread(file.fileno(), member.size, member.offset)
        else:
            raise BundleMalformed(f"{member.name!r} does not belong into an archive")
    if small.get("oci-layout") != LAYOUT:
        raise BundleMalformed("this is not an OCI image layout")
    index = bundle.read_canonical(small.get("index.json", b""), Index, _INDEX_BYTES_MAX)
    return _assemble(file, index, found)


def _assemble(file: BinaryIO, index: Index, found: dict[str, tuple[int, int]]) -> Archive:
    def whole(descriptor: Descriptor, bytes_max: int) -> bytes:
        offset, size = found.get(descriptor.digest, (0, -1))
        if size != descriptor.size or size > bytes_max:
            raise BundleMalformed(f"{descriptor.digest} is missing or has another size")
        data = os.pread(file.fileno(), size, offset)
        if bundle.digest_of(data) != descriptor.digest:
            raise BundleMalformed(f"the content of {descriptor.digest} is another one")
        return data

    manifest_bytes = whole(index.manifests[0], bundle.MANIFEST_BYTES_MAX)
    signature_bytes = None
    used = {index.manifests[0].digest}
    if len(index.manifests) == 2:
        signed = bundle.read_canonical(whole(index.manifests[1], bundle.MANIFEST_BYTES_MAX), Manifest, 1 << 16)
        _check_signature_manifest(signed, index.manifests[0])
        signature_bytes = whole(signed.layers[0], SIGNATURE_BYTES_MAX)
        whole(signed.config, len(_EMPTY))
        used |= {index.manifests[1].digest, *bundle.blobs_named(signed)}
    archive = Archive(file, manifest_bytes, signature_bytes)
    for digest, size in bundle.blobs_named(archive.manifest).items():
        if found.get(digest, (0, -1))[1] != size:
            raise BundleMalformed(f"{digest} is missing or has another size")
        used.add(digest)
    if found.keys() - used:
        raise BundleMalformed(f"{min(found.keys() - used)} is named by nothing")
    archive.blobs = {digest: found[digest] for digest in found if digest in used}
    return archive


def _check_signature_manifest(signed: Manifest, subject: Descriptor) -> None:
    if signed.artifact_type != SIGNATURE_ARTIFACT or len(signed.layers) != 1:
        raise BundleMalformed("the second manifest of the archive is not a signature")
    if signed.config.digest != bundle.digest_of(_EMPTY) or signed.layers[0].media_type != SIGNATURE_TYPE:
        raise BundleMalformed("the signature of the archive is not one of ours")
    if signed.subject is msgspec.UNSET or signed.subject.digest != subject.digest:
        raise BundleMalformed("the signature of the archive is of another manifest")


def _signature_manifest(signature_bytes: bytes, subject: Descriptor) -> Manifest:
    return Manifest(
        schema_version=2,
        media_type="application/vnd.oci.image.manifest.v1+json",
        artifact_type=SIGNATURE_ARTIFACT,
        config=_descriptor(_EMPTY, EMPTY_TYPE),
        layers=[_descriptor(signature_bytes, SIGNATURE_TYPE)],
        subject=subject,
    )


def _descriptor(data: bytes, media_type: str, *, artifact_type: str = "") -> Descriptor:
    return Descriptor(
        media_type=media_type,
        digest=bundle.digest_of(data),
        size=len(data),
        artifact_type=artifact_type or msgspec.UNSET,
    )


def _write_member(file: BinaryIO, name: str, content: Content, digest: str | None = None) -> None:
    size = len(content) if isinstance(content, bytes) else content.seek(0, os.SEEK_END)
    file.write(ustar.header(name, size))
    written = 0
    found = hashlib.sha256()
    for piece in _pieces(content):
        found.update(piece)
        written += file.write(piece)
    if written != size or digest not in (None, f"sha256:{found.hexdigest()}"):
        raise BundleMalformed(f"the content for {name} is another one, or changed while it was read")
    file.write(ustar.padding(size))


def _pieces(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    content.seek(0)
    while piece := content.read(1 << 20):
        yield piece
