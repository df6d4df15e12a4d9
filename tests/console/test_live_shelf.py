"""What the console keeps, over real files and a real link: bundles with their lineage, ledgers, a node added."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from console.fleet.view import LinkState
from console.seat.live import LiveOperations
from console.seat.operations import OperationFailed
from console.seat.prompts import Nobody
from nodeagent.protocol import LedgerEntry, LedgerPage
from store import bundle
from store.archive import write_archive
from store.bundle import Facts
from store.ledger import GENESIS, Entry, entry_hash


class Yes(Nobody):
    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        return True


@asynccontextmanager
async def shelf(plant: Any) -> AsyncIterator[LiveOperations]:
    await plant.node("press-07")
    async with plant.running() as fleet:
        await plant.until("press-07", lambda view: view.link is LinkState.UP)
        operations = LiveOperations(fleet, plant.folder / "home" / "catalog.db", operator="alice", prompter=Yes())
        (plant.folder / "home").mkdir()
        try:
            yield operations
        finally:
            operations.close()


def make_bundle(path: Path, version: str, sequence: int, **more: Any) -> Path:
    model = f"model of {version}".encode()
    facts = Facts(
        name="bearing", version=version, epoch=1, sequence=sequence, model="bearing",
        model_digest=bundle.digest_of(model), model_bytes=len(model), ir_version=8, opsets={"": 17},
        operators=["::Mul"], inputs=[], outputs=[], peak_memory_bytes=1, **more,
    )  # fmt: skip
    files: dict[Any, bytes] = {"facts": bundle.canonical(facts), "model": model}
    manifest = bundle.canonical(bundle.make_manifest(facts, b"{}", files))
    write_archive(path, manifest, {bundle.digest_of(data): data for data in (b"{}", *files.values())})
    return path


def holds(count: int, actor: str) -> list[Entry]:
    entries: list[Entry] = []
    for seq in range(1, count + 1):
        previous = entries[-1].hash if entries else GENESIS
        entry = Entry(seq, "boot", seq, seq * 1_000_000, actor, "hold.set", "node", {"reason": "a\x07b"}, previous, "")
        entries.append(entry._replace(hash=entry_hash(entry)))
    return entries


def serve(agent: Any, entries: list[Entry]) -> None:
    def page(query: str, body: bytes) -> LedgerPage:
        after = int(query.partition("after=")[2].partition("&")[0])
        new = [LedgerEntry(**entry._asdict()) for entry in entries if entry.seq > after]
        return LedgerPage(entries=new, head_seq=entries[-1].seq, head_hash=entries[-1].hash)

    agent.handle["GET", "/ledger"] = page


def test_a_bundle_is_kept_whole_and_tells_what_it_descends_from_and_what_came_of_it(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        async with shelf(plant) as operations:
            first = await operations.take_bundle(str(make_bundle(plant.folder / "a.ostn", "1.0", 10)))
            second = await operations.take_bundle(
                str(make_bundle(plant.folder / "b.ostn", "2.0", 20, lineage={"data": "line 3"}))
            )
            assert {entry.digest for entry in await operations.bundles()} == {first, second}
            assert (await operations.inspect(first)).children == (("bearing", "2.0", second),)
            found = await operations.inspect(second)
            assert found.parents == (("bearing", "1.0", first),)
            assert found.lineage == (("data", "line 3"),)
            assert not found.damaged
            kept = plant.folder / "home" / "bundles" / f"{second.removeprefix('sha256:')}.ostn"
            kept.write_bytes(kept.read_bytes().replace(b"model of 2.0", b"model of 2.9"))
            assert (await operations.inspect(second)).damaged == (bundle.digest_of(b"model of 2.0"),)
            with pytest.raises(OperationFailed, match="add a bundle failed"):
                await operations.take_bundle(str(plant.folder / "none.ostn"))
            assert str(plant.folder / "a.ostn") in await operations.bundle_files(str(plant.folder))

    in_plant(body)


def test_a_ledger_is_verified_kept_and_red_when_the_node_shows_another(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        async with shelf(plant) as operations:
            agent = plant.agents["press-07"]
            serve(agent, holds(3, "alice"))
            assert (await operations.verify("press-07")).new == 3
            (chain,) = (await operations.chains()).values()
            assert (chain.node_id, chain.head.seq, chain.broken) == ("id-press-07", 3, None)
            entries = await operations.newest_entries("id-press-07", 2)
            assert [entry.seq for entry in entries] == [2, 3]
            assert "\x07" not in str(entries[0].detail)
            then = await operations.past("id-press-07", 2_000_000)
            assert then is not None
            assert [entry.seq for entry in then.before] == [1, 2]
            serve(agent, holds(4, "mallory"))
            assert (await operations.verify("press-07")).broken is not None
            assert plant.fleet.views()["press-07"].ledger_break
            await operations.accept_break("id-press-07", "a new disk")
            assert (await operations.verify("press-07")).new == 4
            assert not plant.fleet.views()["press-07"].ledger_break
            with pytest.raises(OperationFailed, match="no break"):
                await operations.accept_break("id-press-07", "again")

    in_plant(body)


def test_a_node_is_added_by_the_words_of_the_command_line_and_is_watched(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        async with shelf(plant) as operations:
            other = await plant.node("mill-11")
            words = ["mill-12", f"operator@{other.host}:{other.port}", "--socket", other.socket, "-i",
                     other.identity_files[0], "--site", "steyr"]  # fmt: skip
            assert await operations.add_node(words) == "mill-12"
            view = await plant.until("mill-12", lambda view: view.link is LinkState.UP)
            assert (view.address.site, view.address.node_id) == ("steyr", "id-mill-11")
            with pytest.raises(OperationFailed, match="there is a node mill-12 already"):
                await operations.add_node(words)
            for wrong in ([], ["--help"], ["x"], ["x", "host", "--nonsense"]):
                with pytest.raises(OperationFailed):
                    await operations.add_node(wrong)

    in_plant(body)
