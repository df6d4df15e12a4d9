"""The incident capsule: made of real links, signed, read strictly, opened in the app, and never a word of a secret."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.capsule.collect import RECORDS_WITH_INPUTS, Collecting, merged, sampled
from console.capsule.content import Manifest, NodeCapsule
from console.capsule.file import Capsule, CapsuleRefused, read, write
from console.capsule.key import own_public_key, own_signer
from console.capsule.redact import Redaction
from console.capsule.showing import opened_on
from console.capsule.trusted import chain_of, maker_of
from console.fleet.view import LinkState
from console.home import Home, row_of
from console.ledgers.visits import ThreadBook
from console.sample.fleet import log_lines, sample_seat
from console.sample.plant import WALL_S, plant
from console.sample.shelf import story
from console.sample.trend import sample_trend
from console.seat.live import LiveOperations
from console.seat.operations import OperationFailed
from console.seat.seat import Seat
from console.terminal.terminal import LINKS, Terminal
from nodeagent.protocol import (
    Bindings,
    ClockReading,
    DeploymentsPage,
    LedgerEntry,
    LedgerPage,
    LogLine,
    LogsPage,
    Record,
    RecordsPage,
)
from store import ustar
from store.ledger import Entry

NODE = "press-07"
PAST = ("--around", "5m ago", "--minutes", "4")


def ledger_of(entries: list[Entry], query: str) -> LedgerPage:
    after = int(query.partition("after=")[2].split("&")[0])
    new = [LedgerEntry(**entry._asdict()) for entry in entries if entry.seq > after]
    return LedgerPage(entries=new, head_seq=entries[-1].seq, head_hash=entries[-1].hash)


def record(key: int, decision: str = "normal", at_s: float = WALL_S) -> Record:
    return Record(
        key=key, bundle="bearing", revision=14, wall_us=round(at_s * 1e6), source_us=None, latency_us=900, score=0.1,
        label="", decision=decision, quality=0, reason="", inputs=[1.0], outputs=[2.0],
    )  # fmt: skip


def node(name: str = NODE, **more: Any) -> NodeCapsule:
    """A node of the sample plant over ten seconds, a frame a second; its rate is the second's number."""
    view = plant()[NODE]
    assert view.telemetry is not None
    frames = [
        msgspec.structs.replace(
            view.telemetry,
            cursor=n,
            wall_us=round((WALL_S + n) * 1e6),
            bundles=[msgspec.structs.replace(view.telemetry.bundles[0], inferences_per_s=100.0 + n)],
        )
        for n in range(10)
    ]
    entries = [LedgerEntry(**entry._asdict()) for entry in story(name)]
    told: dict[str, Any] = {
        "name": name, "node_id": f"node-{name}", "site": "graz", "offset_s": 0.0, "status": view.status,
        "frames": frames,
        "trends": {"bearing": sample_trend("bearing", wall_s=WALL_S, hours=1, points_max=60)}, "logs": log_lines(name),
        "records": {"bearing": [record(n) for n in range(1, 4)]}, "ledger": entries,
        "ledger_head": (entries[-1].seq, entries[-1].hash), "ledger_verdict": "verified",
    }  # fmt: skip
    return NodeCapsule(**{**told, **more})


MANIFEST = Manifest(
    made_by="bob", made_s=WALL_S, tool="outstation", around_s=WALL_S + 5, first_s=WALL_S - 600, last_s=WALL_S + 605,
    without_names=False, redacted={}, parts=[],
)  # fmt: skip


@pytest.fixture
def capsule(tmp_path: Path) -> Path:
    path = tmp_path / "a.ostx"
    write(path, MANIFEST, [msgspec.to_builtins(node())], own_signer(tmp_path))
    return path


# ---------------------------------------------------------------- the file


def test_a_capsule_is_read_as_it_was_written_and_says_who_made_it(capsule: Path, tmp_path: Path) -> None:
    found = read(capsule)
    assert found.raw == (node(),)
    assert maker_of(found, "", own_public_key(tmp_path)).known
    stranger = maker_of(found, "", "")
    assert not stranger.known
    assert "FOREIGN" in stranger.text
    named = maker_of(found, f'bob namespaces="outstation-capsule" {own_public_key(tmp_path)}', "")
    assert named.text.startswith("signed by bob")
    assert chain_of(found.raw[0])[0]


