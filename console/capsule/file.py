"""NAME.ostx: a capsule as one file. A tar of ours (store.ustar) with the signed list first, then one member a node.

Names inside never become paths: they are compared with those that the list has to have. A file that is anything else is
refused, before anything of it is unpacked as far as that can be known.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import msgspec

from console.capsule.content import FORMAT, NODES_MAX, Manifest, NodeCapsule, Part
from console.client.clean import clean, clean_all
from console.home import check_node_name
from store import durable, signing, ustar
from store.errors import from_os
from store.signing import Signature, SignatureRefused
from store.sshkey import KeyRefused

NAMESPACE: Final = "outstation-capsule"
FILE_BYTES_MAX: Final = 512 << 20
MANIFEST_BYTES_MAX: Final = 64 << 10
PART_BYTES_MAX: Final = 64 << 20
PLAIN_BYTES_MAX: Final = 256 << 20
# No clock of a plant shows more than the year 2100; no span in a capsule is longer than that.
TIME_S_MAX: Final = 4_102_444_800
_LIST, _SIGNATURE = "capsule.json", "capsule.sig"


class CapsuleRefused(Exception):
    """The file is no capsule, or was changed after it was signed. `hint` says what to do."""

    hint = "ask for the file again; nothing of it was opened"


@dataclass(frozen=True, slots=True)
class Capsule:
    """A file whose signature fits and whose every byte is named by what was signed. Texts are cleaned.

    `signature` says who signed; whether that is anybody whom this console knows is another question.
    `raw` are the nodes as they lie in the file, for hashing.
    """

    path: Path
    manifest: Manifest
    manifest_bytes: bytes
    signature_bytes: bytes
    signature: Signature
    nodes: tuple[NodeCapsule, ...]
    raw: tuple[NodeCapsule, ...]


def write(path: Path, manifest: Manifest, nodes: Sequence[Any], sign: Callable[[bytes], bytes]) -> Manifest:
    """Writes the file, 0600, all or nothing; `nodes` are documents of plain JSON in the order of their parts.

    Raises ValueError for more than a capsule holds, StoreError kinds, SigningFailed.
    """
    if not 1 <= len(nodes) <= NODES_MAX:
        raise ValueError(f"a capsule holds 1 to {NODES_MAX} nodes")
    parts, packed = [], []
    for number, node in enumerate(nodes, 1):
        plain = msgspec.json.encode(node)
        data = zlib.compress(plain, 6)
        if len(plain) > PLAIN_BYTES_MAX or len(data) > PART_BYTES_MAX:
            raise ValueError(f"{node['name']}: more than a capsule holds; take fewer minutes")
        digest = f"sha256:{sha256(data).hexdigest()}"
        parts.append(Part(
            member=_member(number), node=node["name"], digest=digest, bytes=len(data), plain_bytes=len(plain)
        ))  # fmt: skip
        packed.append(data)
    manifest = msgspec.structs.replace(manifest, parts=parts)
    head = msgspec.json.encode(manifest)
    with durable.replacing(path) as file:
        for name, data in zip(
            (_LIST, _SIGNATURE, *(p.member for p in parts)), (head, sign(head), *packed), strict=True
        ):
            file.write(ustar.header(name, len(data)) + data + ustar.padding(len(data)))
        file.write(ustar.END)
    return manifest


def _member(number: int) -> str:
    return f"nodes/{number:04}.json.zlib"


def read(path: Path) -> Capsule:
    """Opens and checks a capsule. Raises CapsuleRefused, StoreError kinds."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > FILE_BYTES_MAX:
                _refuse(path, f"more than {FILE_BYTES_MAX >> 20} MB")
            return _read(path, file, size)
    except OSError as error:
        raise from_os(error, "read", path) from error
    except ustar.Malformed as error:
        raise CapsuleRefused(f"{path}: {clean(str(error), 200)}") from error


def _refuse(path: Path, why: str) -> NoReturn:
    raise CapsuleRefused(f"{path}: {clean(why, 300)}")


