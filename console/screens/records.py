"""Screen 6: what the models of many nodes saw and said, on one time axis in the console's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from textual.binding import BindingType

from console import figures
from console.client.clocks import made_us
from console.fleet.query import QueryError, order
from console.records import query as recordquery
from console.records.query import QUALITY, Seen
from console.screens.filterrow import FilterRow
from console.screens.listpage import ListPage
from console.screens.page import bindings
from console.seat.messages import WorkChanged
from console.seat.operations import OnStep, OperationFailed
from console.seat.work import Work
from nodeagent.protocol import RecordsPage
from widgets.look import Look, Role
from widgets.table import Column, Row

COLUMNS: Final = (
    Column("at", "TIME", 8),
    Column("node", "NODE", 10, flex=1, width_max=20),
    Column("bundle", "BUNDLE", 8, fold=2, flex=1, width_max=16),
    Column("score", "SCORE", 7, right=True),
    Column("label", "LABEL", 12, flex=1, width_max=24),
    Column("said", "MODEL SAID", 10, fold=4, flex=1, width_max=20),
    Column("decision", "DECISION", 8, flex=1, width_max=14),
    Column("quality", "QUALITY", 9),
    Column("latency", "MS", 6, fold=1, right=True),
    Column("revision", "REV", 5, fold=3, right=True),
    Column("reason", "REASON", 14, fold=5, flex=2),
    Column("context", "CONTEXT", 18, fold=6, flex=1, width_max=32),
    Column("key", "KEY", 16, fold=7, right=True),
)
NODES_MAX: Final = 64
A_NODE: Final = 60
RECORDS_MAX: Final = 20_000
AT_ONCE: Final = 8
_ROLES: Final[tuple[Role, ...]] = ("dim", "warn", "alarm")

# A node and one of its bundles.
Stream = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the nodes answered: a page a stream, and why others did not."""

    pages: dict[Stream, RecordsPage]
    failures: dict[str, str]


