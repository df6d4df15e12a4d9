"""What goes over the wire: a difference where it is less, resumed by any console, the whole blob where that fails."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from console.client.client import AgentClient
from console.delivery import upload as uploading
from console.delivery.upload import Meter, upload
from console.fleet.view import LinkState
from console.link.errors import LinkError
from console.link.transport import Answer
from console.transfer import shipping as shipping_
from console.transfer.budget import Budget
from console.transfer.differences import Differences
from console.transfer.shipping import Contents, Shipping
from nodeagent.deployment.patching import PatchJob, patch
from nodeagent.protocol import ERRORS, BlobState, Error, ErrorBody, PatchRequest
from store import bundle
from store.archive import read_archive, write_archive
from store.blobs import BlobMismatch, BlobOffset, Blobs
from store.bundle import Facts

NOISE = random.Random(3)
OLD = NOISE.randbytes(1_500_000)
NEW = OLD[:400_000] + NOISE.randbytes(75_000) + OLD[475_000:]
LOST = LinkError(LinkState.DOWN, "press-07", "the connection broke")


class Node:
    """A node's blobs on a real disk, over an Exchange that can be cut; every byte that came is counted."""

    def __init__(self, state: Path, tiny: Any) -> None:
        self.state, self.blobs, self._tiny = state, Blobs(state), tiny
        self.blobs.create()
        self.sent_bytes, self.cut_after, self.patches = 0, -1, True
        self.lose: list[str] = []
        self.refuse: dict[str, str] = {}

    async def request(self, method: str, target: str, *, body: Any = None, timeout_s: float) -> Answer:
        path, _, query = target.removeprefix("/agent/v1/").partition("?")
        if path == "status":
            return Answer(200, msgspec.json.encode(self._tiny.status()))
        parts = path.split("/")
        if method == "PUT":
            self._put(parts[1], dict(parse_qsl(query)), body)
        code = self._patch(parts[1], body) if method == "POST" else ""
        if method in self.lose:
            self.lose.remove(method)
            raise LOST
        if code:
            return Answer(ERRORS[code][0], msgspec.json.encode(ErrorBody(Error(code=code, message="no"))))
        found = self.blobs.state(parts[1])
        state = BlobState(
            digest=parts[1], received_bytes=found.received_bytes, complete=found.complete, patches=self.patches
        )
        return Answer(200, msgspec.json.encode(state))

    def _put(self, digest: str, query: dict[str, str], body: bytes) -> None:
        offset, total = int(query["offset"]), int(query["total"])
        if 0 <= self.cut_after < self.sent_bytes + len(body):
            body = body[: self.cut_after - self.sent_bytes]
        self.sent_bytes += len(body)
        self.blobs.put_at(digest, offset, body, total)
        if self.sent_bytes == self.cut_after:
            raise LOST
        if offset + len(body) == total:
            self.blobs.finish(digest)

    def _patch(self, digest: str, body: bytes) -> str:
        request = msgspec.json.decode(body, type=PatchRequest)
        if "patch" in self.refuse:
            return self.refuse["patch"]
        verdict = patch(PatchJob(state=str(self.state), new=digest, old=request.old, delta=request.delta))
        self.blobs.delete(request.delta)
        return verdict.code

    def stream(self, *args: Any, **named: Any) -> Any:
        raise AssertionError("no stream here")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PAUSE_S", 0.0)
    monkeypatch.setattr(shipping_, "PAUSE_S", 0.0)


@pytest.fixture
def node(tmp_path: Path, tiny_agent: Any) -> Node:
    return Node(tmp_path / "node", tiny_agent())