def _read(path: Path, file: BinaryIO, size: int) -> Capsule:
    members = ustar.members(file, size, members_max=NODES_MAX + 2)
    names = [member.name for member in members]
    if names != [_LIST, _SIGNATURE, *(_member(n) for n in range(1, len(names) - 1))] or len(names) < 3:
        _refuse(path, "its parts are not those of a capsule")
    if members[0].size > MANIFEST_BYTES_MAX or members[1].size > signing.SIGNATURE_BYTES_MAX:
        _refuse(path, "its list is longer than one can be")
    head, armored = (os.pread(file.fileno(), member.size, member.offset) for member in members[:2])
    signature = _signed(path, head, armored)
    manifest = _manifest(path, head)
    if [part.member for part in manifest.parts] != names[2:]:
        _refuse(path, "it holds other parts than its list names")
    raw = tuple(
        _node(path, part, os.pread(file.fileno(), min(member.size, PART_BYTES_MAX + 1), member.offset))
        for part, member in zip(manifest.parts, members[2:], strict=True)
    )
    if len({node.name for node in raw}) != len(raw):
        _refuse(path, "a node is in it twice")
    return Capsule(path, clean_all(manifest), head, armored, signature, tuple(clean_all(node) for node in raw), raw)


def _signed(path: Path, head: bytes, armored: bytes) -> Signature:
    """The signature, of which it is certain that its key signed this list."""
    try:
        signature = signing.parse(armored)
        if signature.namespace != NAMESPACE:
            raise SignatureRefused(f"the signature is for {signature.namespace[:80]!r}, not for {NAMESPACE}")
        signature.key.verify(signature.value, signing.signed_data(head, NAMESPACE))
    except (SignatureRefused, KeyRefused) as error:
        raise CapsuleRefused(f"{path}: its signature does not count: {clean(str(error), 200)}") from error
    return signature


def _manifest(path: Path, head: bytes) -> Manifest:
    try:
        plain = msgspec.json.decode(head)
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            _refuse(path, "its format is not known here; a newer outstation may open it")
        _check_times(path, plain)
        return msgspec.json.decode(head, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CapsuleRefused(f"{path}: its list cannot be read: {clean(str(error), 200)}") from error


def _node(path: Path, part: Part, data: bytes) -> NodeCapsule:
    name = clean(part.node, 80)
    if len(data) != part.bytes or f"sha256:{sha256(data).hexdigest()}" != part.digest:
        _refuse(path, f"the part of {name} is not what was signed")
    if not 0 < part.plain_bytes <= PLAIN_BYTES_MAX:
        _refuse(path, f"the part of {name} says that it is {part.plain_bytes} bytes")
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(data, part.plain_bytes + 1)
        if len(plain) != part.plain_bytes or not unpacker.eof or unpacker.unused_data:
            _refuse(path, f"the part of {name} unpacks to something else than was signed")
        _check_times(path, msgspec.json.decode(plain))
        node = msgspec.json.decode(plain, type=NodeCapsule)
        if node.name != part.node:
            _refuse(path, f"the part of {name} is of another node")
        check_node_name(node.name)
    except (msgspec.MsgspecError, zlib.error, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise CapsuleRefused(f"{path}: the part of {name} cannot be read: {clean(str(error), 200)}") from error
    for trend in node.trends.values():
        if trend.step_s <= 0 or any(not 0 <= point.wall_us <= TIME_S_MAX * 1e6 for point in trend.points):
            _refuse(path, f"the part of {name} has times that no clock shows")
    return node


def _check_times(path: Path, value: Any, key: str = "") -> None:
    """Times that no calendar holds would end the app that draws them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_times(path, inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_times(path, inner, key)
    elif isinstance(value, int | float) and key.endswith(("_us", "_s")):
        most = TIME_S_MAX * (1_000_000 if key.endswith("_us") else 1)
        if not -most <= value <= most or (key.endswith("_us") and value < 0):
            _refuse(path, f"{key} has a value that no clock shows")
