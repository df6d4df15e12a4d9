"""A difference makes the new blob whatever changed, is small where little did, and nothing in it is believed."""

from __future__ import annotations

import io
import mmap
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from store import delta, differ
from store.bundle import digest_of
from store.delta import DeltaMalformed

NOISE = random.Random(7)
SIZE = 300_000


def region(data: bytes) -> differ.Region:
    mapped = mmap.mmap(-1, max(1, len(data)))
    mapped.write(data)
    return differ.Region(mapped, 0, len(data))


def difference(old: bytes, new: bytes, bytes_max: int = 1 << 30) -> bytes:
    out = io.BytesIO()
    found = differ.write_difference(region(new), region(old), (digest_of(new), digest_of(old)), out, bytes_max)
    return out.getvalue() if found else b""


def applied(old: bytes, made: bytes) -> bytes:
    file = io.BytesIO(made)
    header = delta.read_header(file)
    assert header.old == digest_of(old)
    return b"".join(delta.patched(io.BytesIO(old), file, header.size))


def weights(count: int = SIZE // 4) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(count) * 0.05).astype("<f4")


def tuned(old: np.ndarray, share: float) -> np.ndarray:
    """A share of the weights, scattered, moved by about one percent."""
    rng = np.random.default_rng(2)
    new, moved = old.copy(), rng.random(len(old)) < share
    new[moved] *= 1 + rng.standard_normal(moved.sum()).astype("<f4") * np.float32(0.01)
    return new


CHANGES = {
    "nothing": lambda old: old,
    "a byte": lambda old: old[:70_000] + b"!" + old[70_001:],
    "bytes put in": lambda old: b"in front" + old[:100_000] + b"between" + old[100_000:],
    "bytes taken out": lambda old: old[13:100_000] + old[100_101:-5],
    "parts in another order": lambda old: old[150_000:] + old[:150_000],
    "twice as long": lambda old: old + old,
    "one byte": lambda old: b"x",
    "something else": lambda old: NOISE.randbytes(90_001),
    "zeros": lambda old: bytes(len(old)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_difference_makes_the_new_blob_whatever_changed(what: str) -> None:
    old = weights().tobytes()
    new = CHANGES[what](old)
    made = difference(old, new)
    assert applied(old, made) == new
    if what not in ("something else", "zeros"):
        assert len(made) < 0.1 * len(old)


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_scattered_changes_of_five_percent_of_the_bytes_cost_at_most_a_fifth_more_than_they_are(shift: int) -> None:
    before = weights(400_000)
    old, new = bytes(shift) + before.tobytes(), bytes(shift) + tuned(before, 0.072).tobytes()
    changed = int((np.frombuffer(old, "u1") != np.frombuffer(new, "u1")).sum())
    assert 0.048 < changed / len(new) < 0.052
    assert len(difference(old, new)) < 1.2 * changed


def test_weights_that_were_trained_anew_as_a_block_cost_less_than_their_bytes() -> None:
    before = weights()
    new = before.copy()
    new[20_000:25_000] += np.float32(0.001) * np.random.default_rng(3).standard_normal(5_000).astype("<f4")
    changed = int((before.view("u1") != new.view("u1")).sum())
    assert len(difference(before.tobytes(), new.tobytes())) < changed


def test_quantised_weights_that_moved_by_one_cost_less_than_their_bytes() -> None:
    rng = np.random.default_rng(4)
    old = (rng.standard_normal(SIZE) * 30).astype("i1")
    new, moved = old.copy(), rng.random(SIZE) < 0.05
    new[moved] += rng.choice(np.array([-1, 1], "i1"), moved.sum())
    assert len(difference(old.tobytes(), new.tobytes())) < 1.05 * moved.sum()


def test_a_difference_that_is_not_worth_it_is_given_up() -> None:
    assert difference(weights().tobytes(), NOISE.randbytes(200_000), 150_000) == b""


def test_the_same_two_blobs_make_the_same_difference() -> None:
    old, new = weights().tobytes(), tuned(weights(), 0.05).tobytes()
    assert difference(old, new) == difference(old, new)


# ---------------------------------------------------------------- hostile


def test_a_mutated_difference_is_refused_or_makes_no_more_than_its_size() -> None:
    before = weights(20_000)
    old, new = before.tobytes(), tuned(before, 0.05).tobytes()
    made = difference(old, new)
    refused = 0
    for _ in range(300):
        data = bytearray(made)
        for _ in range(NOISE.choice((1, 1, 2, 8))):
            data[NOISE.randrange(len(data))] = NOISE.randrange(256)
        data = data[: NOISE.choice((len(data), len(data), NOISE.randrange(len(data))))]
        file = io.BytesIO(data)
        try:
            delta.read_header(file)
            assert sum(len(piece) for piece in delta.patched(io.BytesIO(old), file, len(new))) == len(new)
        except DeltaMalformed:
            refused += 1
    assert refused > 50


def block(offset: int = 0, length: int = 8, width: int = 1, before: int = 0, *streams: bytes) -> bytes:
    return delta.BLOCK.pack(offset, length, width, before) + b"".join(streams)


def stream(data: bytes, packing: int = delta.STORED, length: int | None = None) -> bytes:
    return delta.STREAM.pack(packing, len(data) if length is None else length) + data


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


NOTHING = stream(b"") * 2
HOSTILE = {
    "a block of no bytes": block(length=0),
    "a block beyond the size": block(0, 17, 1, 0, NOTHING),
    "a block of a gigabyte": block(length=1 << 30),
    "units of three bytes": block(0, 8, 3),
    "a unit that lies wholly before its block": block(0, 8, 2, 2),
    "an offset behind the old blob": block(1_000, 8, 1, 0, NOTHING),
    "an offset that no file has": block((1 << 64) - 2, 8, 1, 0, NOTHING),
    "gaps far beyond the block": block(0, 8, 1, 0, stream(b"\xff" * 8)),
    "more gaps than units": block(0, 8, 1, 0, stream(bytes(10), length=1 << 31)),
    "a plane that is too short": block(0, 8, 1, 0, stream(b"\x00\x00"), stream(b"a")),
    "a packing that there is not": block(0, 8, 1, 0, stream(b"", packing=9)),
    "a deflate bomb": block(0, 8, 1, 0, stream(deflated(bytes(1 << 24))[:9], delta.DEFLATE)),
    "a deflate bomb that fits": block(0, 1 << 14, 1, 0, stream(deflated(bytes(1 << 22)), delta.DEFLATE)),
    "deflate that is none": block(0, 8, 1, 0, stream(b"\xff\xff\xff", delta.DEFLATE)),
    "something behind the end": block(0, 16, 1, 0, NOTHING) + b"x",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_maker_writes_is_refused(what: str) -> None:
    size = 1 << 14 if what == "a deflate bomb that fits" else 16
    with pytest.raises(DeltaMalformed):
        list(delta.patched(io.BytesIO(bytes(size)), io.BytesIO(HOSTILE[what]), size))
    twin = block(0, size, 1, 0, NOTHING)
    assert b"".join(delta.patched(io.BytesIO(bytes(size)), io.BytesIO(twin), size)) == bytes(size)


def test_another_files_beginning_is_refused() -> None:
    for data in (b"", b"outstation-delta\x02" + bytes(72), delta.MAGIC + bytes(71)):
        with pytest.raises(DeltaMalformed):
            delta.read_header(io.BytesIO(data))


# ---------------------------------------------------------------- as a process


def test_the_process_writes_the_difference_of_two_regions_of_files_and_says_its_size(tmp_path: Path) -> None:
    old, new = weights().tobytes(), tuned(weights(), 0.05).tobytes()
    (tmp_path / "old").write_bytes(b"head" + old + b"tail")
    (tmp_path / "new").write_bytes(new)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "store.differ", str(tmp_path / "new"), "0", str(len(new)), str(tmp_path / "old")]
    command += ["4", str(len(old)), digest_of(new), digest_of(old)]
    done = subprocess.run([*command, str(len(new)), str(out)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == out.stat().st_size
    assert applied(old, out.read_bytes()) == new
    none = tmp_path / "none"
    done = subprocess.run([*command, "1000", str(none)], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), none.exists()) == ("0", False)


def test_the_header_is_laid_out_as_documented() -> None:
    made = difference(bytes(100), bytes(99) + b"x")
    old, new, size = struct.unpack_from("<32s32sQ", made, len(delta.MAGIC))
    assert (old.hex(), new.hex(), size) == (digest_of(bytes(100))[7:], digest_of(bytes(99) + b"x")[7:], 100)