def make_bundle(path: Path, model: bytes, version: str, sequence: int) -> Path:
    facts = Facts(
        name="bearing",
        version=version,
        epoch=1,
        sequence=sequence,
        model="bearing",
        model_digest=bundle.digest_of(model),
        model_bytes=len(model),
        ir_version=8,
        opsets={"": 17},
        operators=["::Mul"],
        inputs=[],
        outputs=[],
        peak_memory_bytes=1,
    )
    files = {"facts": bundle.canonical(facts), "model": model}
    manifest = bundle.canonical(bundle.make_manifest(facts, b"{}", files))
    write_archive(path, manifest, {bundle.digest_of(data): data for data in (b"{}", *files.values())})
    return path


class Laptop:
    """A console with its catalog's archives, and what it says."""

    def __init__(self, folder: Path, *olds: bytes) -> None:
        folder.mkdir()
        self.folder, self.notes = folder, list[str]()
        kept = [(f"1.{n}", make_bundle(folder / f"1.{n}.ostn", old, f"1.{n}", n)) for n, old in enumerate(olds)]
        self.new = make_bundle(folder / "2.0.ostn", NEW, "2.0", 99)

        async def shelf(name: str) -> Sequence[tuple[str, Path]]:
            assert name == "bearing"
            return [("2.0", self.new), *reversed(kept)]

        self.differences = Differences(folder / "patches", shelf)

    def bring(self, node: Node, budget: Budget | None = None, *, whole: bool = False) -> Meter:
        async def piece() -> None:
            return

        with read_archive(self.new) as archive:
            contents, digest = Contents(archive, {}), bundle.digest_of(NEW)
            meter = Meter(contents.sizes[digest])
            way = Shipping(budget, None if whole else self.differences)
            client = AgentClient(node, "press-07")
            done = way.bring(client, contents, digest, meter=meter, on_piece=piece, note=self.notes.append)
            asyncio.run(done)
        assert node.blobs.path(digest).read_bytes() == NEW
        return meter


@pytest.fixture
def laptop(tmp_path: Path) -> Callable[..., Laptop]:
    return lambda name="a", *olds: Laptop(tmp_path / name, *olds)


def test_a_fine_tuned_model_costs_at_most_a_fifth_more_than_what_changed(node: Node, laptop: Any) -> None:
    node.blobs.put(OLD)
    meter = laptop("a", OLD).bring(node)
    assert node.sent_bytes < 1.2 * 75_000
    assert meter.done_bytes == meter.total_bytes == node.sent_bytes
    assert [digest for digest, _ in node.blobs.whole()] == sorted(map(bundle.digest_of, (OLD, NEW)))


def test_the_newest_version_that_the_node_holds_is_the_one_it_is_compared_with(node: Node, laptop: Any) -> None:
    console = laptop("a", OLD, NOISE.randbytes(900_000))
    node.blobs.put(OLD)
    console.bring(node)
    assert "difference to 1.0 instead of 1.5 MB" in console.notes[0]
    assert node.sent_bytes < 100_000


@pytest.mark.parametrize("why", ["nothing older is held", "an older agent", "nothing alike", "whole was asked for"])
def test_where_a_difference_is_of_no_use_the_whole_blob_goes(node: Node, laptop: Any, why: str) -> None:
    old = NOISE.randbytes(400_000) if why == "nothing alike" else OLD
    if why != "nothing older is held":
        node.blobs.put(old)
    node.patches = why != "an older agent"
    console = laptop("a", old)
    meter = console.bring(node, whole=why == "whole was asked for")
    assert node.sent_bytes == len(NEW) == meter.total_bytes == meter.done_bytes


@pytest.mark.parametrize("code", ["BLOB.DELTA", "DEPLOYMENT.DISK_FULL", "REQUEST.UNKNOWN_PATH"])
def test_a_difference_that_the_node_refuses_is_followed_by_the_whole_blob(node: Node, laptop: Any, code: str) -> None:
    node.blobs.put(OLD)
    node.refuse["patch"] = code
    console = laptop("a", OLD)
    meter = console.bring(node)
    assert "the whole blob is sent" in console.notes[-1]
    assert meter.done_bytes == meter.total_bytes


