"""Blobs on a real node: resumed by whoever comes next, made of a difference, and nothing hostile believed."""

from __future__ import annotations

import io
import mmap
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from store import archive, delta, differ
from store.blobs import Blobs

NOISE = random.Random(11)
OLD = NOISE.randbytes(600_000)
NEW = OLD[:200_000] + NOISE.randbytes(1_200) + OLD[201_200:]


def region(data: bytes) -> differ.Region:
    mapped = mmap.mmap(-1, len(data))
    mapped.write(data)
    return differ.Region(mapped, 0, len(data))


@pytest.fixture(scope="module")
def node(make_agents: Any, digest_of: Any) -> Any:
    agent = make_agents()
    marker = Blobs(agent.state).put(b"collected at the start")
    agent.start()
    agent.eventually(lambda: not Blobs(agent.state).state(marker).complete, "the collection at the start")
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


# ---------------------------------------------------------------- from a stick


def brought(node: Any, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodeagent", "import", "--state", str(node.state), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_bundle_from_a_stick_is_verified_kept_and_then_deployed_without_a_byte_sent(
    node: Any, workshop: Any, digest_of: Any
) -> None:
    stick = workshop.bundle(7, name="lathe")
    done = brought(node, stick)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lathe 1.7 is here, signed by release SHA256:" in done.stdout
    assert "nothing was activated" in done.stdout
    assert node.bundle("lathe") is None
    (row,) = [row for row in node.get("/ledger?limit=1000")["entries"] if row["action"] == "bundle.import"]
    assert row["detail"]["bundle"] == "lathe"
    node.stage(workshop.bundle(1), "withdrawn")
    node.change("/deployments/withdrawn/rollback")  # Its end collects the blobs that nothing needs.
    node.eventually(lambda: not state(node, digest_of(OLD))[1], "old blobs to be collected")
    with archive.read_archive(stick) as opened:
        signature = digest_of(opened.signature_bytes)
        body = {"id": "from-stick", "manifest": opened.manifest_digest, "signature": signature, "window_s": 60}
    assert node.change("/deployments", body)["state"] == "STAGED"
    node.put(digest_of(OLD), OLD)


def test_a_bundle_from_a_stick_that_nobody_allowed_signed_is_refused(node: Any, workshop: Any, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    done = brought(node, workshop.bundle(3, name="mill", key=tmp_path / "key"))
    assert done.returncode == 1
    assert "TRUST.SIGNATURE" in done.stderr
    (tmp_path / "hello.ostn").write_bytes(b"hello")
    assert "hello.ostn" in brought(node, tmp_path / "hello.ostn").stderr


def test_what_a_console_began_a_stick_goes_on_with(node: Any, workshop: Any, digest_of: Any) -> None:
    stick = workshop.bundle(9, name="press-large")
    with archive.read_archive(stick) as opened:
        facts = opened.facts()
        model = opened.open_blob(facts.model_digest).read()
    node.put(facts.model_digest, model[:50], total=len(model))
    assert state(node, facts.model_digest) == (50, False)
    assert brought(node, stick).returncode == 0
    assert state(node, facts.model_digest) == (len(model), True)
