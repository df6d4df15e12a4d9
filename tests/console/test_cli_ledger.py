"""`outstation ledger`: verified on every visit, merged between consoles by file, asked what was at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from console.__main__ import main
from console.demo.sshd import make_key
from console.fleet.board import judge
from console.fleet.view import Condition
from console.home import Home, row_of
from console.ledgers.past import past
from console.ledgers.visits import ThreadBook, Visits
from nodeagent.protocol import LedgerEntry, LedgerPage
from store.ledger import GENESIS, Entry, entry_hash

Run = Callable[..., Any]
NOON_US = round(datetime(2026, 11, 24, 12, 0).timestamp() * 1e6)
HOUR_US = 3_600_000_000


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(*words: str, home: Path = tmp_path / "home", operator: str = "alice") -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(home), "--operator", operator, *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def chained(*facts: tuple[int, str, str, str, dict[str, Any]]) -> list[Entry]:
    """Entries of (hours after noon, actor, action, subject, detail)."""
    entries: list[Entry] = []
    for seq, (hours, actor, action, subject, detail) in enumerate(facts, 1):
        previous = entries[-1].hash if entries else GENESIS
        entry = Entry(seq, "boot", seq, NOON_US + hours * HOUR_US, actor, action, subject, detail, previous, "")
        entries.append(entry._replace(hash=entry_hash(entry)))
    return entries


def holds(count: int, actor: str = "alice") -> list[Entry]:
    return chained(*((n, actor, "hold.set", "no\x07de", {"reason": "é"}) for n in range(count)))


def serve(agent: Any, entries: list[Entry]) -> None:
    def page(query: str, body: bytes) -> LedgerPage:
        after = int(query.partition("after=")[2].partition("&")[0])
        new = [LedgerEntry(**entry._asdict()) for entry in entries if entry.seq > after]
        return LedgerPage(entries=new, head_seq=entries[-1].seq, head_hash=entries[-1].hash)

    agent.handle["GET", "/ledger"] = page


async def known(plant: Any, *homes: Path, pinned: bool = True) -> Any:
    """A node of the plant that the consoles of `homes` know, with its key and id pinned."""
    address = await plant.node("press-07")
    agent = plant.agents["press-07"]
    key = (plant.folder / "press-07.key.pub").read_text().split()
    for folder in homes:
        home = Home(folder)
        with home.open_catalog() as catalog:
            catalog.put_node(row_of(address))
            if pinned:
                catalog.learn_node_id("press-07", agent.node_id)
        home.known_hosts.write_text(f"[{address.host}]:{address.port} {key[0]} {key[1]}\n")
    return agent


def test_i15_a_ledger_must_extend_what_this_console_verified_before(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await known(plant, tmp_path / "home")
        serve(agent, holds(3))
        code, out, _ = await cli("ledger", "show", "press-07")
        assert (code, "chain verified: 3 entries, 3 new" in out, "\x07" in out) == (0, True, False)
        serve(agent, holds(5))
        code, out, _ = await cli("ledger", "verify")
        assert (code, "extends the anchor" in out) == (0, True)
        serve(agent, holds(6, "mallory"))
        code, out, _ = await cli("ledger", "verify", "press-07")
        assert (code, "ledger FORKED: entry 5" in out) == (1, True)
        serve(agent, holds(6))
        assert (await cli("ledger", "verify"))[0] == 1, "what was seen stays seen"
        code, out, _ = await cli("ledger", "accept", "press-07", "--reason", "restored", "--yes")
        assert (code, "6 entries verified from the first one on" in out) == (0, True)
        assert (await cli("ledger", "verify"))[0] == 0

    in_plant(body)


def test_i15_a_shortened_chain_is_said_also_when_the_node_is_away(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await known(plant, tmp_path / "home")
        serve(agent, holds(3))
        await cli("ledger", "verify")
        serve(agent, holds(2))
        code, out, _ = await cli("ledger", "show", "press-07")
        assert (code, "ledger SHORTENED: the node shows 2 entries, 3 had been verified" in out) == (1, True)
        await plant.servers["press-07"].unplug()
        code, out, _ = await cli("ledger", "verify")
        assert (code, "SHORTENED" in out) == (1, True)

    in_plant(body)


def test_two_consoles_merge_their_copies_by_file(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        one, two, stick = tmp_path / "home", tmp_path / "two", tmp_path / "stick"
        stick.mkdir()
        agent = await known(plant, one, two)
        serve(agent, holds(3))
        await cli("ledger", "verify", home=two)
        serve(agent, holds(5))
        assert (await cli("ledger", "export", "press-07", "-o", str(stick)))[0] == 2, "an export is signed"
        key = signing_key(tmp_path / "release", two)
        code, out, _ = await cli("ledger", "export", "press-07", "-o", str(stick), "--key", str(key))
        file = stick / "press-07-5.ledger"
        assert (code, f"{file}: 5 entries" in out, file.stat().st_mode & 0o777) == (0, True, 0o600)
        code, out, _ = await cli("ledger", "import", str(file), home=two)
        assert (code, "2 of 5 entries were new here; one chain; carol SHA256:" in out) == (0, True)
        lines = file.read_bytes().splitlines()
        file.write_bytes(b"\n".join([*lines[:2], *lines[3:]]))
        code, _, err = await cli("ledger", "import", str(file), home=two)
        assert (code, "it was cut" in err) == (1, True)

    in_plant(body)


def signing_key(path: Path, *homes: Path) -> Path:
    """A key of carol's, whose exports the consoles of `homes` take."""
    make_key(path, "carol")
    public = " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])
    for home in homes:
        (home / "allowed_signers").write_text(f'carol namespaces="outstation-ledger" {public}\n')
    return path


