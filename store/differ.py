"""Makes a difference between two blobs (`store.delta` says what one is), in a process of its own.

It walks over the new blob in steps and looks for where the same lies in the old one: first where the step before it
was, then where a few bytes of it are found again, near by and then anywhere. It never needs to be right: a bad guess
makes the difference larger, and a difference that is not worth it is given up.

    python -m store.differ NEW_FILE OFFSET SIZE OLD_FILE OFFSET SIZE NEW_DIGEST OLD_DIGEST BYTES_MAX OUT

prints the bytes that OUT has, or 0 where they would be more than BYTES_MAX and nothing was written.
"""

from __future__ import annotations

import mmap
import os
import sys
import zlib
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from store import durable
from store.delta import BLOCK, BLOCK_BYTES_MAX, DEFLATE, FAR, HEADER, MAGIC, NOWHERE, STORED, STREAM, WIDTHS

STEP_BYTES = 4 << 10
SAMPLE_BYTES = 16 << 10
SEED_BYTES = 16
SEED_VALUES_MIN = 6
NEAR_BYTES = 1 << 20
FAR_SEARCHES_MAX = 64
PATIENCE_MAX = 64
# Shares of equal bytes: as it should be, and so few that it is another thing.
ALIKE, UNLIKE = 0.25, 0.03
NICE = 5
_ZERO_OR_ONE = bytes([0]) + bytes([1]) * 255


