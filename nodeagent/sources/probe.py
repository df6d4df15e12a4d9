"""`outstation-agent source probe URL`: what is there, so that a tag can be found without the vendor's tool.

One connection, reading only, at most REQUESTS_PER_S_MAX requests a second; it says so before it connects.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TextIO

import msgspec

from nodeagent.pipeline import registry

REQUESTS_PER_S_MAX: Final = 10.0
ROWS_MAX: Final = 2_000
SECONDS_MAX: Final = 60.0
CELL_CHARACTERS_MAX: Final = 120
# URL scheme -> the file that looks there, and the library that it needs.
PROBES: Final = {
    "tcp": ("nodeagent.sources.probe_modbus", "pymodbus"),
    "rtu": ("nodeagent.sources.probe_modbus", "pymodbus"),
    "rtu+tcp": ("nodeagent.sources.probe_modbus", "pymodbus"),
    "mqtt": ("nodeagent.sources.probe_mqtt", "aiomqtt"),
    "mqtts": ("nodeagent.sources.probe_mqtt", "aiomqtt"),
    "opc.tcp": ("nodeagent.sources.probe_opcua", "asyncua"),
    "s7": ("nodeagent.sources.probe_s7", "snap7"),
    "eip": ("nodeagent.sources.probe_eip", "pylogix"),
    "file": ("nodeagent.sources.probe_file", ""),
}


class Found(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing to tell: a `note`, or a row of a table under `columns` (told once, before its rows)."""

    note: str = ""
    columns: list[str] = []
    row: list[str] = []


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """Where to look. `at`: a topic, node or data block; `first` and `count`: registers or bytes of `table`."""

    url: str
    table: str = "holding"
    unit_id: int = 1
    first: int = 0
    count: int = 32
    at: str = ""
    seconds: float = 5.0


class ProbeFailed(Exception):
    """Nothing could be learnt; the text says why."""


class Pace:
    """Holds requests to a rate."""

    def __init__(self, per_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._gap_s = 1.0 / per_s
        self._sleep = sleep
        self._first = True

    async def turn(self) -> None:
        """Waits until the next request may be sent."""
        if not self._first:
            await self._sleep(self._gap_s)
        self._first = False


def announcement(wanted: Wanted) -> str:
    """What is about to happen, for the person who may still say no."""
    scheme = wanted.url.partition("://")[0]
    if scheme == "file":
        return f"reads {wanted.url} and changes nothing"
    if scheme in ("mqtt", "mqtts"):
        return f"opens one connection to {wanted.url} and listens for {wanted.seconds:g} s; it publishes nothing"
    rate = f"at most {REQUESTS_PER_S_MAX:g} times a second"
    return f"opens one connection to {wanted.url} and reads {rate}; it writes nothing"


async def probe(wanted: Wanted) -> AsyncIterator[Found]:
    """Looks. Raises ProbeFailed."""
    scheme = wanted.url.partition("://")[0]
    if scheme not in PROBES:
        raise ProbeFailed(f"{wanted.url!r}: an address begins with {', '.join(f'{word}://' for word in PROBES)}")
    module, library = PROBES[scheme]
    try:
        registry.require(library)
    except registry.NotInstalled as error:
        raise ProbeFailed(f"{scheme}:// {error}") from error
    look: Callable[[Wanted, Pace], AsyncIterator[Found]] = importlib.import_module(module).look
    rows = 0
    async for found in look(wanted, Pace(REQUESTS_PER_S_MAX)):
        rows += bool(found.row)
        if rows > ROWS_MAX:
            yield Found(note=f"more than {ROWS_MAX} rows; the rest is left out: say more closely where to look")
            return
        yield found


def main(argv: Sequence[str], *, out: TextIO | None = None) -> int:
    """0: looked, 1: nothing could be learnt and why, 2: the call is wrong."""
    out = sys.stdout if out is None else out
    arguments = _parser().parse_args(argv)
    wanted = Wanted(**{name: getattr(arguments, name) for name in Wanted.__struct_fields__})
    teller = _Teller(out, as_json=arguments.json)
    if not arguments.json:
        print(announcement(wanted), file=out, flush=True)
    try:
        asyncio.run(_tell(wanted, teller))
    except ProbeFailed as error:
        print(f"outstation-agent source probe: {error}", file=sys.stderr)
        return 1
    return 0


async def _tell(wanted: Wanted, teller: _Teller) -> None:
    async for found in probe(wanted):
        teller.tell(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outstation-agent source probe", description=__doc__)
    parser.add_argument(
        "url", metavar="URL", help="tcp:// rtu:// (Modbus), mqtt://, opc.tcp://, s7://, eip:// or file://"
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where to look."""
    bare = Wanted(url="")
    parser.add_argument("--table", default=bare.table, choices=("holding", "input", "coil", "discrete"))
    parser.add_argument("--unit-id", type=int, default=bare.unit_id, help="of the Modbus device (1)")
    parser.add_argument("--first", type=int, default=bare.first, help="the first register or byte (0)")
    parser.add_argument("--count", type=int, default=bare.count, help="how many (32)")
    parser.add_argument("--at", default=bare.at, help="an MQTT topic, an OPC UA node, an S7 block: where to begin")
    parser.add_argument("--seconds", type=float, default=bare.seconds, help="how long to listen (5)")


class _Teller:
    """Prints what is found: JSON lines, or columns of a width that grows with what comes."""

    def __init__(self, out: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._widths: list[int] = []

    def tell(self, found: Found) -> None:
        if self._as_json:
            print(msgspec.json.encode(found).decode(), file=self._out, flush=True)
            return
        if found.note:
            print(printable(found.note), file=self._out)
        for cells in (found.columns, found.row):
            if cells:
                print(self._line(cells, header=cells is found.columns), file=self._out)

    def _line(self, cells: Sequence[str], *, header: bool) -> str:
        texts = [printable(cell) for cell in cells]
        if header:
            self._widths = [0] * len(texts)
        self._widths = [max(width, len(text)) for width, text in zip(self._widths, texts, strict=True)]
        return "  ".join(text.ljust(width) for text, width in zip(texts, self._widths, strict=True)).rstrip()


def printable(text: str) -> str:
    """What a device said, without control characters, and not endless."""
    clean = "".join(sign if sign.isprintable() else "?" for sign in text)
    return clean if len(clean) <= CELL_CHARACTERS_MAX else f"{clean[: CELL_CHARACTERS_MAX - 1]}~"


def number(value: Any) -> str:
    """A value as a short text."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)
