"""The seat's own commands: copying, printing, help, palette, work, looks, leaving."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.app import SuspendNotSupported

from console.terminal import clipboard
from console.terminal.terminal import LINKS
from widgets.look import LOOKS

if TYPE_CHECKING:
    from console.screens.page import Page
    from console.seat.seat import Seat
    from console.seat.work import Work

TIME_STEP_S: Final = 5.0
TIME_FAR_S: Final = 60.0


class Chores:
    """Commands that are about this console and not about a node."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def do_yank(self) -> None:
        text = self._seat.page.yank_text() if self._seat.page else ""
        if not text:
            self._seat.say("nothing under the cursor to copy")
            return
        self._seat.copy_to_clipboard(text)
        to = ["clipboard (OSC 52)"]
        if self._seat.terminal.tmux and await clipboard.to_tmux(text):
            to.append("tmux buffer")
        try:
            await asyncio.to_thread(clipboard.keep, self._seat.clip_file, text)
        except OSError as error:
            self._seat.say(f"copied to {', '.join(to)}; not to {self._seat.clip_file}: {error.strerror}", "warn")
            return
        self._seat.say(f"copied to {', '.join(to)} and {self._seat.clip_file}")

    def do_print(self) -> None:
        text = self._seat.screen_text()
        try:
            with self._seat.suspend():
                print(text)
        except SuspendNotSupported:
            self._seat.say("this terminal cannot be left for a moment", "warn")

    def do_node_add(self) -> None:
        from console.screens.firstrun import ask_node

        ask_node(self._seat)

    def do_demo(self) -> None:
        from console.screens.firstrun import ask_demo

        ask_demo(self._seat)

    def do_export(self) -> None:
        from console.screens.saving import ask_where

        if self._seat.page is not None:
            ask_where(self._seat, self._seat.page)

    def do_capsule(self) -> None:
        from console.screens.capsule import ask_where

        ask_where(self._seat)

    def _move(self, seconds: float) -> None:
        """Through the time of an opened capsule; what is live has no other time than now."""
        move = self._seat.opened.move if self._seat.opened is not None else None
        if move is None:
            self._seat.say("this is the fleet as it is now; `outstation capsule open FILE` goes through time")
            return
        where = move(seconds)
        self._seat.tick()
        self._seat.say(where)

    def do_time_back(self) -> None:
        self._move(-TIME_STEP_S)

    def do_time_on(self) -> None:
        self._move(TIME_STEP_S)

    def do_time_far_back(self) -> None:
        self._move(-TIME_FAR_S)

    def do_time_far_on(self) -> None:
        self._move(TIME_FAR_S)

    def do_repaint(self) -> None:
        self._seat.forget_screen()

    def do_help(self) -> None:
        from console.screens.help import HelpView

        if self._seat.page is not None:
            self._seat.push_screen(HelpView(self._seat.look, self._seat.page.kind, self._seat.page.name_shown))

    def do_palette(self) -> None:
        from console.screens.palette import PaletteView

        page = self._seat.page
        if page is not None:
            self._seat.push_screen(PaletteView(self._seat.look, page.kind), partial(self._chosen, page))

    async def _chosen(self, page: Page, name: object) -> None:
        if isinstance(name, str) and " " in name:
            self._go_named(page, *name.split(" ", 1))
        elif isinstance(name, str):
            await page.action_command(name)

    def _go_named(self, page: Page, word: str, name: str) -> None:
        """`node press-07`, `logs press-07`, `site graz`, `filter state:warn`."""
        if word in ("node", "logs"):
            self._go_to_node(word, name.strip())
            return
        from console.screens.filterrow import FilterRow

        if word == "site":
            self._seat.way.do_screen_fleet()
        shown = self._seat.page if word == "site" else page
        if shown is not None and any(c.name == "filter" for c in self._seat.keymap.on(shown.kind)):
            shown.post_message(FilterRow.Changed(name if word == "filter" else f"site:{name.strip()}"))
            shown.post_message(FilterRow.Left())
        else:
            self._seat.say("this screen has no filter")

    def _go_to_node(self, screen: str, name: str) -> None:
        found = [known for known in self._seat.board.nodes if name.casefold() in known.casefold()]
        if name in self._seat.board.nodes or len(found) == 1:
            self._seat.go(screen, name if name in self._seat.board.nodes else found[0])
        else:
            near = f": {', '.join(sorted(found)[:5])}" if found else ""
            self._seat.say(f"{len(found) or 'no'} nodes are called {name}{near}")

    def do_work(self) -> None:
        from console.screens.worklist import WorkView

        self._seat.push_screen(WorkView(self._seat.look, self._seat.works.listed()))

    def do_theme_auto(self) -> None:
        self._seat.set_look_named("")

    def do_link_auto(self) -> None:
        self._seat.set_link("")

    def do_cancel(self) -> None:
        """One piece of work that runs, or the one that is chosen, after a second step."""
        running = [work for work in self._seat.works.listed() if work.running]
        if not running:
            self._seat.say("nothing is running that could be cancelled")
        elif len(running) == 1:
            self._ask_to_cancel(running[0])
        else:
            from console.screens.deploy import PickView

            named = {f"{work.number}  {work.title}  {work.node}".strip(): work for work in running}
            view = PickView(self._seat.look, "", list(named), title="Cancel what")
            self._seat.push_screen(view, lambda name: self._ask_to_cancel(named[str(name)]) if name in named else None)

    def _ask_to_cancel(self, work: Work) -> None:
        from console.screens.confirm import Change, ConfirmView

        step = work.step
        far = f"; it is at: {step.step}" if step is not None else ""
        if step is not None and step.total_bytes:
            far += f", {100 * step.done_bytes // step.total_bytes} % sent"
        change = Change(
            title=f"Cancel {work.title}" + (f" on {work.node}" if work.node else ""),
            what=(f"this console stops {work.title}{far}",),
            nodes=work.node,
            effect=("What was done on the node stays as it is. An unconfirmed trial goes back by itself.",),
            undo="begin it again: an upload goes on at the byte where it stopped",
            yes="cancel it",
        )
        cancel = self._seat.cancel_work
        self._seat.push_screen(ConfirmView(self._seat.look, change), lambda yes: cancel(work) if yes is True else None)

    def do_quit(self) -> None:
        from console.screens.confirm import Change, ConfirmView

        if not self._seat.works.running:
            self._seat.exit(0)
            return
        running = [f"{w.title} on {w.node}" for w in self._seat.works.listed() if w.running]
        change = Change(
            title="Leave while work is running",
            what=("This console stops: " + ", ".join(running),),
            effect=("A node with an unconfirmed trial goes back by itself when its time is over.",),
            undo="start outstation again: an upload goes on at the byte where it stopped",
        )
        self._seat.push_screen(ConfirmView(self._seat.look, change), lambda yes: self._seat.exit(0) if yes else None)

    def do_output(self) -> None:
        thin = self._seat.thin
        if thin is None:
            self._seat.say("whole regions are sent")
        else:
            self._seat.say(
                f"{thin.bytes_total:,} bytes in {thin.frames_total:,} frames, {thin.merged_total:,} merged; "
                f"{os.environ.get('TERM', '')}, link {self._seat.terminal.link.name}"
            )

    def __getattr__(self, name: str) -> Any:
        """`do_theme_<name>` and `do_link_<name>` for every look and link there is."""
        if name.startswith("do_theme_") and name[9:] in LOOKS:
            return partial(self._seat.set_look_named, name[9:])
        for link in LINKS:
            if name == f"do_link_{link}":
                return partial(self._seat.set_link, link)
        raise AttributeError(name)
