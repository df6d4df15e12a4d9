"""The part of the tar format (POSIX.1-1988 ustar) that an archive of ours uses: regular files with short names.

A reader of our own: no link, device, folder, long name or sparse file exists in it, and a name is only compared, never
opened. Everything that is not exactly what `header` writes is refused.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

BLOCK_BYTES = 512
NAME_BYTES_MAX = 99
SIZE_MAX = 8**11 - 1
END = bytes(2 * BLOCK_BYTES)
_TAIL_BYTES_MAX = 20 * BLOCK_BYTES


class Malformed(Exception):
    """The bytes are no archive as we write it."""


class Member(NamedTuple):
    """One file: its content lies at `offset`, `size` bytes long."""

    name: str
    offset: int
    size: int


def header(name: str, size: int) -> bytes:
    """The header block of a file; owner, time and mode are the same for every file, so that archives are too."""
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= NAME_BYTES_MAX or not 0 <= size <= SIZE_MAX:
        raise ValueError(f"{name!r} with {size} bytes does not fit into a header")
    fields = [
        encoded.ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        b"0",
        bytes(100),
        b"ustar\x0000",
        bytes(247),
    ]
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """Zeros that fill the last block of `size` bytes."""
    return bytes(-size % BLOCK_BYTES)


def members(file: BinaryIO, total_bytes: int, *, members_max: int) -> list[Member]:
    """Every file of the archive, in its order; reads headers and padding only. Raises Malformed."""
    found: list[Member] = []
    offset = 0
    while True:
        file.seek(offset)
        block = file.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise Malformed("the archive is cut off")
        if block == bytes(BLOCK_BYTES):
            _check_end(file, total_bytes - offset - BLOCK_BYTES)
            return found
        if len(found) == members_max:
            raise Malformed(f"the archive has more than {members_max} files")
        member = _member(block, offset + BLOCK_BYTES)
        offset = member.offset + member.size
        fill = -member.size % BLOCK_BYTES
        if offset + fill > total_bytes:
            raise Malformed(f"the archive is cut off in {member.name}")
        file.seek(offset)
        if file.read(fill) != bytes(fill):
            raise Malformed(f"there are bytes between the files, after {member.name}")
        offset += fill
        found.append(member)


def _member(block: bytes, offset: int) -> Member:
    try:
        name = block[:100].rstrip(b"\0").decode("ascii")
        size = int(block[124:135], 8)
        same = header(name, size) == block
    except ValueError as error:
        raise Malformed("a header of the archive is damaged") from error
    if not same:
        raise Malformed(f"the archive holds {name!r}, which is not a plain file as we write it")
    return Member(name, offset, size)


def _check_end(file: BinaryIO, left_bytes: int) -> None:
    if not BLOCK_BYTES <= left_bytes <= _TAIL_BYTES_MAX or left_bytes % BLOCK_BYTES:
        raise Malformed("the archive does not end where it should")
    if file.read(left_bytes) != bytes(left_bytes):
        raise Malformed("there are bytes after the end of the archive")
