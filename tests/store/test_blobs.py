from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import durable, errors
from store.blobs import BlobMismatch, BlobOffset, Blobs, BlobState


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path)
    made.create()
    return made


def test_a_blob_arrives_in_pieces_and_is_whole_only_after_its_hash(blobs: Blobs) -> None:
    data = b"model bytes" * 100
    digest = digest_of(data)
    assert blobs.state(digest) == BlobState(0, False)
    assert blobs.put_at(digest, 0, data[:500], len(data)) == BlobState(500, False)
    assert blobs.put_at(digest, 500, data[500:], len(data)) == BlobState(len(data), False)
    assert blobs.finish(digest).read_bytes() == data
    assert blobs.state(digest) == BlobState(len(data), True)
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o444


def test_a_gap_is_refused_with_the_byte_to_go_on_from(blobs: Blobs) -> None:
    digest = digest_of(b"abc")
    blobs.put_at(digest, 0, b"a", 3)
    with pytest.raises(BlobOffset) as caught:
        blobs.put_at(digest, 2, b"c", 3)
    assert caught.value.received_bytes == 1


def test_i7_wrong_content_never_gets_the_blobs_path_and_is_thrown_away(blobs: Blobs) -> None:
    digest = digest_of(b"abc")
    blobs.put_at(digest, 0, b"abd", 3)
    with pytest.raises(BlobMismatch):
        blobs.finish(digest)
    assert not blobs.path(digest).exists()
    assert blobs.state(digest) == BlobState(0, False)


def test_more_bytes_than_the_total_are_refused(blobs: Blobs) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        blobs.put_at(digest_of(b"abc"), 2, b"cd", 3)


def test_finishing_and_sending_a_whole_blob_again_change_nothing(blobs: Blobs) -> None:
    digest = blobs.put(b"abc")
    assert blobs.put_at(digest, 0, b"xyz", 3) == BlobState(3, True)
    assert blobs.finish(digest).read_bytes() == b"abc"
    assert blobs.put(b"abc") == digest


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "a" * 64, "sha256:" + "a" * 64 + "\n"],
)
def test_what_is_no_digest_never_becomes_a_path(blobs: Blobs, text: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        blobs.path(text)


def test_reading_hashes_what_it_returns(blobs: Blobs) -> None:
    digest = blobs.put(b"abc")
    assert blobs.read(digest, bytes_max=3) == b"abc"
    with pytest.raises(ValueError, match="larger"):
        blobs.read(digest, bytes_max=2)
    _spoil(blobs.path(digest))
    with pytest.raises(errors.Corrupt):
        blobs.read(digest, bytes_max=3)


def test_i7_scrubbing_finds_a_flipped_bit(blobs: Blobs) -> None:
    digest = blobs.put(b"abc")
    assert blobs.scrub(digest)
    _spoil(blobs.path(digest))
    assert not blobs.scrub(digest)


def test_collecting_removes_what_nobody_keeps_and_says_how_much(blobs: Blobs) -> None:
    kept, gone = blobs.put(b"kept"), blobs.put(b"gone!")
    half = digest_of(b"half")
    blobs.put_at(half, 0, b"ha", 4)
    assert blobs.collect({kept}) == 5
    assert [digest for digest, _ in blobs.whole()] == [kept]
    assert not blobs.state(gone).complete
    assert blobs.state(half) == BlobState(2, False)  # It grew since the last time.
    assert blobs.collect({kept}) == 2
    assert blobs.state(half) == BlobState(0, False)


def test_a_blob_made_of_pieces_takes_the_place_of_its_part_and_is_one_only_by_its_digest(blobs: Blobs) -> None:
    digest = digest_of(b"whole")
    blobs.put_at(digest, 0, b"another beginning", 99)
    with pytest.raises(BlobMismatch):
        blobs.make(digest, [b"who", b"!!"])
    assert blobs.state(digest) == BlobState(0, False)
    assert blobs.make(digest, [b"who", b"le"]).read_bytes() == b"whole"


def test_i6_recovering_removes_what_a_kill_left_and_recovering_again_changes_nothing(
    blobs: Blobs, tmp_path: Path
) -> None:
    digest = blobs.put(b"abc")
    (blobs.path(digest).parent / f".{digest[7:]}.1.tmp").write_bytes(b"half")
    part = digest_of(b"part")
    blobs.put_at(part, 0, bytes(durable.Part.SYNC_BYTES + 7), 1 << 30)
    blobs.recover(rebooted=False)
    assert blobs.state(part).received_bytes == durable.Part.SYNC_BYTES + 7
    blobs.recover(rebooted=True)
    before = _tree(tmp_path)
    blobs.recover(rebooted=True)
    assert _tree(tmp_path) == before
    assert blobs.state(part).received_bytes == durable.Part.SYNC_BYTES
    assert not [name for name in before if name.endswith(".tmp")]


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=200),
    sent=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 80)), max_size=12),
)
def test_i7_pieces_repeated_reordered_or_lost_end_in_the_content_or_in_no_blob(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, sent: list[tuple[int, int]]
) -> None:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    blobs.create()
    digest = digest_of(data)
    for offset, size in sent:
        piece = data[offset : offset + size]
        with contextlib.suppress(BlobOffset):
            blobs.put_at(digest, min(offset, len(data)), piece, len(data))
    received = blobs.state(digest).received_bytes
    blobs.put_at(digest, received, data[received:], len(data))
    assert blobs.finish(digest).read_bytes() == data


def _spoil(path: Path) -> None:
    os.chmod(path, 0o600)
    path.write_bytes(b"abd")


def _tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*"))}