def test_a_copy_that_nobody_known_has_signed_is_shown_as_that_and_never_merges_unasked(
    in_plant: Any, cli: Run, tmp_path: Path
) -> None:
    async def body(plant: Any) -> None:
        two = tmp_path / "two"
        serve(await known(plant, tmp_path / "home", two), holds(3))
        plain, foreign, signed = (tmp_path / name for name in ("plain", "foreign", "signed"))
        signing_key(tmp_path / "known", two)
        signing_key(tmp_path / "stranger")
        for file, words in (
            (plain, ["--unsigned"]),
            (foreign, ["--key", str(tmp_path / "stranger")]),
            (signed, ["--key", str(tmp_path / "known")]),
        ):
            assert (await cli("ledger", "export", "press-07", "-o", str(file), *words))[0] == 0
        for file, told in ((plain, "NOT merged. UNSIGNED"), (foreign, "NOT merged. FOREIGN: signed by SHA256:")):
            code, out, _ = await cli("ledger", "import", str(file), home=two)
            assert (code, told in out) == (1, True)
            code, _, err = await cli("ledger", "import", "--unsigned", str(file), home=two)
            assert (code, "nothing was done" in err) == (1, True), "it is asked for a second time"
        code, out, _ = await cli("ledger", "at", "2026-11-24 14:05", "press-07", home=two)
        head, rest = signed.read_bytes().split(b"\n", 1)
        for forged in (head.replace(b"alice", b"mallory"), head.replace(b'"node":"press-07"', b'"node":"press-08"')):
            assert forged != head
            plain.write_bytes(forged + b"\n" + rest)
            code, _, err = await cli("ledger", "import", "--unsigned", "--yes", str(plain), home=two)
            assert (code, "changed after it was signed" in err) == (1, True)
        lines = signed.read_bytes().splitlines()
        plain.write_bytes(b"\n".join([lines[0], lines[1], lines[2].replace(b"alice", b"malle"), *lines[3:]]))
        code, out, _ = await cli("ledger", "import", str(plain), home=two)
        assert (code, "ledger EDITED" in out) == (1, True), "one signature is over the whole chain"
        code, out, _ = await cli("ledger", "import", "--unsigned", "--yes", str(foreign), home=two)
        assert (code, "one chain; FOREIGN" in out) == (0, True)

    in_plant(body)


