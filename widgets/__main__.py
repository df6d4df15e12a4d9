"""The gallery: every drawing in its states, in any look. `python -m widgets [--look NAME] [--ascii] [--svg FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Iterable
from pathlib import Path

from textual.app import App, ComposeResult
from textual.widget import Widget

from widgets.alertrow import AlertRow, AlertValues
from widgets.chartview import ChartView
from widgets.header import HeaderRow, HeaderValues
from widgets.keyrow import KeyRow
from widgets.logview import Entry, LogView
from widgets.look import LOOKS, Look
from widgets.picture import aligned
from widgets.status import STATES, word
from widgets.table import Column, Row, Table
from widgets.textview import TextView
from widgets.titlerow import TitleRow
from widgets.trend import chart, meter, spark
from widgets.wall import Wall

WAVE = [None if 60 <= i < 72 else 50 + 20 * math.sin(i / 9) + (30 if i == 100 else 0) for i in range(160)]
KEYS = (("enter", "open"), ("/", "filter"), ("?", "help"))
COLUMNS = (Column("state", "STATE", 5), Column("node", "NODE", 10, flex=1), Column("rate", "INF/S", 7, right=True),
           Column("age", "AGE", 4, fold=1, right=True))  # fmt: skip


def drawings(look: Look) -> Iterable[Widget]:
    """One of each, with sample values."""
    for values in (
        HeaderValues(ok=17, screen="Fleet", operator="alice", clock="14:02", link="12ms"),
        HeaderValues(1, 2, 1, 1, 12, screen="Fleet", operate=True, operate_left="15m", operator="alice", running=2),
    ):
        header = HeaderRow(look)
        header.set_values(values)
        yield header
    alert = AlertRow(look)
    alert.set_values(AlertValues(True, "14:00", "press-07", "score share 0.31 over 0.08", "2m", (("a", "ack"),), 3))
    yield alert
    title = TitleRow(look)
    title.set_values((("press-07", "strong"),), tabs=("Overview", "Pipeline"), tab=0, note="graz/L3")
    yield title
    yield _table(look)
    text = TextView(look)
    text.styles.height = 9
    bars = " ".join(meter(share, 12, look) for share in (0.0, 0.34, 1.0, None))
    lines = [f" {line}" for line in chart(WAVE, 60, 6, look)]
    text.set_lines([((f" trend {spark(WAVE, 40, look)}", "base"),), ((f" meter {bars}", "base"),),
                    *(((line, "base"),) for line in lines)])  # fmt: skip
    yield text
    log = LogView(look)
    log.styles.height = 4
    log.extend(Entry("14:02:31", "press-07", level, "plc", f"a line of level {level}")
               for level in ("debug", "info", "warning", "error"))  # fmt: skip
    yield log
    wall = Wall(look)
    wall.styles.height = 5
    wall.set_groups(
        [("graz/L1", [f"g{i}" for i in range(40)]), ("linz", [f"l{i}" for i in range(9)])],
        {f"{site}{i}": STATES[3 * i % len(STATES)] for site in "gl" for i in range(40)},
    )
    yield wall
    empty = ChartView(look)
    empty.styles.height = 2
    yield empty
    for message in ("", "something happened, and is said until the next key"):
        row = KeyRow(look)
        row.set_keys(KEYS)
        row.say(message)
        yield row


def _table(look: Look) -> Table:
    rows = {
        f"node-{i}": Row({"state": word(state, look), "node": (f"node-{i}", "base"), "rate": ("412", "base"),
                          "age": ("1s", "base")})
        for i, state in enumerate(STATES)
    }  # fmt: skip
    rows["node-2"] = Row(rows["node-2"].cells, sentence=("unknown since 10:41", "unknown"), keep=("state", "node"))
    table = Table(COLUMNS, rows.__getitem__, look)
    table.styles.height = 6
    table.set_keys(list(rows))
    table.set_marked(frozenset({"node-3"}))
    return table


class Gallery(App[None]):
    """All drawings under each other; q leaves."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("q", "quit", "Quit")]  # noqa: RUF012

    def __init__(self, look: Look) -> None:
        super().__init__(ansi_color=look.base.color is None)
        self.shown = look

    def compose(self) -> ComposeResult:
        yield from drawings(self.shown)


async def picture(look: Look, size: tuple[int, int]) -> str:
    """The gallery as SVG."""
    app = Gallery(look)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        return aligned(app.export_screenshot())


def main(argv: list[str]) -> int:
    """Shows the gallery, or writes a picture of it."""
    parser = argparse.ArgumentParser(prog="python -m widgets", description=__doc__)
    parser.add_argument("--look", choices=tuple(LOOKS), default="grey")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args(argv)
    look = LOOKS[options.look](ascii=options.ascii)
    if options.svg is not None:
        options.svg.write_text(asyncio.run(picture(look, (80, 34))))
    else:
        Gallery(look).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
