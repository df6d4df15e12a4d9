"""Deploying: which bundle, does it fit, for how long on trial. What it will change is then shown and typed for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.widget import Widget

from console import figures
from console.delivery.gate import ROWS, GateOrder, percent
from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.operations import BundleEntry
from nodeagent.protocol import Passport
from widgets.cells import wrap
from widgets.lines import Listing
from widgets.look import Look, Role, Spans
from widgets.table import Column, Row, Table

WINDOWS_S: Final = (60, 120, 300, 600, 1_200, 1_800, 3_600, 14_400)
WINDOW_DEFAULT: Final = 3
# Of equal decisions on the node's own records; 0: the gate is not asked.
AGREEMENTS: Final = (0.0, 0.8, 0.9, 0.95, 0.99, 1.0)
AGREEMENT_DEFAULT: Final = 2
CATALOG = (
    Column("bundle", "BUNDLE", 18, flex=2, width_max=32),
    Column("runs", "HERE", 8),
    Column("size", "SIZE", 8, right=True),
    Column("signer", "SIGNER", 14, flex=1, width_max=26),
    Column("added", "ADDED", 12, fold=1),
    Column("inputs", "INPUTS", 14, fold=3, flex=1),
    Column("outputs", "OUTPUTS", 12, fold=4, flex=1),
    Column("digest", "DIGEST", 19, fold=2),
)


class ChooseView(View):
    """The catalog. Dismissed with a BundleEntry, or with None."""

    def __init__(self, look: Look, node: str, active: Sequence[str], *, title: str = "") -> None:
        super().__init__(look, title or f"Deploy to {node}: which bundle", keys=(("enter", "choose"), ("esc", "back")))
        self.about, self.active = node, frozenset(active)
        self.entries: dict[str, BundleEntry] = {}
        self.table = Table(CATALOG, self._row, look)
        self.table.empty = ("The catalog is being read.",)

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.table)

    def opened(self) -> None:
        super().opened()
        self.table.focus()
        operations = self.seat.operations
        self.seat.begin("bundles", "catalog", self.about, lambda _: operations.bundles(), quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        work = message.work
        if work.kind == "bundles" and work.state == "done":
            self.entries = {entry.digest: entry for entry in work.result}
            self.table.empty = ("No bundles in the catalog.", "outstation bundle build makes one, import brings one")
            self.table.set_keys(list(self.entries))
            self.table.refresh()

    def _row(self, key: str) -> Row:
        e = self.entries[key]
        here = e.digest in self.active
        return Row(
            {
                "bundle": (e.title, "base"),
                "runs": ("active" if here else "", "strong"),
                "size": (figures.size(e.size_bytes), "base"),
                "signer": (e.signer or "not signed", "base" if e.signer else "warn"),
                "added": (figures.day_and_time(int(e.added_s * 1e6)) if e.added_s else figures.NONE, "dim"),
                "inputs": (e.inputs, "dim"),
                "outputs": (e.outputs, "dim"),
                "digest": (e.digest[:19], "dim"),
            }
        )

    def key_enter(self) -> None:
        entry = self.entries.get(self.table.key or "")
        if entry is not None:
            self.dismiss(entry)


class PickView(View):
    """One of the bundles that run on a node, or of other names. Dismissed with the name, or with None."""

    def __init__(self, look: Look, node: str, bundles: Sequence[str], *, title: str = "") -> None:
        super().__init__(look, title or f"{node}: which bundle", keys=(("enter", "choose"), ("esc", "back")))
        self.listing = Listing(look)
        self.bundles = tuple(bundles)

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.listing)

    def opened(self) -> None:
        super().opened()
        self.listing.set_keys(self.bundles)
        self.listing.focus()

    def key_enter(self) -> None:
        self.dismiss(self.listing.key)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a bundle is tried: for how long, and what it has to show before."""

    window_s: float
    gate: GateOrder | None


class PassportView(View):
    """Whether the bundle fits, item by item, the trial's window and the gate. Dismissed with Terms, or with None."""

    def __init__(self, look: Look, node: str, entry: BundleEntry) -> None:
        super().__init__(
            look,
            f"Deploy {entry.title} to {node}: does it fit",
            keys=(("enter", "go on"), ("left right", "trial window"), ("up down", "gate"), ("esc", "back")),
        )
        self.about, self.entry = node, entry
        self.window, self.agreement = WINDOW_DEFAULT, AGREEMENT_DEFAULT
        self.passport: Passport | None = None
        self.failure = ""

    def opened(self) -> None:
        super().opened()
        operations, node, digest = self.seat.operations, self.about, self.entry.digest
        self.seat.begin("passport", "passport", node, lambda _: operations.passport(node, digest), quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        work = message.work
        if work.kind != "passport" or work.node != self.about or work.running:
            return
        self.passport, self.failure = work.result, str(work.error or "")
        self.draw(None)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self.set_lines(self._lines(max(20, self.size.width)))

    def _lines(self, width: int) -> list[Spans]:
        if self.passport is None:
            text = self.failure or "the node is asked"
            return [(), *(((f" {line}", "warn" if self.failure else "dim"),) for line in wrap(text, width - 2))]
        roles: dict[str, Role] = {"yes": "base", "no": "alarm", "unknown": "unknown", "warn": "warn"}
        lines: list[Spans] = [()]
        for item in self.passport.items:
            role = roles[item.verdict]
            texts = wrap(item.text, width - 26)
            lines.append(((" ", "base"), (f"{item.verdict:<7}", role), (f" {item.name:<14}", "strong"),
                          (f" {texts[0]}", "base")))  # fmt: skip
            lines += [((f"{'':<24}{text}", "base"),) for text in texts[1:]]
            if item.fix:
                lines += [((f"{'':<24}", "dim"), (f"do: {line}", "strong")) for line in wrap(item.fix, width - 30)]
        lines.append(())
        if not self.passport.fits:
            lines.append(((" It does not fit: nothing is sent.", "strong"),))
            return lines
        lines.append(((" trial window  ", "dim"), (figures.countdown(WINDOWS_S[self.window]), "strong")))
        text = "unconfirmed by then, the node goes back by itself; left and right change it"
        lines += [((f"{'':<15}{line}", "base"),) for line in wrap(text, width - 16)]
        share = AGREEMENTS[self.agreement]
        shown = f"at least {percent(share)} of equal decisions" if share else "off"
        lines.append(((" recorder gate ", "dim"), (shown, "strong")))
        text = (
            f"before the switch it is tried on the node's last {ROWS:,} records; up and down change it"
            if share
            else "nothing is tried on the node's records; up and down change it"
        )
        return [*lines, *(((f"{'':<15}{line}", "base"),) for line in wrap(text, width - 16))]

    def on_key(self, event: events.Key) -> None:
        if event.key in ("left", "right"):
            step = 1 if event.key == "right" else -1
            self.window = max(0, min(len(WINDOWS_S) - 1, self.window + step))
            self.draw(None)
        elif event.key in ("up", "down"):
            step = 1 if event.key == "up" else -1
            self.agreement = max(0, min(len(AGREEMENTS) - 1, self.agreement + step))
            event.prevent_default()
            self.draw(None)
        elif event.key == "enter" and self.passport is not None:
            if self.passport.fits:
                share = AGREEMENTS[self.agreement]
                gate = GateOrder(agreement_min=share) if share else None
                self.dismiss(Terms(float(WINDOWS_S[self.window]), gate))
            else:
                self.say("it does not fit: see what to do first", "warn")
