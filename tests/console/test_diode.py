"""Reports of one-way nodes: what is taken, what is refused, and that what is not known now is never shown as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from console.diode.folder import take_folder
from console.diode.standing import view_of
from console.diode.watch import FOLDER_SETTING, DiodeDesk
from console.fleet.board import judge
from console.fleet.fleet import LiveFleet
from console.fleet.rows import node_row
from console.fleet.view import Condition, LinkState, NodeAddress, NodeView
from console.home import row_of
from console.link.errors import LinkError
from console.seat.prompts import Nobody
from nodeagent.protocol import HostHealth, OneWayReport, Status, Telemetry
from store import signing, statement
from store.catalog import Catalog
from store.oneway import Reports
from widgets.look import grey

NODE = "node-0123456789abcdef"
Make = Callable[..., Path]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key")


def make_key(path: Path) -> Path:
    private = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public)
    return path


def report(sequence: int = 1, *, wall_s: float | None = None, name: str = "press-07", **other: object) -> OneWayReport:
    wall_us = round((time.time() if wall_s is None else wall_s) * 1e6)
    telemetry = Telemetry(
        cursor=1, node_id=NODE, boot_id="b", started_us=1, boottime_us=1, wall_us=wall_us, period_s=1.0,
        host=HostHealth(),
    )  # fmt: skip
    status = Status(
        node_id=NODE, name=name, agent_version="0.1.0", protocol_major=1, protocol_minor=0, access="operate",
        actor="a", signers=1, telemetry=telemetry,
    )  # fmt: skip
    return OneWayReport(
        node_id=NODE, sequence=sequence, every_s=60.0, boot_id="b", boottime_us=1, wall_us=wall_us, status=status,
        **other,  # type: ignore[arg-type]  # a test's own words
    )  # fmt: skip


@pytest.fixture
def make(tmp_path: Path, key: Path) -> Make:
    """A signed report as a file of the folder `out`."""

    def write(told: OneWayReport, *, name: str = "", by: Path = key, namespace: str = "outstation-status") -> Path:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        path = folder / (name or f"{NODE}-{told.sequence:012}.status")
        data = msgspec.json.encode(told)
        path.write_bytes(statement.seal(data, lambda line: signing.sign_with_key_file(by, line, namespace=namespace)))
        return path

    return write


@pytest.fixture
def catalog(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "catalog.db"
    with Catalog(path) as kept:
        kept.put_node(row_of(address(key)))
    return path


def address(key: Path, age_s: float = 900.0) -> NodeAddress:
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    return NodeAddress(name="press-07", host="one-way", node_id=NODE, one_way_key=public, one_way_age_s=age_s)


def test_loss_is_counted_what_comes_late_fills_it_and_what_is_played_again_changes_nothing(
    make: Make, catalog: Path
) -> None:
    early = time.time() - 300
    make(report(1, wall_s=early - 4))
    late = make(report(2, wall_s=early - 3))
    make(report(5, wall_s=early))
    held = late.rename(late.parent.parent / late.name)
    assert [taken.outcome for taken in take_folder(catalog, [late.parent])] == ["new", "new"]
    with Reports(catalog) as reports:
        newest = reports.newest(NODE)
        assert newest is not None
        assert (newest.sequence, newest.lost) == (5, 3)
    assert [taken.outcome for taken in take_folder(catalog, [late.parent, held])] == ["known", "known", "late"]
    with Reports(catalog) as reports:
        again = reports.newest(NODE)
        assert again is not None
        assert (again.sequence, again.lost, again.taken_wall_s) == (5, 2, newest.taken_wall_s)


def test_two_reports_with_one_number_make_the_node_unknown_until_a_person_accepts_it(make: Make, catalog: Path) -> None:
    path = make(report(3))
    take_folder(catalog, [path])
    make(report(3, name="another past"))
    assert [taken.outcome for taken in take_folder(catalog, [path])] == ["doubled"]
    with Reports(catalog) as reports:
        newest = reports.newest(NODE)
        assert newest is not None
        assert "two different reports bear the number 3" in newest.problem
        node = NodeAddress(name="press-07", host="one-way", node_id=NODE, one_way_age_s=900.0)
        view = view_of(NodeView(node), newest, report(3), now_s=time.monotonic(), wall_s=time.time())
        assert judge(view, time.monotonic()).condition is Condition.UNKNOWN
        assert reports.accept(NODE)
        newest = reports.newest(NODE)
        assert newest is not None
        assert newest.problem == ""


def test_a_file_that_is_no_report_of_the_node_is_refused_and_stops_no_other(
    make: Make, catalog: Path, tmp_path: Path, key: Path
) -> None:
    good = make(report(9))
    folder = good.parent
    make(report(1), by=make_key(tmp_path / "other"))
    make(report(2), namespace="outstation-bundle")
    make(report(4), name=f"{NODE}-{3:012}.status")
    make(report(1), name=f"node-feed-{5:012}.status")
    changed = make(report(6))
    changed.write_bytes(changed.read_bytes().replace(b'"press-07"', b'"press-08"'))
    (folder / f"{NODE}-{7:012}.status").symlink_to(good)
    (folder / f"{NODE}-{8:012}.status").write_bytes(b"{}\n")
    (folder / "autorun.inf").write_text("[autorun]")
    taken = {each.path.name[-19:-7].lstrip("0"): each for each in take_folder(catalog, [folder])}
    assert {number: each.outcome for number, each in taken.items()} == {
        **dict.fromkeys("1235678", "refused"), "9": "new"
    }  # fmt: skip
    said = {number: each.text for number, each in taken.items()}
    assert "no allowed signer" in said["1"]
    assert "is for 'outstation-bundle'" in said["2"]
    assert "it is report 4" in said["3"]
    assert "no one-way node here has the id node-feed" in said["5"]
    assert "signature does not count" in said["6"]
    assert "cannot be read" in said["7"]
    assert "not signed" in said["8"]


@pytest.mark.parametrize(
    ("made_s", "taken_s", "known", "says"),
    [
        (-60, -50, True, "as of "),
        (-901, -1, False, "says nothing past 15:00"),
        (-60, -1000, False, "which is ahead of this one"),
        (-1000, -60, False, "says nothing past"),
        (+3600, 0, False, "which is ahead of this one"),
        (-1.7e9, 0, False, "says nothing past"),
    ],
)
def test_a_report_says_nothing_past_its_age_or_by_a_clock_that_cannot_be_right(
    key: Path, made_s: float, taken_s: float, known: bool, says: str
) -> None:
    from store.oneway import Newest

    now_s, wall_s = 5_000.0, 1.8e9
    told = report(wall_s=wall_s + made_s)
    newest = Newest(NODE, 1, wall_s + taken_s, "file", b"", 0, "")
    view = view_of(NodeView(address(key)), newest, told, now_s=now_s, wall_s=wall_s)
    state = judge(view, now_s)
    assert (state.known, state.condition) == (known, Condition.OK if known else Condition.UNKNOWN)
    assert says in (view.link_error if known else state.reason)
    later = judge(view, now_s + 1_000.0)
    assert later.condition is Condition.UNKNOWN
    row = node_row(state, now_s, grey())
    shown = row.cells["model"][0] if known else row.sentence[0]  # type: ignore[index]  # it has one where unknown
    assert "as of " in shown


def test_the_fleet_shows_what_comes_into_the_watched_folder_and_has_no_link_to_ask_over(
    make: Make, catalog: Path, key: Path
) -> None:
    path = make(report(1))
    with Catalog(catalog) as kept:
        kept.set_setting(FOLDER_SETTING, str(path.parent))

    async def body() -> None:
        from console.home import Home
        from console.link.ready import make_pool

        desk = DiodeDesk(catalog)
        fleet = LiveFleet([address(key)], make_pool(Home(catalog.parent), Nobody()), operator="alice", diode=desk)
        running = asyncio.create_task(fleet.run())
        try:
            async with asyncio.timeout(20):
                while fleet.views()["press-07"].report_number != 1:
                    await fleet.wait_changed(fleet.version)
                view = fleet.views()["press-07"]
                assert (view.link, judge(view, time.monotonic()).condition) == (LinkState.ONE_WAY, Condition.OK)
                make(report(2))
                fleet.retry("press-07")
                while fleet.views()["press-07"].report_number != 2:
                    await fleet.wait_changed(fleet.version)
            with pytest.raises(LinkError, match="it is one-way"):
                await fleet.client("press-07").status()
            with pytest.raises(LinkError, match="it is one-way"):
                fleet.operate().client("press-07")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            desk.close()

    asyncio.run(body())


def test_a_lost_stretch_of_the_ledger_is_named_and_a_report_with_it_closes_the_gap(make: Make, catalog: Path) -> None:
    import sqlite3

    from nodeagent.protocol import LedgerEntry
    from store import ledger
    from store.histories import Histories
    from store.ledger import Stamp
    from store.node import schema

    connection = sqlite3.connect(":memory:", isolation_level=None)
    for sql in schema.STEPS.values():
        connection.executescript(sql)
    for number in range(6):
        ledger.note(connection, Stamp("boot", number, number, "al\x07ice", ""), "hold.set", "node", {"n": number})
    entries = [LedgerEntry(**entry._asdict()) for entry in ledger.page(connection)]

    def part(sequence: int, first: int, last: int) -> Path:
        told = report(
            sequence, ledger=entries[first - 1 : last], ledger_head_seq=last, ledger_head_hash=entries[last - 1].hash
        )
        return make(told)

    (taken,) = take_folder(catalog, [part(1, 1, 2)])
    assert taken.text == ""
    (taken,) = take_folder(catalog, [part(2, 5, 6)])
    assert "entries 3 to 4 did not come" in taken.text
    assert "--ledger-from 3" in taken.text
    (taken,) = take_folder(catalog, [part(3, 3, 6)])
    assert taken.text == ""
    with Histories(catalog) as histories:
        assert histories.head(NODE).seq == 6
    forged = [entries[5], replace_hash(entries[5])][1]
    told = report(4, ledger=[forged], ledger_head_seq=6, ledger_head_hash=forged.hash)
    (taken,) = take_folder(catalog, [make(told)])
    assert taken.text.startswith("ledger FORKED")


def replace_hash(entry: object) -> object:
    return msgspec.structs.replace(entry, hash="f" * 64)  # type: ignore[type-var]
