"""The command line as a person runs it: tables, JSON, exit codes, the second step, failures in words."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.cli.arguments import duration_s, toml_value
from console.home import Home, find_home, operator_name, row_of
from nodeagent.protocol import (
    Alert,
    AlertRules,
    AlertState,
    Bindings,
    Error,
    ErrorBody,
    Hold,
    LogLine,
    LogsPage,
    Record,
    RecordsPage,
)

Run = Callable[..., Any]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `outstation WORDS` in a thread beside the plant; gives (exit code, standard output, standard error)."""

    async def run(*words: str, home: Path = tmp_path / "home") -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(home), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


async def enrolled(plant: Any, cli: Run, name: str = "press-07", **agent: Any) -> Any:
    """A node of the plant that this console knows, by `node add`."""
    address = await plant.node(name, **agent)
    home = Home(plant.folder / "unused")
    assert home.path != address.socket
    fingerprint = await asyncio.to_thread(fingerprint_of, plant.folder / f"{name}.key.pub")
    where = f"{address.user}@{address.host}:{address.port}"
    words = ["--socket", address.socket, "-i", address.identity_files[0], "--accept", fingerprint, "--site", "graz"]
    code, out, err = await cli("node", "add", name, where, *words, "--ssh-config", "/dev/null")
    assert (code, err) == (0, "")
    assert f"added {name}, node id {plant.agents[name].node_id}" in out
    return plant.agents[name]


def fingerprint_of(path: Path) -> str:
    told = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True)
    return told.stdout.split()[1]


def refuse(code: str, message: str) -> Callable[[str, bytes], tuple[int, bytes]]:
    return lambda query, body: (409, msgspec.json.encode(ErrorBody(Error(code=code, message=message, hint="wait"))))