def test_any_byte_that_is_changed_is_found(capsule: Path) -> None:
    whole = capsule.read_bytes()
    for at in [*range(0, 3_000, 97), *range(3_000, len(whole), 997)]:
        capsule.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CapsuleRefused):
            read(capsule)
    for end in range(0, len(whole), 4_099):
        capsule.write_bytes(whole[:end])
        with pytest.raises(CapsuleRefused):
            read(capsule)


def packed(path: Path, folder: Path, plain: bytes, *, said: int | None = None, extra: str = "", **change: Any) -> Path:
    """A capsule that is rightly signed, by somebody who means harm."""
    data = zlib.compress(plain)
    part = {"member": "nodes/0001.json.zlib", "node": NODE, "digest": f"sha256:{sha256(data).hexdigest()}",
            "bytes": len(data), "plain_bytes": len(plain) if said is None else said}  # fmt: skip
    head = msgspec.json.encode({**msgspec.to_builtins(MANIFEST), "parts": [part], **change})
    members = [("capsule.json", head), ("capsule.sig", own_signer(folder)(head)), (part["member"], data)]
    with path.open("wb") as file:
        for name, content in [*members, *([(extra, b"x")] if extra else [])]:
            file.write(ustar.header(str(name), len(content)) + content + ustar.padding(len(content)))
        file.write(ustar.END)
    return path


