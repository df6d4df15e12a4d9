"""How a rollout may go: policies of the console's folder and those that come with it, the text of one below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import events
from textual.widget import Widget

from console import figures
from console.rollout.planner import wrong_number
from console.rollout.policy import Policy, PolicyError, parse_policy
from console.rollout.presets import PolicyEntry
from console.rollout.terms import PlanTerms
from console.screens.fieldrow import FieldRow
from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.operations import BundleEntry
from widgets.cells import wrap
from widgets.entry import EntryField
from widgets.look import Look, Spans
from widgets.table import Column, Row, Table

COLUMNS = (
    Column("name", "POLICY", 20, flex=2, width_max=40),
    Column("waves", "WAVES", 18, flex=1, width_max=30),
    Column("trial", "TRIAL", 8, right=True),
    Column("soak", "WATCHED", 8, right=True),
    Column("file", "FROM", 12, fold=1, flex=1),
)
LIST_LINES_MAX = 9


class PolicyView(View):
    """Dismissed with a PolicyEntry and the PlanTerms over it, or with None. `tab` goes to the fields and back."""

    def __init__(self, look: Look, entry: BundleEntry, nodes: Sequence[str]) -> None:
        where = f"{len(nodes)} marked nodes" if nodes else "every node that runs it"
        keys = (("enter", "ask the nodes and plan"), ("tab", "change, seed, budget"), ("esc", "back"))
        super().__init__(look, f"Roll {entry.title} out to {where}: how", keys=keys)
        self.table = Table(COLUMNS, self._row, look)
        self.table.empty = ("The policies are being read.",)
        self.text.can_focus = False
        self.entries: dict[str, PolicyEntry] = {}
        self.change = FieldRow(look, "change", hint="its number in your books, for every node's ledger")
        self.seed = FieldRow(look, "seed", hint="a node, or jump: a thin link is crossed once; else the policy's")
        self.budget = FieldRow(look, "budget", hint="of all uploads together, such as 2MB/s; else the policy's")

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.table, self.change, self.seed, self.budget, self.text)

    def opened(self) -> None:
        super().opened()
        self.table.styles.height = 3
        self.table.focus()
        operations = self.seat.operations
        self.seat.begin("policies", "read policies", "", lambda _: operations.policies(), quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        work = message.work
        if work.kind == "policies" and work.state == "done":
            self.entries = {entry.file or entry.name: entry for entry in work.result}
            self.table.styles.height = min(LIST_LINES_MAX, len(self.entries)) + 1
            self.table.set_keys(list(self.entries))
            self.draw(None)

    def on_listing_moved(self) -> None:
        self.draw(None)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        entry = self.entries.get(self.table.key or "")
        lines: list[Spans] = [()]
        if entry is not None and entry.wrong:
            lines += [((f" {line}", "warn"),) for line in wrap(entry.wrong, max(20, self.size.width - 2))]
        elif entry is not None:
            lines += [((f" {line}", "dim"),) for line in entry.text.splitlines()]
        self.set_lines(lines)

    def _row(self, key: str) -> Row:
        entry = self.entries[key]
        if entry.wrong:
            return Row({"name": (entry.name, "base"), "waves": ("cannot be used", "warn"), "file": (entry.file, "dim")})
        policy = parse_policy(entry.text)
        return Row(
            {
                "name": (entry.name, "strong"),
                "waves": (waves_words(policy), "base"),
                "trial": (figures.countdown(policy.trial.window_s), "base"),
                "soak": (figures.countdown(policy.waves.soak_s), "base"),
                "file": (entry.file or "outstation", "dim"),
            }
        )

    def key_enter(self, event: events.Key) -> None:
        event.stop()  # It was meant for this view, and not for the screen that comes to light.
        self._choose()

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        self._choose()

    def _choose(self) -> None:
        entry = self.entries.get(self.table.key or "")
        if entry is None or entry.wrong:
            return
        terms = PlanTerms(self.change.typed, self.seed.typed, self.budget.typed)
        try:
            terms.over(parse_policy(entry.text))
        except PolicyError as error:
            self.say(str(error), "warn")
            return
        if wrong := wrong_number(terms.change):
            self.say(wrong, "warn")
        else:
            self.dismiss((entry, terms))


def waves_words(policy: Policy) -> str:
    """`1, 25%, 100%`, or `1, by line`."""
    canary = policy.waves.canary
    first = (
        [str(canary)]
        if isinstance(canary, int) and canary
        else [",".join(canary)]
        if not isinstance(canary, int)
        else []
    )
    if policy.waves.by:
        return ", ".join([*first, f"by {policy.waves.by}"])
    return ", ".join([*first, *(str(step) for step in policy.waves.steps or ("100%",))])