def test_a_broken_ledger_is_an_alarm_in_status_reached_or_not(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await known(plant, tmp_path / "home")
        serve(agent, holds(3))
        await cli("ledger", "verify")
        assert (await cli("status"))[0] == 0
        serve(agent, holds(3, "mallory"))
        await cli("ledger", "verify")
        code, out, _ = await cli("status")
        assert (code, "ALRM" in out, "ledger FORKED" in out) == (1, True, True)
        await plant.servers["press-07"].unplug()
        code, out, _ = await cli("status", "--json")
        (row,) = json.loads(out)
        assert (code, row["reached"], "FORKED" in row["ledger"]) == (3, False, True)

    in_plant(body)


def test_i15_a_node_that_shows_each_console_another_history_is_found_by_merging(
    in_plant: Any, cli: Run, tmp_path: Path
) -> None:
    async def body(plant: Any) -> None:
        two = tmp_path / "two"
        agent = await known(plant, tmp_path / "home", two)
        serve(agent, holds(4))
        key = signing_key(tmp_path / "key", two)
        await cli("ledger", "export", "press-07", "-o", str(tmp_path / "copy"), "--key", str(key))
        serve(agent, holds(4, "mallory"))
        assert (await cli("ledger", "verify", home=two))[0] == 0
        code, out, _ = await cli("ledger", "import", str(tmp_path / "copy"), home=two)
        assert (code, "the node showed two histories" in out) == (1, True)
        assert (await cli("ledger", "verify", home=two))[0] == 1

    in_plant(body)


def deployed(hours: int, id_: str, revision: int, *, ends: str = "committed") -> list[Any]:
    """What a node writes of one deployment."""
    told = {
        "bundle": "bearing",
        "version": f"2.{revision}",
        "digest": "sha256:" + id_ * 64,
        "signer": "release SHA256:k",
    }
    moved = {"bundle": "bearing", "revision": revision, "previous_revision": revision - 1 or None}
    return [
        (hours, "alice", "deployment.receive", id_, told),
        (hours, "alice", "deployment.trial", id_, moved),
        (hours, "bob" if ends == "committed" else "agent", f"deployment.{ends}", id_, {"bundle": "bearing"}),
    ]


def test_at_a_time_the_ledger_says_what_ran_and_who_did_what(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    facts = [*deployed(0, "a", 1), *deployed(2, "b", 2), *deployed(4, "c", 3, ends="rolled_back")]
    facts += [(5, "carol", "hold.set", "node", {"reason": "smoke"})]

    async def body(plant: Any) -> None:
        agent = await known(plant, tmp_path / "home")
        serve(agent, chained(*facts))
        code, out, _ = await cli("ledger", "at", "2026-11-24 14:05", "press-07")
        assert code == 0
        assert "bearing  2.2      r2   COMMITTED" in out
        assert "deployment.committed" in out.partition("---- ")[0]
        assert "rolled_back" in out.partition("---- ")[2]
        code, out, _ = await cli("ledger", "at", "2026-11-24 18:00", "press-07", "--json")
        found = json.loads(out)
        assert [(ran["version"], ran["revision"], ran["by"]) for ran in found["ran"]] == [("2.2", 2, "alice")]
        assert found["standing"]["hold"] == "by carol: smoke"
        await plant.servers["press-07"].unplug()
        code, out, _ = await cli("ledger", "at", "2026-11-24 11:00", "press-07")
        assert (code, "begins after" in out, "as of the last visit" in out) == (0, True, True)

    in_plant(body)


def test_a_node_whose_id_was_never_pinned_is_asked_for_it(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await known(plant, tmp_path / "home", pinned=False)
        serve(agent, holds(2))
        code, out, _ = await cli("ledger", "at", "2026-11-24 14:05", "press-07")
        assert (code, "hold: by alice" in out) == (0, True)
        with Home(tmp_path / "home").open_catalog() as catalog:
            found = catalog.node("press-07")
        assert found is not None
        assert found.node_id == agent.node_id

    in_plant(body)


def test_a_clock_that_went_back_is_said(tmp_path: Path) -> None:
    entries = chained((5, "a", "x", "y", {}), (0, "a", "x", "y", {}), (6, "a", "x", "y", {}))
    found = past(entries, NOON_US + 5 * HOUR_US)
    assert ([entry.seq for entry in found.before], found.clock_steps) == ([1, 2], [2])


def test_i15_the_app_visits_every_node_that_is_up_and_a_fork_is_an_alarm_with_words(
    in_plant: Any, tmp_path: Path
) -> None:
    async def body(plant: Any) -> None:
        agent = await known(plant, tmp_path / "home")
        book = ThreadBook(tmp_path / "home" / "catalog.db")
        serve(agent, holds(3))
        async with plant.running() as fleet:
            visits = Visits(fleet, book, again_s=0.0)
            view = await plant.until("press-07", lambda view: view.telemetry is not None)
            await visits.round()
            assert fleet.views()["press-07"].ledger_break == ""
            serve(agent, holds(2))
            await visits.round()
            view = await plant.until("press-07", lambda view: bool(view.ledger_break))
            state = judge(view, view.telemetry_at_s)
            assert (state.condition, "SHORTENED" in state.reason) == (Condition.ALARM, True)
            serve(agent, holds(4))
            await visits.round()
            await visits.tell()
            assert fleet.views()["press-07"].ledger_break
            await plant.servers["press-07"].unplug()
            view = await plant.until("press-07", lambda view: view.link != "up")
            assert judge(view, 1e12).condition is Condition.ALARM, "red, whether it is reached or not"
        book.close()

    in_plant(body)