HUGE = 10**18
LINE = {"cursor": 1, "boottime_us": 1, "wall_us": HUGE, "level": "info", "source": "", "text": ""}
TREND = {"bundle": "b", "step_s": 1.0, "points": [[HUGE, 1.0, 1.0, 1.0, 1.0, 1.0]]}
HOSTILE: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "a bomb": ({"said": 10}, b"[" + b"0," * 1_000_000 + b"0]", "unpacks to something else"),
    "no size": ({"said": 0}, b"{}", "says that it is 0 bytes"),
    "a size beyond all": ({"said": 1 << 40}, b"{}", "says that it is"),
    "one more member": ({"extra": "../../etc/cron.d/x"}, b"{}", "not those of a capsule"),
    "deep nesting": ({}, b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be read"),
    "another name": ({}, b'{"name":"pump-03"}', "of another node"),
    "no utf-8": ({}, b'{"name":"\xff"}', "cannot be read"),
    "an unknown field": ({}, b'{"name":"press-07","run":"rm"}', "cannot be read"),
    "a time of no calendar": ({}, msgspec.json.encode({"name": NODE, "logs": [LINE]}), "no clock shows"),
    "a point of no calendar": ({}, msgspec.json.encode({"name": NODE, "trends": {"b": TREND}}), "no clock shows"),
    "a moment of no calendar": ({"around_s": 1e300}, b'{"name":"press-07"}', "no clock shows"),
    "another format": ({"format": "outstation-capsule-9"}, b'{"name":"press-07"}', "format is not known"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_capsule_is_refused_though_it_is_signed(name: str, tmp_path: Path) -> None:
    change, plain, said = HOSTILE[name]
    with pytest.raises(CapsuleRefused, match=said):
        read(packed(tmp_path / "evil.ostx", tmp_path, plain, **change))


def test_the_file_that_these_are_made_of_is_taken_without_the_harm(tmp_path: Path) -> None:
    assert read(packed(tmp_path / "good.ostx", tmp_path, b'{"name":"press-07"}')).nodes[0].name == NODE


def test_words_of_a_capsule_cannot_move_a_cursor(tmp_path: Path) -> None:
    line = LogLine(cursor=1, boottime_us=1, wall_us=1, level="info", source="\x1b]0;x\x07", text="\x1b[2Jgone\u202e")
    write(tmp_path / "a.ostx", MANIFEST, [msgspec.to_builtins(node(logs=[line]))], own_signer(tmp_path))
    (found,) = read(tmp_path / "a.ostx").nodes
    assert "\x1b" not in found.logs[0].text + found.logs[0].source


# ---------------------------------------------------------------- redaction


def test_secrets_go_whatever_they_stand_in() -> None:
    told = {
        "bindings": {"values": {"plc": {"url": "opc.tcp://ops:hunter2@10.0.0.5:4840", "password": "hunter2"}}},
        "logs": [{"text": "mqtt password=hunter2, retrying"}, {"text": 'api_key: "hunter2"'},
                 {"text": "Authorization: Bearer hunter2"}, {"text": "-----BEGIN OPENSSH PRIVATE KEY-----hunter2"},
                 {"text": "the community=*** is kept"}],
        "deep": [{"snmp_community": "hunter2"}],
    }  # fmt: skip
    redaction = Redaction()
    clear = redaction.document(told)
    assert "hunter2" not in json.dumps(clear)
    assert clear["bindings"]["values"]["plc"]["url"] == "opc.tcp://***@10.0.0.5:4840"
    assert clear["logs"][4]["text"] == "the community=*** is kept"
    assert redaction.counted() == {"credentials in an address": 1, "private key": 1, "secret": 5}


def test_people_have_no_names_where_that_is_asked_and_identifiers_stay() -> None:
    told = {
        "ledger": [{"actor": "pump (claimed, plant)", "subject": "node"}],
        "logs": [{"text": "held by pump, not pump-3"}],
        "bundle": "pump",
        "hold": {"by": "alice@plant", "reason": "alice@plant said so"},
    }
    redaction = Redaction(names=True)
    redaction.learn([told])
    clear = redaction.document(told)
    assert clear["ledger"][0]["actor"] == "person-1 (claimed, person-2)"
    assert clear["logs"][0]["text"] == "held by person-1, not pump-3"
    assert clear["bundle"] == "pump"
    assert "alice" not in json.dumps(clear)
    assert Redaction().document(told) == told


# ---------------------------------------------------------------- what is kept


def test_some_records_keep_their_inputs_and_every_record_stays() -> None:
    rows = [record(n, "alarm" if n == 4_001 else "normal") for n in range(5_000, 0, -1)]
    found = sampled(rows)
    assert [row.key for row in found] == list(range(1, 5_001))
    assert 0 < sum(row.inputs is not None for row in found) <= RECORDS_WITH_INPUTS + 1
    assert found[4_000].inputs == [1.0]


def test_what_was_stays_where_the_node_is_gone_at_the_end() -> None:
    gone = NodeCapsule(name=NODE, missing=["everything: no route to host"])
    found = merged(node(), gone)
    assert found.logs == node().logs
    assert found.missing == ["at the end, everything: no route to host"]
    later = node(logs=log_lines(NODE)[5:], frames=node().frames[5:])
    assert merged(node(), later).frames == node().frames
    assert merged(node(), later).logs == node().logs


def test_telemetry_is_followed_until_the_end_is_reached(in_plant: Callable[..., None], tmp_path: Path) -> None:
    async def body(site: Any) -> None:
        address = await site.node(NODE)
        async with site.running() as fleet:
            await site.until(NODE, lambda view: view.link is LinkState.UP)
            began_s = time.time()
            ticks, book = itertools.count(), ThreadBook(tmp_path / "catalog.db")
            collecting = Collecting(
                fleet.client(NODE),
                address,
                book,
                began_s - 3_600,
                began_s + 3_600,
                lambda: began_s + 500 * next(ticks),
            )
            before = await collecting.fetch()
            assert before.status is not None
            assert any(told.startswith("ledger: ") for told in before.missing)
            after = await collecting.finish(before)
            book.close()
            assert {frame.cursor for frame in after.frames} > {frame.cursor for frame in before.frames}

    in_plant(body)


def test_a_console_that_is_stopped_meanwhile_leaves_what_was(in_plant: Callable[..., None], tmp_path: Path) -> None:
    async def body(site: Any) -> None:
        await site.node(NODE)
        path, left = tmp_path / "a.ostx", asyncio.Event()
        async with site.running() as fleet:
            await site.until(NODE, lambda view: view.link is LinkState.UP)
            operations = LiveOperations(fleet, tmp_path / "home" / "catalog.db", operator="alice")
            making = asyncio.create_task(
                operations.make_capsule([NODE], str(path), on_step=lambda step: left.set() if step.eta_s else None)
            )
            async with asyncio.timeout(30):
                await left.wait()
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            operations.close()
        (found,) = read(path).nodes
        assert found.status is not None
        assert read(path).manifest.made_by == "alice"

    (tmp_path / "home").mkdir()
    in_plant(body)


# ---------------------------------------------------------------- in the app


def seat_of(found: Capsule, folder: Path) -> Seat:
    opened, clock = opened_on(found, maker_of(found, "", own_public_key(folder)))
    terminal = Terminal("xterm-256color", "many", False, True, LINKS["lan"])
    operator = opened.operations.operator
    return Seat(opened, operator=operator, terminal=terminal, clock=clock, clip_file=folder / "clip.txt")


def test_a_capsule_opens_in_the_app_and_is_scrubbed_in_time(capsule: Path, tmp_path: Path) -> None:
    async def run() -> None:
        seat = seat_of(read(capsule), tmp_path)
        async with seat.run_test(size=(140, 30)) as pilot:
            await pilot.pause()
            assert "105" in seat.screen_text()
            assert "A capsule by bob, read only" in seat.screen_text()
            await pilot.press("left")
            await pilot.pause()
            await pilot.pause()
            assert seat.fleet.views()[NODE].telemetry.bundles[0].inferences_per_s == 100.0  # type: ignore[union-attr]
            assert "0:05 before the moment of this capsule" in seat.screen_text()
            await pilot.press("less_than_sign")
            await pilot.pause()
            await pilot.pause()
            assert seat.board.nodes[NODE].known is False
            assert "UNKN" in seat.screen_text()
            await pilot.press("right", "right", "greater_than_sign", "greater_than_sign")
            await pilot.pause()
            await pilot.pause()
            assert seat.board.nodes[NODE].known is False, "a frame of a minute ago is no state"
            await pilot.press("o")
            await pilot.pause()
            assert not seat.operating
            assert "nothing of it can be changed" in seat.screen_text()
            for key in "1234567":
                await pilot.press(key)
                await pilot.pause()
            assert "hold.set" in seat.screen_text() or NODE in seat.screen_text()

    asyncio.run(run())


def test_a_capsule_is_begun_by_a_key_and_goes_on_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        seat = sample_seat(clip_file=tmp_path / "clip.txt")
        async with seat.run_test(size=(100, 30)) as pilot:
            await pilot.press("space", "x")
            await pilot.pause()
            assert "The last and the next ten minutes of 1 node: press-07." in seat.screen_text()
            await pilot.press("enter")
            await pilot.pause()
            await pilot.pause()
            assert ".ostx: 1 nodes, signed" in seat.screen_text().replace("\n ", "")
            await pilot.press("comma")
            await pilot.pause()
            assert "this is the fleet as it is now" in seat.screen_text()

    asyncio.run(run())


def test_a_trend_ends_at_the_moment_that_is_shown(capsule: Path) -> None:
    found = read(capsule)
    opened, clock = opened_on(found, maker_of(found, "", ""))
    assert opened.move is not None
    opened.move(-300.0)
    points = asyncio.run(opened.operations.trend(NODE, "bearing")).points
    assert points
    assert max(point.wall_us for point in points) <= clock.epoch_s() * 1e6 < sample_last_us()


def sample_last_us() -> int:
    return sample_trend("bearing", wall_s=WALL_S, hours=1, points_max=60).points[-1].wall_us


def test_a_capsule_answers_what_it_holds_and_refuses_every_change(capsule: Path, tmp_path: Path) -> None:
    found = read(capsule)
    opened, _ = opened_on(found, maker_of(found, "", ""))
    has = opened.operations

    async def run() -> None:
        page = await has.records(NODE, "bearing", before=None, limit=2)
        assert ([row.key for row in page.records], page.next) == ([3, 2], 2)
        assert [r.key for r in (await has.records(NODE, "bearing", before=2, limit=2)).records] == [1]
        assert len((await has.logs(NODE, after=None, limit=5)).lines) == 40
        chain = (await has.chains())[f"node-{NODE}"]
        assert chain.broken is None
        assert [entry.seq for entry in await has.newest_entries(f"node-{NODE}", 2)] == [7, 8]
        assert (await has.past(f"node-{NODE}", round(WALL_S * 1e6))) is not None
        for refused in (
            has.hold(NODE, "r"), has.enter_operate(), has.acknowledge(NODE, 1, ""), has.label(NODE, "b", 1, "x"),
            has.confirm(NODE, "d"), has.trend("gone-1", "bearing"), has.make_capsule([NODE], "x", on_step=print),
        ):  # fmt: skip
            with pytest.raises(OperationFailed):
                await refused

    asyncio.run(run())


# ---------------------------------------------------------------- by the command line


def test_the_minutes_of_a_node_are_made_verified_and_told_where_they_are_incomplete(
    in_plant: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*words: str, home: str = "home") -> tuple[int, str, str]:
        capsys.readouterr()
        words = ("--home", str(tmp_path / home), "--operator", "bob", "capsule", *words)
        code = await asyncio.to_thread(main, list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    async def body(site: Any) -> None:
        home, now_s = Home(tmp_path / "home"), time.time()
        address = await site.node(NODE)
        key = (site.folder / f"{NODE}.key.pub").read_text().split()
        with home.open_catalog() as catalog:
            catalog.put_node(row_of(address))
        home.known_hosts.write_text(f"[{address.host}]:{address.port} {key[0]} {key[1]}\n")
        agent = site.agents[NODE]
        line = LogLine(cursor=1, boottime_us=1, wall_us=round((now_s - 300) * 1e6), level="error", source="s",
                       text="token=abc")  # fmt: skip
        entries = story(NODE)
        answers: dict[str, Any] = {
            "/clock": lambda q, b: ClockReading(boot_id="b", boottime_us=1, wall_us=round(time.time() * 1e6)),
            "/logs": lambda q, b: LogsPage(lines=[] if "before" in q else [line], next=1),
            "/records": lambda q, b: RecordsPage(records=[record(1, at_s=now_s - 300)]),
            "/trend": lambda q, b: sample_trend("bearing", wall_s=now_s, hours=1, points_max=60),
            "/alerts": lambda q, b: [],
            "/deployments": lambda q, b: DeploymentsPage(deployments=[]),
            "/revisions": lambda q, b: [],
            "/bindings": lambda q, b: Bindings(revision=1, values={"plc": "opc.tcp://u:p@10.0.0.5"}),
            "/ledger": lambda q, b: ledger_of(entries, q),
        }  # fmt: skip
        for path, answer in answers.items():
            agent.handle["GET", path] = answer
        file = tmp_path / "a.ostx"
        code, out, err = await run("make", NODE, *PAST, "--without-names", "-o", str(file))
        assert (code, err) == (0, "")
        assert "1 x credentials in an address" in out
        (found,) = read(file).nodes
        assert [row.key for row in found.records["bearing"]] == [1]
        assert "token=abc" not in found.logs[0].text
        assert {entry.actor for entry in found.ledger} <= {"agent", *(f"person-{n}" for n in range(1, 5))}
        code, out, _ = await run("verify", str(file))
        assert (code, "signed by this console" in out) == (0, True)
        code, out, _ = await run("verify", str(file), home="elsewhere")
        assert (code, "FOREIGN" in out) == (1, True)
        agent.handle["GET", "/logs"] = lambda q, b: (500, b"{}")
        code, out, _ = await run("make", NODE, *PAST, "-o", str(tmp_path / "b.ostx"))
        assert (code, "logs: " in out) == (1, True)
        file.write_bytes(file.read_bytes()[:-2_000])
        code, _, err = await run("open", str(file))
        assert (code, "next: ask for the file again" in err) == (1, True)

    in_plant(body)