class Region(NamedTuple):
    """Bytes of a mapped file."""

    data: mmap.mmap
    start: int
    size: int

    def part(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; none outside the region."""
        if not 0 <= offset < self.size:
            return b""
        return self.data[self.start + offset : self.start + min(offset + length, self.size)]

    def find(self, seed: bytes, first: int, last: int) -> int:
        """Where `seed` lies between two offsets; -1: nowhere."""
        begin, end = self.start + max(0, first), self.start + min(self.size, last)
        found = self.data.find(seed, begin, end)
        return found if found < 0 else found - self.start


class _Aligner:
    """For each step of the new blob, where the same lies in the old one. Bounded: it tires of looking in vain."""

    def __init__(self, new: Region, old: Region) -> None:
        self._new, self._old = new, old
        self._shift = 0
        self._searches, self._patience, self._wait = 0, 1, 0

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """Offset and bytes in the new blob, and the offset in the old one or NOWHERE."""
        begin, length, where = 0, 0, NOWHERE
        for at in range(0, self._new.size, STEP_BYTES):
            step = self._new.part(at, STEP_BYTES)
            found = self._look(at, step)
            follows = found == (where + length if where != NOWHERE else NOWHERE)
            if length and (not follows or length + len(step) > BLOCK_BYTES_MAX):
                yield begin, length, where
                begin, length, where = at, 0, found
            elif not length:
                where = found
            length += len(step)
        if length:
            yield begin, length, where

    def _look(self, at: int, step: bytes) -> int:
        share = self._share(at + self._shift, step)
        if share >= ALIKE:
            self._wait = 0
        elif self._wait > 0:
            self._wait -= 1
        else:
            share = self._look_elsewhere(at, step, share)
        return at + self._shift if share >= UNLIKE else NOWHERE

    def _look_elsewhere(self, at: int, step: bytes, share: float) -> float:
        """Takes another shift where it is better; the share of equal bytes that there is then."""
        shift = self._search(at, step)
        better = self._share(at + shift, step)
        self._patience = 1 if better >= ALIKE else min(PATIENCE_MAX, self._patience * 2)
        self._wait = 0 if better >= ALIKE else self._patience
        if better <= share:
            return share
        self._shift = shift
        return better

    def _share(self, offset: int, step: bytes) -> float:
        old = self._old.part(offset, len(step))
        return xor(step, old).count(0) / len(step) if len(old) == len(step) else 0.0

    def _search(self, at: int, step: bytes) -> int:
        for place in (0, len(step) // 3, 2 * len(step) // 3, len(step) - SEED_BYTES):
            seed = step[max(0, place) : max(0, place) + SEED_BYTES]
            if len(seed) < SEED_BYTES or len(set(seed)) < SEED_VALUES_MIN:
                continue
            here = at + place + self._shift
            found = self._old.find(seed, here - NEAR_BYTES, here + NEAR_BYTES)
            if found < 0 and self._searches < FAR_SEARCHES_MAX:
                self._searches += 1
                found = self._old.find(seed, 0, self._old.size)
            if found >= 0:
                return found - at - place
        return self._shift


def write_difference(new: Region, old: Region, digests: tuple[str, str], out: BinaryIO, bytes_max: int) -> int:
    """Writes how to make `new` (the first digest) of `old`; returns its bytes, 0 where they are more than allowed."""
    raw = [bytes.fromhex(digest.removeprefix("sha256:")) for digest in digests]
    written = out.write(MAGIC + HEADER.pack(raw[1], raw[0], new.size))
    for at, length, where in _Aligner(new, old).blocks():
        data = new.part(at, length)
        change = data if where == NOWHERE else xor(data, old.part(where, length))
        written += out.write(_packed_block(change, where))
        if written > bytes_max:
            return 0
    return written


def _packed_block(change: bytes, where: int) -> bytes:
    samples = (change[at : at + SAMPLE_BYTES] for at in range(0, len(change), SAMPLE_BYTES))
    sample = max(samples, key=lambda data: len(data) - data.count(0))
    shapes = [(width, before) for width in WIDTHS for before in range(width)]
    width, before = min(shapes, key=lambda shape: len(_streams(sample, *shape)))
    return BLOCK.pack(where, len(change), width, before) + _streams(change, width, before)


def _streams(change: bytes, width: int, before: int) -> bytes:
    padded = bytes(before) + change + bytes(-(before + len(change)) % width)
    planes = [padded[lane::width] for lane in range(width)]
    either = 0
    for plane in planes:
        either |= int.from_bytes(plane, "little")
    mask = either.to_bytes(len(planes[0]), "little").translate(_ZERO_OR_ONE)
    return _packed(_gaps(mask)) + b"".join(_packed(bytes(compress(plane, mask))) for plane in planes)


def _gaps(mask: bytes) -> bytes:
    gaps = bytearray()
    for alike in map(len, mask.split(b"\x01")[:-1]):
        far, gap = divmod(alike, FAR)
        gaps += bytes([FAR]) * far
        gaps.append(gap)
    return bytes(gaps)


def _packed(stream: bytes) -> bytes:
    """Stored, deflate, or deflate by how often bytes occur alone, which suits noise with a slant: the smallest."""
    best, packing = stream, STORED
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY):
        packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
        data = packer.compress(stream) + packer.flush()
        if len(data) < len(best):
            best, packing = data, DEFLATE
    return STREAM.pack(packing, len(best)) + best


def xor(first: bytes, second: bytes) -> bytes:
    """Of two strings of one length."""
    return (int.from_bytes(first, "little") ^ int.from_bytes(second, "little")).to_bytes(len(first), "little")


def _region(file: BinaryIO, start: str, size: str) -> Region:
    return Region(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), int(start), int(size))


def main(arguments: list[str]) -> int:
    """Exit status 0 with the bytes written on standard output; anything else: it did not work, on standard error."""
    new_file, new_start, new_size, old_file, old_start, old_size, new_digest, old_digest, bytes_max, out = arguments
    os.nice(NICE)
    path = Path(out)
    with open(new_file, "rb") as new, open(old_file, "rb") as old, durable.replacing(path) as file:
        made = _region(new, new_start, new_size), _region(old, old_start, old_size)
        written = write_difference(*made, (new_digest, old_digest), file, int(bytes_max))
    if not written:
        durable.unlink(path)
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