def test_a_cut_difference_goes_on_at_the_byte_from_a_console_that_was_started_again(node: Node, laptop: Any) -> None:
    node.blobs.put(OLD)
    console = laptop("a", OLD)
    node.cut_after = 40_000
    with pytest.raises(LinkError):
        console.bring(node)
    node.cut_after = -1
    again = Laptop.__new__(Laptop)
    again.__dict__.update(console.__dict__)
    again.differences = Differences(console.folder / "patches", console.differences._shelf)
    again.bring(node)
    assert node.sent_bytes < 1.2 * 75_000


def test_a_lost_answer_to_a_patch_is_asked_about(node: Node, laptop: Any) -> None:
    node.blobs.put(OLD)
    node.lose = ["POST", "POST"]
    laptop("a", OLD).bring(node)
    assert node.sent_bytes < 1.2 * 75_000


def test_a_difference_is_made_once_for_many_nodes(tmp_path: Path, tiny_agent: Any, laptop: Any) -> None:
    console, marks = laptop("a", OLD), set()
    for number in range(3):
        other = Node(tmp_path / f"n{number}", tiny_agent())
        other.blobs.put(OLD)
        console.bring(other)
        (kept,) = (console.folder / "patches").iterdir()
        marks.add((kept.stat().st_ino, kept.stat().st_mtime_ns))
    assert len(marks) == 1


def test_another_laptop_goes_on_where_the_first_was_cut(node: Node, laptop: Any) -> None:
    node.cut_after = 700_123
    with pytest.raises(LinkError):
        laptop("a").bring(node)
    assert node.blobs.state(bundle.digest_of(NEW)).received_bytes == 700_123
    node.cut_after = -1
    meter = laptop("b").bring(node)
    assert node.sent_bytes == len(NEW)
    assert meter.done_bytes == len(NEW)


def test_another_laptop_with_other_content_of_that_digest_never_makes_a_blob(node: Node) -> None:
    digest = bundle.digest_of(NEW)
    node.blobs.put_at(digest, 0, bytes(1_000), len(NEW))
    with pytest.raises(BlobOffset):
        node.blobs.put_at(digest, 2_000, NEW[2_000:], len(NEW))
    node.blobs.put_at(digest, 1_000, NEW[1_000:], len(NEW))
    with pytest.raises(BlobMismatch):
        node.blobs.finish(digest)
    assert node.blobs.state(digest) == (0, False)


def test_pieces_are_no_larger_than_the_budget_allows(node: Node) -> None:
    taken: list[int] = []

    class Counted(Budget):
        async def take(self, count: int) -> None:
            taken.append(count)

    async def run() -> None:
        async def piece() -> None:
            return

        await upload(
            AgentClient(node, "press-07"),
            bundle.digest_of(NEW),
            io.BytesIO(NEW),
            len(NEW),
            meter=Meter(len(NEW)),
            on_piece=piece,
            budget=Counted(200_000),
        )

    asyncio.run(run())
    assert sum(taken) == len(NEW)
    assert max(taken) == 50_000


def test_twenty_cuts_send_less_than_a_twentieth_again(node: Node) -> None:
    """A cut comes in the middle of a piece, whose bytes the node keeps; the programme of `make faults` is larger."""
    data, cuts = NEW, sorted(NOISE.sample(range(len(NEW)), 20))
    digest = bundle.digest_of(data)
    for cut in [*cuts, -1]:
        node.cut_after = cut

        async def run() -> None:
            async def piece() -> None:
                return

            await upload(
                AgentClient(node, "press-07"),
                digest,
                io.BytesIO(data),
                len(data),
                meter=Meter(len(data)),
                on_piece=piece,
            )

        try:
            asyncio.run(run())
        except LinkError:
            continue
    assert node.blobs.path(digest).read_bytes() == data
    assert node.sent_bytes < 1.05 * len(data)