class RecordsOfAllPage(ListPage):
    """The marked nodes; without marks every node that answers, worst first."""

    kind = "records"
    name_shown = "Records"
    columns = COLUMNS
    hint = "node:press label:wear decision:alarm quality:bad context.product:A4 score>0.5, ! inverts"
    BINDINGS: ClassVar[list[BindingType]] = bindings("records")

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.seen: dict[str, Seen] = {}
        self.oldest: dict[Stream, tuple[int, float]] = {}
        self.failures: dict[str, str] = {}
        self.asked: tuple[str, ...] = ()
        self.left_out = 0
        self._test = recordquery.parse("")
        self.table.empty = ("The nodes are asked.",)

    def opened(self) -> None:
        super().opened()
        self._fetch_newest()

    def on_screen_resume(self) -> None:
        """Other nodes may have been marked meanwhile."""
        super().on_screen_resume()
        if self.asked and self._streams_wanted()[0] != self.asked:
            self._fetch_newest()

    # ------------------------------------------------------------ what is read

    def _streams_wanted(self) -> tuple[tuple[str, ...], list[Stream]]:
        states = [
            s for s in order(self.board.nodes.values()) if not self.seat.marked or s.view.name in self.seat.marked
        ]
        known = [s for s in states if s.known and s.bundles]
        self.left_out = max(0, len(known) - NODES_MAX)
        self.failures = {s.view.name: s.reason for s in states if not s.known}
        shown = known[:NODES_MAX]
        return tuple(s.view.name for s in shown), [(s.view.name, b.bundle) for s in shown for b in s.bundles]

    def _fetch_newest(self) -> None:
        if self.seat.opened is None:
            return
        self.asked, streams = self._streams_wanted()
        self.seen, self.oldest = {}, {}
        if not streams:
            self._nothing_to_ask()
            return
        self._fetch([(stream, None) for stream in streams])

    def _nothing_to_ask(self) -> None:
        if not self.board.nodes:
            self.table.empty = ("No nodes yet.", "1, then n adds one; ctrl-d there shows a plant.")
        elif self.failures:
            self.table.empty = (f"No node answers: {len(self.failures)} are unknown.", "u asks again; 1 says why")
        else:
            self.table.empty = ("Nothing is installed on these nodes.", "1, then d deploys a bundle to one")
        self.lay_out()
        self.table.refresh()
        self._draw_title()

    def _fetch(self, wanted: Sequence[tuple[Stream, int | None]]) -> None:
        work = self.seat.works.latest("records", "")
        if work is not None and work.running:
            return
        operations = self.seat.operations

        async def ask_all(_: OnStep) -> Fetched:
            gate, found = asyncio.Semaphore(AT_ONCE), Fetched({}, {})

            async def ask(stream: Stream, before: int | None) -> None:
                async with gate:
                    try:
                        page = await operations.records(*stream, before=before, limit=A_NODE)
                    except OperationFailed as failure:
                        found.failures[stream[0]] = str(failure)
                    else:
                        found.pages[stream] = page

            await asyncio.gather(*(ask(stream, before) for stream, before in wanted))
            return found

        self.seat.begin("records", "read records", "", ask_all, quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.kind == "records" and work.node == "" and work.state == "done":
            self._came(work.result)

    def _came(self, found: Fetched) -> None:
        self.failures |= found.failures
        for stream, page in found.pages.items():
            state = self.board.nodes.get(stream[0])
            offset_s = (state.view.clock_offset_s if state else None) or 0.0
            for record in page.records:
                one = Seen(stream[0], record, made_us(record, offset_s) / 1e6)
                self.seen[one.key] = one
            if page.records and page.next is not None:
                self.oldest[stream] = page.records[-1].key, made_us(page.records[-1], offset_s) / 1e6
            else:
                self.oldest.pop(stream, None)
        self.seen = dict(sorted(self.seen.items(), key=lambda item: -item[1].wall_s)[:RECORDS_MAX])
        self.table.empty = ("No records yet.", "a record is kept for each prediction; u asks again")
        self.lay_out()
        self.table.refresh()
        self._draw_title()

    @property
    def whole_since_s(self) -> float | None:
        """Back to when nothing is missing between the records shown; None: nothing is anywhere."""
        return max((at_s for _, at_s in self.oldest.values()), default=None)

    # ------------------------------------------------------------ what is shown

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        if not self.asked and changed and self.seat.opened is not None:
            self._fetch_newest()  # Nodes have answered since the screen was opened.

    def _draw_title(self) -> None:
        names = self.asked[0] if len(self.asked) == 1 else figures.counted(len(self.asked), "node")
        parts = [f"{figures.counted(len(self.seen), 'record')} of {names}"]
        if self.whole_since_s is not None:
            parts.append(f"whole since {figures.moment(int(self.whole_since_s * 1e6))}, end: older")
        silent = len(self.failures) + self.left_out
        note = f"{silent} silent" if silent else ""
        self.title_row.set_values((("   ".join(parts), "strong"),), note=note)

    def all_keys(self) -> Sequence[str]:
        return list(self.seen)

    def is_fault(self, key: str) -> bool:
        return self.seen[key].is_odd

    def lay_out(self) -> None:
        keys = [
            key for key, one in self.seen.items() if self._test(one) and (not self.faults_only or self.is_fault(key))
        ]
        self.table.set_keys(keys)
        described = "  ".join([*([self.words] if self.words else []), *(["odd ones only"] if self.faults_only else [])])
        self.filter_row.show_state(described, len(keys), len(self.seen))

    def on_filter_row_changed(self, message: FilterRow.Changed) -> None:
        try:
            self._test = recordquery.parse(message.text)
        except QueryError as error:
            self.say(str(error), "warn")
            return
        self.say("")
        self.words = message.text
        self.lay_out()

    def _row(self, key: str) -> Row:
        one = self.seen[key]
        r = one.record
        quality = min(2, max(0, r.quality))
        role: Role = "strong" if one.is_odd else "base"
        return Row(
            {
                "at": (figures.moment(int(one.wall_s * 1e6)), "dim"),
                "node": (one.node, role),
                "bundle": (r.bundle, "dim"),
                "score": (figures.number(r.score) if r.score is not None else figures.NONE, "base"),
                "label": (r.label, role),
                "said": (r.model_label, "warn"),
                "decision": (r.decision, role),
                "quality": (QUALITY[quality], _ROLES[quality]),
                "latency": (figures.number(r.latency_us / 1e3), "base"),
                "revision": (f"r{r.revision}", "dim"),
                "reason": (r.reason, "dim"),
                "context": (r.context, "dim"),
                "key": (str(r.key), "dim"),
            }
        )

    # ------------------------------------------------------------ keys

    def on_listing_moved(self) -> None:
        """At the end of the list older ones are fetched, of the nodes whose records do not reach as far back."""
        self.seat.touch()
        if self.table.at >= len(self.table.keys) - 1 and self.oldest and len(self.seen) < RECORDS_MAX:
            self._fetch([(stream, key) for stream, (key, _) in self.oldest.items()])

    @property
    def one(self) -> Seen | None:
        """The record under the cursor."""
        return self.seen.get(self.table.key or "")

    def node(self) -> str | None:
        return self.one.node if self.one else None

    def do_records_anew(self) -> None:
        self._fetch_newest()

    def do_open(self) -> None:
        if self.one is not None:
            from console.screens.record import RecordView

            self.seat.push_screen(RecordView(self.look, self.one.node, self.one.record))

    def do_back(self) -> None:
        self._test = recordquery.parse("")
        super().do_back()

    def do_label(self) -> None:
        one = self.one
        if one is None:
            self.say("no record is under the cursor")
            return
        from console.screens.label import LabelView

        labels = sorted({s.record.label for s in self.seen.values() if s.record.bundle == one.record.bundle})
        view = LabelView(self.look, one.node, one.record, [label for label in labels if label][:9])
        self.seat.push_screen(view, lambda label: self._label(one, label))

    def _label(self, one: Seen, label: object) -> None:
        if not isinstance(label, str):
            return
        operations, record = self.seat.operations, one.record

        async def send(_: OnStep) -> None:
            await operations.label(one.node, record.bundle, record.key, label)

        self.seat.begin(
            "label", f"label on {one.node}", one.node, send, then=lambda work: self._labelled(one, label, work)
        )

    def _labelled(self, one: Seen, label: str, _: Work) -> None:
        from msgspec.structs import replace

        said = one.record.model_label or one.record.label
        changed = replace(one.record, label=label, model_label=said if said != label else "")
        self.seen[one.key] = Seen(one.node, changed, one.wall_s)
        self.table.touch([one.key])
        self.seat.say(f"{one.node} {figures.moment(int(one.wall_s * 1e6))} labelled {label} as {self.seat.operator}")