def test_a_node_is_added_with_its_key_and_id_pinned_and_listed_and_removed(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        await enrolled(plant, cli)
        code, out, _ = await cli("node", "list", "--json")
        (node,) = json.loads(out)
        assert (code, node["name"], node["site"], node["node_id"]) == (0, "press-07", "graz", "id-press-07")
        code, out, _ = await cli("node", "remove", "press-07", "--yes")
        assert code == 0
        assert json.loads((await cli("node", "list", "--json"))[1]) == []

    in_plant(body)


def test_a_node_with_another_fingerprint_than_accepted_is_not_added(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        address = await plant.node("press-07")
        where = f"{address.user}@{address.host}:{address.port}"
        words = ["-i", address.identity_files[0], "--accept", "SHA256:" + "A" * 43, "--ssh-config", "/dev/null"]
        code, _, err = await cli("node", "add", "press-07", where, *words)
        assert code == 1
        assert "host key not known: SHA256:" in err
        assert "Traceback" not in err
        assert json.loads((await cli("node", "list", "--json"))[1]) == []

    in_plant(body)


def test_a_second_name_for_the_same_node_is_refused(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        await enrolled(plant, cli)
        address = plant.addresses[0]
        where = f"{address.user}@{address.host}:{address.port}"
        words = ["--socket", address.socket, "-i", address.identity_files[0], "--ssh-config", "/dev/null"]
        code, _, err = await cli("node", "add", "press-08", where, *words)
        assert code == 1
        assert "NODE ID DOUBLED" in err
        assert "press-07" in err

    in_plant(body)


def test_a_proxy_command_is_not_run_unless_a_person_accepts_it(tmp_path: Path, cli: Run) -> None:
    trace = tmp_path / "ran"
    (tmp_path / "config").write_text(f"Host radio\n  HostName 10.9.9.9\n  ProxyCommand touch {trace}\n")

    async def body() -> None:
        code, _out, err = await cli("node", "add", "radio", "radio", "--ssh-config", str(tmp_path / "config"))
        assert code == 1
        assert "ProxyCommand was not accepted" in err

    asyncio.run(body())
    assert not trace.exists()


def test_i19_status_is_one_line_a_node_and_an_unreachable_one_is_unknown_with_exit_code_3(
    in_plant: Any, cli: Run
) -> None:
    async def body(plant: Any) -> None:
        await enrolled(plant, cli)
        code, out, _ = await cli("status")
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["STATE", "OK"]
        assert "bearing 2.1 r14" in out
        await enrolled(plant, cli, "press-08")
        await plant.servers["press-08"].unplug()
        code, out, _err = await cli("status")
        assert code == 3
        lines = {line.split()[1]: line for line in out.splitlines()[1:]}
        assert lines["press-07"].startswith("OK")
        assert lines["press-08"].startswith("UNKN")
        assert "nothing listens on that port" in lines["press-08"]
        found = json.loads((await cli("status", "--json"))[1])
        assert [node["reached"] for node in found] == [True, False]

    in_plant(body)


def test_a_node_that_nobody_knows_is_exit_code_3_with_a_guess(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        await enrolled(plant, cli)
        code, _, err = await cli("logs", "press-70")
        assert code == 3
        assert "there is no node press-70" in err
        assert "did you mean press-07?" in err

    in_plant(body)


def test_a_refusal_is_told_with_node_reason_code_and_what_next(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent = await enrolled(plant, cli)
        agent.handle["GET", "/bindings"] = refuse("LIMIT.BUSY", "too many \x1b[2Jask")
        code, _, err = await cli("node", "bind", "press-07")
        assert code == 1
        assert err == "outstation: press-07: refused: too many ask (LIMIT.BUSY)\n  next: wait\n"

    in_plant(body)


def test_i18_hostile_text_of_a_node_reaches_neither_table_nor_json(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent = await enrolled(plant, cli)
        text = "\x1b]0;owned\x07\x1b[2J\u202ereversed\x9b31m"
        line = LogLine(cursor=1, boottime_us=0, wall_us=0, level="error", source="x\r\n\x08", text=text)
        agent.handle["GET", "/logs"] = lambda query, body: LogsPage(lines=[line], next=1)
        for words in (["logs", "press-07"], ["logs", "press-07", "--json"]):
            code, out, _ = await cli(*words)
            assert code == 0
            assert all(char.isprintable() or char == "\n" for char in out)
            assert "owned" not in out

    in_plant(body)


def test_a_hold_needs_the_second_step_and_then_no_lease(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, held = await enrolled(plant, cli), []
        agent.handle["POST", "/hold"] = lambda query, body: held.append(body) or Hold(by="alice", reason="", since_us=1)
        code, _, err = await cli("hold", "press-07", "--reason", "smoke")
        assert (code, held) == (1, [])
        assert "nothing was done" in err
        code, out, _ = await cli("hold", "press-07", "--reason", "smoke", "--yes")
        assert code == 0
        assert "HELD by alice" in out
        assert msgspec.json.decode(held[0]) == {"node_id": "id-press-07", "reason": "smoke"}

    in_plant(body)


def test_alerts_come_highest_first_over_all_nodes_and_one_is_acknowledged(in_plant: Any, cli: Run) -> None:
    def alert(number: int, priority: int) -> Alert:
        return Alert(
            id=number, code="X", priority=priority, state=AlertState.RAISED, subject="disk", message=f"m{priority}",
            advice="look", raised_us=number,
        )  # fmt: skip

    async def body(plant: Any) -> None:
        for index, name in enumerate(("press-07", "press-08")):
            agent = await enrolled(plant, cli, name)
            found = [alert(10 + index, 3 - index)]
            agent.handle["GET", "/alerts"] = lambda query, body, found=found: found
        code, out, _ = await cli("alerts")
        assert code == 0
        assert [line.split()[:2] for line in out.splitlines()[1:]] == [["2", "press-08"], ["3", "press-07"]]
        done = msgspec.structs.replace(alert(11, 2), state=AlertState.ACKNOWLEDGED, acknowledged_by="alice")
        agent.handle["POST", "/alerts/11/acknowledge"] = lambda query, body: done
        code, out, _ = await cli("ack", "press-08", "11", "--note", "seen")
        assert (code, out) == (0, "press-08: alert 11 acknowledged by alice\n")

    in_plant(body)


def test_an_alert_is_shelved_with_time_and_reason_and_rules_are_shown_and_set(in_plant: Any, cli: Run) -> None:
    asked: list[Any] = []

    async def body(plant: Any) -> None:
        agent = await enrolled(plant, cli)

        def shelve(query: str, body: bytes) -> Alert:
            asked.append(msgspec.json.decode(body))
            return Alert(
                id=3, code="X.HOT", priority=2, state=AlertState.SHELVED, subject="s", message="m", advice="",
                raised_us=1, shelved_by="alice", shelved_s_left=asked[-1]["hours"] * 3_600, note=asked[-1]["note"],
            )  # fmt: skip

        agent.handle["POST", "/alerts/3/shelve"] = shelve
        words = ("alert", "shelve", "press-07", "3", "--for", "4h", "--reason", "fan is ordered", "--yes")
        code, out, _ = await cli(*words)
        assert (code, out) == (0, "press-07: alert 3 X.HOT is shelved by alice for 4:00:00: fan is ordered\n")
        assert (asked[0]["hours"], asked[0]["note"]) == (4.0, "fan is ordered")
        code, out, _ = await cli("alert", "unshelve", "press-07", "3")
        assert (code, asked[1]["hours"]) == (0, 0.0)
        rules = AlertRules(text='code = "A\x1b"\n', defaults="[[alert]]\n", bundles=["press: PRESS.SCORE"])
        agent.handle["GET", "/alerts/rules"] = lambda query, body: rules
        code, out, _ = await cli("alert", "rules", "press-07")
        assert code == 0
        assert "\x1b" not in out
        assert "# of press: PRESS.SCORE" in out
        agent.handle["PUT", "/alerts/rules"] = refuse("ALERT.RULES", "alerts.toml:3: alert.high: expected `float`")
        file = plant.folder / "wrong.toml"
        file.write_text("[[alert]]\n")
        code, _, err = await cli("alert", "rules", "press-07", "--set", str(file), "--yes")
        assert code == 1
        assert "alerts.toml:3: alert.high" in err

    in_plant(body)


def test_records_are_a_table_with_their_gaps(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, asked = await enrolled(plant, cli), []
        record = Record(
            key=1 << 48, bundle="bearing", revision=3, wall_us=0, source_us=None, latency_us=1_500, score=0.42,
            label="wear", decision="warn", quality=1, reason="late",
        )  # fmt: skip
        gap = {"key_from": 1, "key_to": 9, "count": 7, "reason": "disk full"}
        page = {**msgspec.to_builtins(RecordsPage(records=[record])), "gaps": [gap]}
        agent.handle["GET", "/records"] = lambda query, body: asked.append(query) or page
        code, out, _ = await cli("records", "press-07", "bearing", "-n", "5", "--quality", "uncertain")
        assert code == 0
        assert "uncertain late" in out
        assert "7 predictions were not recorded" in out
        assert "newest_first=true" in asked[0]
        assert "quality=1" in asked[0]

    in_plant(body)


def test_records_are_exported_with_where_they_come_from(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await enrolled(plant, cli)
        record = Record(
            key=1 << 48, bundle="bearing", revision=3, wall_us=0, source_us=None, latency_us=1_500, score=0.42,
            label="=wear", decision="warn", quality=1, reason="late",
        )  # fmt: skip
        agent.handle["GET", "/records"] = lambda query, body: RecordsPage(records=[record])
        path = tmp_path / "set.csv"
        code, out, _ = await cli("export", "press-07", "--bundle", "bearing", "-o", str(path))
        assert code == 0
        assert "press-07: 1 records" in out
        assert ",'=wear,warn,Uncertain,late," in path.read_text()
        assert json.loads((tmp_path / "set.dataset.json").read_text())["by"] == "alice"
        assert (await cli("export", "press-07", "--bundle", "bearing", "-o", str(tmp_path / "set.xls")))[0] == 2

    in_plant(body)


def test_bindings_are_shown_and_a_change_is_first_only_said(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, asked = await enrolled(plant, cli), []
        agent.handle["GET", "/bindings"] = lambda query, body: Bindings(
            revision=4, values={"plc": "tcp://a", "token": "***"}, missing={"pump": ["rate"]}
        )
        agent.handle["PUT", "/bindings"] = lambda query, body: (
            asked.append(msgspec.json.decode(body)) or {"revision": 4, "changes": {"plc": ["tcp://a", "tcp://b"]}}
        )
        code, out, _ = await cli("node", "bind", "press-07")
        assert code == 0
        assert "MISSING for pump: rate" in out
        code, out, _ = await cli("node", "bind", "press-07", "plc=tcp://b", "limit=1.5", "--dry-run")
        assert code == 0
        assert "plc: tcp://a -> tcp://b" in out
        assert asked[0]["dry_run"] is True
        assert asked[0]["set"] == {"plc": "tcp://b", "limit": 1.5}
        code, _, _err = await cli("node", "bind", "press-07", "plc=tcp://b")
        assert code == 1
        assert len(asked) == 2

    in_plant(body)


def test_a_wrong_call_is_exit_code_2(cli: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["frobnicate"], ["status", "--frobnicate"], ["logs", "n", "--level", "loud"], ["--link", "moon"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    assert asyncio.run(cli("node", "add", "a b", "host"))[0] == 2
    assert asyncio.run(cli("node", "add", "a", "--", "-oProxyCommand=x"))[0] == 2


def test_the_command_line_loads_neither_the_app_nor_the_ssh_library_to_print_help() -> None:
    code = (
        "import sys\nsys.argv = ['outstation', '--help']\nfrom console.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print([name for name in ('textual', 'asyncssh', 'onnxruntime', 'plotext') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "deploy" in done.stdout


def test_the_home_is_private_and_found_where_it_is_said(tmp_path: Path) -> None:
    assert find_home("/a", {"OUTSTATION_HOME": "/b"}) == Home(Path("/a"))
    assert find_home(None, {"OUTSTATION_HOME": "/b"}) == Home(Path("/b"))
    assert find_home(None, {"XDG_DATA_HOME": "/c"}) == Home(Path("/c/outstation"))
    home = Home(tmp_path / "x" / "home")
    home.open_catalog().close()
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.catalog.stat().st_mode & 0o077 == 0


def test_an_operators_name_that_no_ledger_takes_is_refused() -> None:
    assert operator_name("alice", {}) == "alice"
    assert operator_name(None, {"OUTSTATION_OPERATOR": "bob@plant"}) == "bob@plant"
    for name in ("a b", "x\x1b[2J", "é", "a" * 65):
        with pytest.raises(ValueError, match="operator's name"):
            operator_name(name, {})


def test_durations_and_values_are_read_as_written() -> None:
    assert [duration_s(text) for text in ("90", "90s", "10m", "1.5h", "1d")] == [90, 90, 600, 5_400, 86_400]
    assert [toml_value(text) for text in ("1", "1.5", "true", '"x"', "tcp://a:502", "[1, 2]")] == [
        1,
        1.5,
        True,
        "x",
        "tcp://a:502",
        [1, 2],
    ]


def test_an_address_survives_the_catalog(tmp_path: Path, in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        address = await plant.node("press-07")
        with Home(tmp_path).open_catalog() as catalog:
            catalog.put_node(row_of(address))
            assert catalog.node("press-07") == row_of(address)

    in_plant(body)
