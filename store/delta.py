"""A difference: how to make one blob out of another that is here already.

The blob is described block by block: where in the old blob something alike lies, and the exclusive-or of the two. Of
that only the units (1, 2 or 4 bytes wide) that are not zero are kept: the gaps between them, and one plane of bytes for
each byte of a unit. A tensor whose weights moved a little has high bytes that hardly differ and low bytes that are
noise; planes keep the one from spoiling the other. Each stream is stored, or packed by deflate (RFC 1951).

    file    MAGIC, digest of the old blob (32 bytes), digest of the new one (32), size of the new one (u64), blocks
    block   offset in the old blob (u64, all ones: there is none), bytes (u32), unit width (u8), bytes of the first unit
            that lie before the block (u8); then 1 + width streams: gaps, planes
    stream  packing (u8: 0 stored, 1 deflate), bytes that follow (u32), bytes
    gaps    g < 255: g units that are alike, then one that is not; 255: 255 units that are alike

Numbers are little-endian. Whoever applies a difference needs a few megabytes whatever the blobs' size, and believes
nothing in it: only the digest of the outcome counts. Measured against zstd: docs/decisions/0004-differences.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import compress
from typing import BinaryIO, NamedTuple

MAGIC = b"outstation-delta\x01"
HEADER = struct.Struct("<32s32sQ")
BLOCK = struct.Struct("<QIBB")
STREAM = struct.Struct("<BI")
BLOCK_BYTES_MAX = 1 << 20
OLD_BYTES_MAX = 1 << 40
NOWHERE = (1 << 64) - 1
WIDTHS = (1, 2, 4)
STORED, DEFLATE = 0, 1
FAR = 255
# What a gap byte stands for, as units that are alike (0) and not alike (1).
STEPS = (*(bytes(gap) + b"\x01" for gap in range(FAR)), bytes(FAR))


class DeltaMalformed(Exception):
    """The bytes are no difference between these two blobs; the text says why."""


class Header(NamedTuple):
    """Which blob a difference makes, out of which. `size` of the new one in bytes."""

    old: str
    new: str
    size: int


class _Block(NamedTuple):
    offset: int
    length: int
    width: int
    before: int

    @property
    def units(self) -> int:
        return -(-(self.before + self.length) // self.width)


def read_header(delta: BinaryIO) -> Header:
    """The header, from the beginning of the file. Raises DeltaMalformed."""
    if _exactly(delta, len(MAGIC)) != MAGIC:
        raise DeltaMalformed("it does not begin as a difference does")
    old, new, size = HEADER.unpack(_exactly(delta, HEADER.size))
    return Header(f"sha256:{old.hex()}", f"sha256:{new.hex()}", size)


def patched(old: BinaryIO, delta: BinaryIO, size: int) -> Iterator[bytes]:
    """The new blob's bytes in pieces of at most BLOCK_BYTES_MAX; `delta` stands behind its header.

    Never more than `size` bytes. Raises DeltaMalformed for whatever is wrong with the difference.
    """
    made = 0
    while made < size:
        block = _Block(*BLOCK.unpack(_exactly(delta, BLOCK.size)))
        if not 0 < block.length <= min(BLOCK_BYTES_MAX, size - made):
            raise DeltaMalformed(f"a block of {block.length} bytes at byte {made} of {size}")
        if block.width not in WIDTHS or block.before >= block.width:
            raise DeltaMalformed(f"units of {block.width} bytes, {block.before} of them before the block")
        yield _xor(_alike(old, block), _differing(delta, block))
        made += block.length
    if delta.read(1):
        raise DeltaMalformed("it goes on behind its last block")


def _alike(old: BinaryIO, block: _Block) -> bytes | None:
    if block.offset == NOWHERE:
        return None
    found = b""
    if block.offset <= OLD_BYTES_MAX:
        old.seek(block.offset)
        found = old.read(block.length)
    if len(found) != block.length:
        raise DeltaMalformed(f"byte {block.offset} of the old blob lies behind its end")
    return found


def _differing(delta: BinaryIO, block: _Block) -> bytes:
    """What is to be changed: zero where nothing is."""
    units = block.units
    gaps = _stream(delta, units + units // FAR + 1)
    alike = sum(gaps) + len(gaps) - gaps.count(FAR)
    if alike > units:
        raise DeltaMalformed(f"{alike} units in a block of {units}")
    mask = b"".join(map(STEPS.__getitem__, gaps)) + bytes(units - alike)
    count = mask.count(1)
    found = bytearray(units * block.width)
    places = list(compress(range(units), mask)) if 0 < count < units else []
    for lane in range(block.width):
        plane = _stream(delta, count)
        if len(plane) != count:
            raise DeltaMalformed(f"{len(plane)} bytes for {count} units")
        if count == units:
            found[lane :: block.width] = plane
            continue
        row = bytearray(units)
        for place, value in zip(places, plane, strict=True):
            row[place] = value
        found[lane :: block.width] = row
    return bytes(found[block.before : block.before + block.length])


def _stream(delta: BinaryIO, bytes_max: int) -> bytes:
    packing, length = STREAM.unpack(_exactly(delta, STREAM.size))
    if length > bytes_max or packing not in (STORED, DEFLATE):
        raise DeltaMalformed(f"a stream of {length} bytes, packing {packing}, where {bytes_max} bytes fit")
    data = _exactly(delta, length)
    if packing == STORED:
        return data
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = reader.decompress(data, bytes_max + 1)
    except zlib.error as error:
        raise DeltaMalformed(f"a stream cannot be unpacked: {error}") from error
    if len(found) > bytes_max or not reader.eof or reader.unused_data:
        raise DeltaMalformed(f"a stream is not the {bytes_max} bytes, or fewer, that fit")
    return found


def _xor(old: bytes | None, change: bytes) -> bytes:
    if old is None:
        return change
    return (int.from_bytes(old, "little") ^ int.from_bytes(change, "little")).to_bytes(len(old), "little")


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise DeltaMalformed("it ends too early")
    return data
