"""Screen 4: the bundles of this console: signer, where each is active, what it takes, what it descends from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import BindingType

from console import figures
from console.screens.askline import AskLineView
from console.screens.listpage import ListPage
from console.screens.page import bindings
from console.seat.messages import WorkChanged
from console.seat.operations import BundleEntry
from console.seat.work import Work
from widgets.cells import wrap
from widgets.look import Look, Span, Spans
from widgets.table import Column, Row

if TYPE_CHECKING:
    from console.fleet.board import NodeState
    from console.seat.shelf import Inspection

COLUMNS: Final = (
    Column("bundle", "BUNDLE", 16, flex=2, width_max=30),
    Column("active", "ACTIVE ON", 14, flex=2, width_max=40),
    Column("size", "SIZE", 8, right=True, fold=1),
    Column("signer", "SIGNED BY", 14, flex=2, width_max=52),
    Column("added", "ADDED", 12, fold=2),
    Column("inputs", "INPUTS", 14, fold=4, flex=1),
    Column("outputs", "OUTPUTS", 12, fold=5, flex=1),
    Column("digest", "DIGEST", 19, fold=3),
)
EMPTY: Final = ("No bundles yet.", "i takes one from a .ostn file or a stick; outstation bundle build makes one.")
NODES_SHOWN_MAX: Final = 40


class CatalogPage(ListPage):
    """The list; under it the bundle of the cursor."""

    kind = "catalog"
    name_shown = "Catalog"
    columns = COLUMNS
    detail_share = 0.45
    detail_lines_min = 7
    BINDINGS: ClassVar[list[BindingType]] = bindings("catalog")

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.entries: dict[str, BundleEntry] = {}
        self.active: dict[str, list[str]] = {}
        self.on_trial: dict[str, list[str]] = {}
        self.inspections: dict[str, Inspection] = {}
        self.table.empty = ("The catalog is being read.",)
        self.failure = ""

    def opened(self) -> None:
        super().opened()
        self._fetch()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._fetch()

    # ------------------------------------------------------------ what is read

    def _fetch(self) -> None:
        work = self.seat.works.latest("catalog", "")
        if self.seat.opened is not None and not (work and work.running):
            self.seat.begin("catalog", "read the catalog", "", lambda _: self.seat.operations.bundles(), quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.kind == "catalog" and not work.running:
            if work.error is not None:
                self.table.empty = ("The catalog cannot be read.", str(work.error))
            else:
                self.table.empty = EMPTY
                self.entries = {entry.digest: entry for entry in work.result}
            self._where_active()
            self.lay_out()
            self.table.refresh()
            self._draw_title()

    def _where_active(self) -> None:
        """Which nodes say that they run a bundle, by its digest. A node that is not known runs nothing that we know."""
        active: dict[str, list[str]] = {}
        on_trial: dict[str, list[str]] = {}
        for name, state in self.board.nodes.items():
            for bundle in state.bundles:
                (on_trial if bundle.trial is not None else active).setdefault(bundle.digest, []).append(name)
        changed = {digest for digest in self.entries if active.get(digest) != self.active.get(digest)}
        changed |= {digest for digest in self.entries if on_trial.get(digest) != self.on_trial.get(digest)}
        self.active, self.on_trial = active, on_trial
        self.table.touch(changed)
        if self.table.key in changed:
            self.draw_detail()

    # ------------------------------------------------------------ what is shown

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self._where_active()
        if changed is None:
            self.lay_out()
            self._draw_title()

    def _draw_title(self) -> None:
        unsigned = sum(1 for entry in self.entries.values() if not entry.signer)
        unknown = sum(1 for state in self.board.nodes.values() if not state.known)
        told = figures.counted(len(self.entries), "bundle") + (f", {unsigned} not signed" if unsigned else "")
        note = f"{figures.counted(unknown, 'node')} unknown: what runs there is not counted" if unknown else ""
        self.title_row.set_values(((told, "strong"),), note=note)

    def all_keys(self) -> Sequence[str]:
        return list(self.entries)

    def key_text(self, key: str) -> str:
        e = self.entries[key]
        nodes = " ".join(self.active.get(key, []) + self.on_trial.get(key, []))
        return f"{e.title} {e.digest} {e.signer} {e.source} {e.inputs} {e.outputs} {nodes}"

    def _where(self, key: str) -> str:
        active, trial = self.active.get(key, []), self.on_trial.get(key, [])
        parts = [active[0] if len(active) == 1 else figures.counted(len(active), "node")] if active else []
        parts += [f"trial {trial[0]}" if len(trial) == 1 else f"{len(trial)} on trial"] if trial else []
        return ", ".join(parts)

    def _seen_nowhere(self) -> Span:
        """A bundle that no node shows may still run on one that does not answer."""
        known = sum(1 for state in self.board.nodes.values() if state.known)
        if not self.board.nodes or known == len(self.board.nodes):
            return ("nowhere", "dim")
        return ("none that answers", "dim") if known else (figures.UNKNOWN, "unknown")

    def _row(self, key: str) -> Row:
        e = self.entries[key]
        where = self._where(key)
        return Row(
            {
                "bundle": (e.title, "strong" if where else "base"),
                "active": (where, "base") if where else self._seen_nowhere(),
                "size": (figures.size(e.size_bytes), "base"),
                "signer": (e.signer or "NOBODY: no node takes it", "base" if e.signer else "warn"),
                "added": (figures.day_and_time(int(e.added_s * 1e6)) if e.added_s else figures.NONE, "dim"),
                "inputs": (e.inputs, "dim"),
                "outputs": (e.outputs, "dim"),
                "digest": (e.digest[:19], "dim"),
            }
        )

    @property
    def entry(self) -> BundleEntry | None:
        """The bundle under the cursor."""
        return self.entries.get(self.table.key or "")

    def detail_spans(self) -> Sequence[Spans]:
        entry = self.entry
        if entry is None:
            return ()
        family = [o for o in self.entries.values() if o.name == entry.name]
        place = [o.digest for o in family].index(entry.digest)
        before, after = family[place + 1 : place + 2], family[max(0, place - 1) : place]
        lineage = [f"after {o.version}" for o in before] + [f"before {o.version}" for o in after]
        active, trial = self.active.get(entry.digest, []), self.on_trial.get(entry.digest, [])
        shown = ", ".join((active + [f"{name} (trial)" for name in trial])[:NODES_SHOWN_MAX]) or "no node that answers"
        facts = (
            ("takes", entry.inputs or figures.UNKNOWN),
            ("gives", entry.outputs or figures.UNKNOWN),
            ("active on", shown),
            ("lineage", f"{entry.name}: {', '.join(lineage) or 'the only one here'}; enter: where it came from"),
            ("digest", entry.digest),
            ("file", entry.source or figures.UNKNOWN),
        )
        lines: list[Spans] = [((f" {entry.title}", "title"),)]
        for name, text in facts:
            lines += [((f" {name if i == 0 else '':<10} ", "dim"), (line, "base"))
                      for i, line in enumerate(wrap(text, max(20, self.size.width - 13))[:2])]  # fmt: skip
        return lines

    # ------------------------------------------------------------ keys

    def do_open(self) -> None:
        entry = self.entry
        if entry is not None:
            from console.screens.bundle import BundleView

            trials = [f"{name} (trial)" for name in self.on_trial.get(entry.digest, [])]
            view = BundleView(self.look, entry, [*self.active.get(entry.digest, []), *trials])
            self.seat.push_screen(view)

    def do_bundle_add(self) -> None:
        lines = (
            "Every blob of the file is checked, then a copy is kept on this console. No node is changed.",
            "The files below were found on mounted sticks and in this folder: up and down choose one.",
        )
        hint = "path of a .ostn file"
        view = AskLineView(self.look, "Add a bundle", lines, yes="add it", hint=hint, check=_no_bundle)
        self.seat.push_screen(view, self._add)
        operations = self.seat.operations
        self.seat.begin("files", "look for bundles", "", lambda _: operations.bundle_files(""), quiet=True,
                        then=partial(_offer, view))  # fmt: skip

    def _add(self, path: object) -> None:
        if isinstance(path, str):
            operations = self.seat.operations
            self.seat.begin("take", f"add {path}", "", lambda _: operations.take_bundle(path), then=self._added)

    def _added(self, work: Work) -> None:
        self._fetch()
        self.seat.say(f"{work.title.removeprefix('add ')} is in the catalog: {work.result[:19]}")

    def do_bundle_deploy(self) -> None:
        entry = self.entry
        if entry is None:
            self.say("no bundle is under the cursor")
            return
        marked = sorted(self.seat.marked)
        if len(marked) > 1:
            self.say(f"{len(marked)} nodes are marked: a rollout (3) brings a bundle to more than one", "warn")
        elif marked:
            self.seat.changes.deploy_entry(marked[0], entry)
        else:
            from console.screens.choosenode import ChooseNodeView

            view = ChooseNodeView(self.look, f"Deploy {entry.title}: to which node")
            self.seat.push_screen(view, partial(self._node_chosen, entry))

    def _node_chosen(self, entry: BundleEntry, node: object) -> None:
        if isinstance(node, str):
            self.seat.changes.deploy_entry(node, entry)

    def do_bundle_fits(self) -> None:
        entry = self.entry
        if entry is None:
            self.say("no bundle is under the cursor")
            return
        from console.screens.fits import FitsView

        names = sorted(self.seat.marked) or self.active.get(entry.digest, [])
        known: list[NodeState] = list(self.board.nodes.values())
        names = names or [state.view.name for state in known if state.known]
        self.seat.push_screen(FitsView(self.look, entry, names))


def _no_bundle(text: str) -> str:
    return "" if text.endswith(".ostn") else "give the path of a file that ends in .ostn"


def _offer(view: AskLineView, work: Work) -> None:
    if view.is_attached:
        view.set_offers(work.result)
