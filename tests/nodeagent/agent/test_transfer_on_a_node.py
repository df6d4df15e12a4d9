"""Blobs on a real node: resumed by whoever comes next, made of a difference, and nothing hostile believed."""

from __future__ import annotations

import io
import mmap
import random
from typing import Any

import pytest

from store import delta, differ

NOISE = random.Random(11)
OLD = NOISE.randbytes(600_000)
NEW = OLD[:200_000] + NOISE.randbytes(1_200) + OLD[201_200:]


def region(data: bytes) -> differ.Region:
    mapped = mmap.mmap(-1, len(data))
    mapped.write(data)
    return differ.Region(mapped, 0, len(data))


@pytest.fixture(scope="module")
def node(make_agents: Any, digest_of: Any) -> Any:
    agent = make_agents().start()
    agent.put(digest_of(OLD), OLD)
    return agent


@pytest.fixture
def made(digest_of: Any) -> bytes:
    out = io.BytesIO()
    differ.write_difference(region(NEW), region(OLD), (digest_of(NEW), digest_of(OLD)), out, len(NEW))
    return out.getvalue()


def state(node: Any, digest: str) -> tuple[int, bool]:
    found = node.get(f"/blobs/{digest}")
    return found["received_bytes"], found["complete"]


def patch(node: Any, new: str, old: str, difference: str) -> Any:
    return node.post(f"/blobs/{new}/patch", {"old": old, "delta": difference})


def test_a_blob_is_made_of_the_old_one_and_a_difference_that_was_cut_and_resumed(
    node: Any, made: bytes, digest_of: Any
) -> None:
    new, old, difference = digest_of(NEW), digest_of(OLD), digest_of(made)
    assert 1_200 < len(made) < 1_500
    node.put(difference, made[:700], total=len(made))
    assert state(node, difference) == (700, False)
    node.put(difference, made[700:], offset=700, total=len(made))
    assert patch(node, new, old, difference)["complete"]
    assert state(node, new) == (len(NEW), True)
    assert state(node, difference) == (0, False)
    assert patch(node, new, old, difference)["complete"]  # Once more: it is there.


def sent(node: Any, data: bytes, digest_of: Any) -> str:
    digest = str(digest_of(data))
    node.put(digest, data)
    return digest


def header(new: bytes, old: bytes, size: int, digest_of: Any) -> bytes:
    raw = [bytes.fromhex(digest_of(data)[7:]) for data in (old, new)]
    return delta.MAGIC + delta.HEADER.pack(*raw, size)


def test_a_hostile_difference_is_refused_for_its_reason_and_harms_nothing(
    node: Any, made: bytes, digest_of: Any
) -> None:
    supervisor, target = node.supervisor.pid, NEW + b"."
    new, old = digest_of(target), digest_of(OLD)
    body = made[len(delta.MAGIC) + delta.HEADER.size :]
    cases = {
        "another pair": (made, "BLOB.DELTA"),
        "the wrong content": (header(target, OLD, len(NEW), digest_of) + body, "BLOB.DELTA"),
        "cut off": (header(target, OLD, len(NEW), digest_of) + body[:-9], "BLOB.DELTA"),
        "of a blob that is not here": (header(target, b"?", len(NEW), digest_of) + body, "BLOB.UNKNOWN"),
    }
    for what, (data, code) in cases.items():
        source = digest_of(b"?") if code == "BLOB.UNKNOWN" else old
        difference = sent(node, data, digest_of)
        with pytest.raises(node.refusal) as caught:
            patch(node, new, source, difference)
        assert caught.value.code == code, what
        assert state(node, new) == (0, False)
        assert state(node, difference) == (0, False), what
    with pytest.raises(node.refusal) as caught:
        patch(node, new, old, sent(node, header(target, OLD, 1 << 40, digest_of) + body, digest_of))
    assert caught.value.code == "BLOB.DELTA"
    with pytest.raises(node.refusal) as caught:
        patch(node, new, old, digest_of(b"never sent"))
    assert caught.value.code == "BLOB.UNKNOWN"
    with pytest.raises(node.refusal) as caught:
        patch(node, new, old, old)  # No difference: it is refused, and not thrown away as one.
    assert caught.value.code == "BLOB.DELTA"
    assert state(node, old) == (len(OLD), True)
    assert node.supervisor.pid == supervisor
