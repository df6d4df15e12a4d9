"""S7 against the C snap7 server, EtherNet/IP against cpppo: neither is the client's own library.

Each server has an environment of its own under build/, made once: about 10 seconds on a new machine.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources import eip, s7
from nodeagent.sources.eip_options import EipOptions
from nodeagent.sources.eip_options import Tag as EipTag
from nodeagent.sources.s7_options import S7Options
from nodeagent.sources.s7_options import Tag as S7Tag
from nodeagent.sources.source import Source, SourceContext

ROOT = Path(__file__).parents[3]
S7_SERVER = Path(__file__).with_name("s7_server.py")
PACE: dict[str, Any] = {"poll": Seconds(0.05), "timeout": Seconds(1.0), "silence": Seconds(3.0)}
Make = Callable[[Any, SourceContext], Source]


def environment(name: str, package: str) -> str:
    """The Python of an environment that holds `package`."""
    folder = ROOT / "build" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        words = ("-m", "pip", "install", "-q", "--disable-pip-version-check", package)
        subprocess.run([str(python), *words], check=True, capture_output=True)
        (folder / "ready").touch()
    return str(python)


@pytest.fixture
def s7_server(server: Any) -> Iterator[Any]:
    made = server(environment("snap7-server", "python-snap7==2.0.2"), str(S7_SERVER), "{port}")
    yield made
    made.kill()


@pytest.fixture
def eip_server(server: Any) -> Iterator[Any]:
    python = environment("cpppo-server", "cpppo==5.2.5")
    tags = ("Power=REAL[4]", "Count=DINT")
    made = server(python, "-m", "cpppo.server.enip", "-a", "127.0.0.1:{port}", *tags)
    yield made
    made.kill()


def s7_source(server: Any, context: SourceContext, **addresses: str) -> Source:
    tags = tuple(S7Tag(name=name, address=address) for name, address in addresses.items())
    return s7.source("plc", S7Options(url=f"s7://127.0.0.1:{server.port}", tags=tags, **PACE), context)


def eip_source(server: Any, context: SourceContext, **words: str) -> Source:
    tags = tuple(EipTag(name=name, tag=word) for name, word in words.items())
    return eip.source("plc", EipOptions(url=f"eip://127.0.0.1:{server.port}", tags=tags, **PACE), context)


def test_s7_values_bits_and_words_arrive_and_a_block_that_is_not_there_is_listed(
    s7_server: Any, context: SourceContext, watch: Any
) -> None:
    s7_server.start()
    plc = s7_source(
        s7_server, context, t3="DB1.DBD12", t99="DB1.DBD396", on="DB1.DBX400.3", off="DB1.DBX400.2", minus="DB1.DBW402",
        beyond="DB1.DBD1000", missing="DB7.DBD0",
    )  # fmt: skip

    async def scenario() -> tuple[Frame, list[str]]:
        async with watch(plc) as watched:
            frame = await watched.until(lambda frame: frame.quality[0] == GOOD)
            return frame, plc.bad_items

    frame, listed = asyncio.run(scenario())
    assert frame.values[:5].tolist() == [3, 99, 1, 0, -5]
    assert frame.quality.tolist() == [GOOD] * 5 + [BAD] * 2
    assert [text.partition(":")[0] for text in listed] == ["beyond", "missing"]


def test_eip_values_arrive_and_a_tag_that_is_not_there_is_listed(
    eip_server: Any, context: SourceContext, watch: Any
) -> None:
    eip_server.start()
    plc = eip_source(eip_server, context, power="Power[1]", count="Count", missing="Nothing")

    async def scenario() -> tuple[Frame, list[str]]:
        async with watch(plc) as watched:
            frame = await watched.until(lambda frame: frame.quality[0] == GOOD)
            return frame, plc.bad_items

    frame, listed = asyncio.run(scenario())
    assert frame.values[:2].tolist() == [0, 0]
    assert frame.quality.tolist() == [GOOD, GOOD, BAD]
    assert [text.partition(":")[0] for text in listed] == ["missing"]


@pytest.mark.parametrize("fault", ["kill", "freeze"])
@pytest.mark.parametrize("protocol", ["s7", "eip"])
def test_a_controller_that_was_away_is_bad_meanwhile_and_read_again_after(
    request: pytest.FixtureRequest, context: SourceContext, watch: Any, protocol: str, fault: str
) -> None:
    server = request.getfixturevalue(f"{protocol}_server")
    server.start()
    plc = s7_source(server, context, t="DB1.DBD4") if protocol == "s7" else eip_source(server, context, t="Power[1]")

    async def scenario() -> None:
        async with watch(plc) as watched:
            await watched.until(lambda frame: frame.quality[0] == GOOD)
            if fault == "kill":
                server.kill()
            else:
                server.signal(signal.SIGSTOP)
            await watched.until(lambda frame: frame.quality[0] == BAD)
            if fault == "kill":
                server.start()
            else:
                server.signal(signal.SIGCONT)
            await watched.until(lambda frame: frame.quality[0] == GOOD)

    asyncio.run(scenario())


def probed(url: str, *words: str) -> tuple[int, list[list[str]], str]:
    command = [sys.executable, "-m", "nodeagent", "source", "probe", url, "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return (
        done.returncode,
        [row for line in done.stdout.splitlines() if (row := json.loads(line).get("row"))],
        done.stderr,
    )


def test_a_data_block_is_shown_byte_by_byte_as_every_type(s7_server: Any) -> None:
    s7_server.start()
    status, rows, _ = probed(f"s7://127.0.0.1:{s7_server.port}", "--at", "DB1", "--first", "400", "--count", "4")
    assert status == 0
    assert rows[0][:3] == ["DB1 400", "08", "00001000"]
    assert rows[2][:4] == ["DB1 402", "ff", "11111111", "-5"]
    assert probed(f"s7://127.0.0.1:{s7_server.port}", "--at", "DB9")[0] == 1


def test_the_value_of_a_tag_is_shown_where_a_controller_lists_none(eip_server: Any) -> None:
    eip_server.start()
    url = f"eip://127.0.0.1:{eip_server.port}"
    status, _, words = probed(url)
    assert (status, "name one with --at" in words) == (1, True)
    assert probed(url, "--at", "Power[1]")[:2] == (0, [["Power[1]", "0.0"]])
