"""`source probe` against servers that are not ours: what an operator reads off it is where the tag is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from nodeagent.sources.probe_modbus import read
from nodeagent.sources.registers import ORDERS

MODBUS_SERVER = Path(__file__).parent.with_name("modbus_server.c")


def run(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "nodeagent", "source", "probe", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def plc_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = tmp_path_factory.mktemp("probe") / "modbus_server"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=True
    )
    subprocess.run(["gcc", "-O1", str(MODBUS_SERVER), "-o", str(program), *flags.stdout.split()], check=True)
    process = subprocess.Popen([program, "0", "limit=40"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def test_registers_are_shown_raw_and_in_every_order_behind_what_is_about_to_happen(plc_port: int) -> None:
    status, out, _ = run(f"tcp://127.0.0.1:{plc_port}", "--first", "2", "--count", "4")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].endswith("reads at most 10 times a second; it writes nothing")
    assert ["holding:2", "3f80", "16256", "16256"] in [line.split() for line in lines]
    header = next(line.split() for line in lines if line.startswith("float32"))
    row = next(line.split() for line in lines if line.startswith("holding:2") and "3f800000" in line)
    assert dict(zip(header[3:], row[2:], strict=True))["ABCD"] == "1"
    assert header[3:] == list(ORDERS[2])
    assert next(line.split()[3:] for line in lines if line.startswith("float64")) == list(ORDERS[4])


def test_what_a_device_refuses_is_said_and_the_rest_is_shown(plc_port: int) -> None:
    status, out, _ = run(f"tcp://127.0.0.1:{plc_port}", "--first", "30", "--count", "40", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert any("illegal data address" in each.get("note", "") for each in found)


@pytest.mark.parametrize("order", ORDERS[4])
def test_a_float64_is_found_under_the_one_order_it_was_written_in(order: str) -> None:
    wire = dict(zip(sorted(order), (0x40, 0x59, 0, 0, 0, 0, 0, 1), strict=True))  # 100.00000000000001
    sent = bytes(wire[letter] for letter in order)
    words = [int.from_bytes(sent[at : at + 2], "big") for at in range(0, 8, 2)]
    assert [each for each in ORDERS[4] if round(float(read(words, "float64", each)), 9) == 100] == [order]
    assert read(words, "int64", order) == 0x4059000000000001


def test_topics_are_listed_with_the_paths_of_their_numbers(broker: Any) -> None:
    broker.start()

    async def publish() -> None:
        async with aiomqtt.Client("127.0.0.1", broker.port) as plant:
            await plant.publish("plant/pump", b'{"flow": {"value": 12.5}, "a.b": [1]}', qos=1, retain=True)
            await plant.publish("plant/power", b"1500", qos=1, retain=True)

    asyncio.run(publish())
    status, out, _ = run(f"mqtt://127.0.0.1:{broker.port}", "--seconds", "1", "--json")
    rows = [row["row"] for row in map(json.loads, out.splitlines()) if "row" in row]
    assert status == 0
    assert [row[:3] for row in rows] == [
        ["plant/power", "", "1500"],
        ["plant/pump", "flow.value", "12.5"],
        ["plant/pump", '["a.b"][0]', "1"],
    ]


def test_the_first_lines_of_a_file_are_shown_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\n1,\x1b[31m2\n")
    status, out, _ = run(f"file://{tmp_path}/log.csv")
    assert status == 0
    assert out.splitlines()[-1] == "1,?[31m2"


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "udp://x", "file:///no/such/file", "mqtt://127.0.0.1:1"])
def test_what_cannot_be_reached_ends_with_one_line_that_says_why(url: str) -> None:
    status, _, words = run(url)
    assert status == 1
    assert words.startswith("outstation-agent source probe: ")
    assert len(words.splitlines()) == 1
