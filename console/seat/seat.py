"""The app: the operator's seat. It holds the board, the mode, the work and the way about; screens draw."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from console import figures
from console.fleet.board import Board, BoardAlert, survey
from console.fleet.floods import FLOOD_MIN, Flood, group
from console.fleet.view import Condition, Fleet
from console.screens.fleet import FleetPage
from console.screens.page import Page
from console.seat.choices import Choice
from console.seat.keymap import Keymap
from console.seat.messages import BoardChanged, Said, WorkChanged
from console.seat.opening import Background, Opened, Opening, OpeningFailed
from console.seat.operations import OnStep, OperationFailed, Operations, Step
from console.seat.theme import default_name, look_for, textual_theme
from console.seat.way import Way
from console.seat.work import Action, Work, Works
from console.terminal.driver import ConsoleDriver, ThinApp, leave_at_once
from console.terminal.output import ControlFilter
from console.terminal.terminal import LINKS, LinkName, Terminal, is_gone
from console.times import Clock
from widgets.alertrow import AlertValues
from widgets.drawing import Drawing
from widgets.header import HeaderValues
from widgets.look import LOOKS, Role

if TYPE_CHECKING:
    from console.screens.changes import Changes
    from console.screens.chores import Chores

OPERATE_IDLE_S: Final = 15 * 60.0
WATCH_S: Final = 2.0
STEP_SHOWN_S: Final = 0.25
EXIT_TERMINATED: Final = 143
EXIT_HUNG_UP: Final = 129


class Seat(ThinApp, inherit_bindings=False):
    """`outstation`. Everything slow is work that goes on by itself; a key is answered at once."""

    BINDINGS: ClassVar[list[BindingType]] = []
    TITLE = "outstation"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    CSS = "Screen { background: $background; color: $foreground; layout: vertical; }"

    def __init__(
        self,
        opening: Opened | Opening,
        *,
        operator: str,
        terminal: Terminal,
        clock: Clock,
        clip_file: Path,
        operate: bool = False,
        look: str = "",
        thin: bool = True,
        keymap: Keymap | None = None,
    ) -> None:
        super().__init__(ascii=terminal.ascii, thin=thin)
        self._filters.append(ControlFilter())
        self.opened = opening if isinstance(opening, Opened) else None
        self._opening = opening if not isinstance(opening, Opened) else None
        self.operator, self.terminal, self.clock = operator, terminal, clock
        self.link = terminal.link
        self.look = look_for(look or default_name(terminal), terminal)
        self.keymap = keymap or Keymap()
        # Said once, when the first screen is there.
        self.first_words = ""
        self.works = Works()
        self.board = Board()
        self.paused_at_s: float | None = None
        self.marked: frozenset[str] = frozenset()
        # The rollout that the cursor is to stand on when its list is shown next.
        self.rollout = ""
        self.site = ""
        self.operating = False
        self._operate_first = operate
        self._touched_s = clock.monotonic_s()
        self._version = -1
        self._own_acknowledged: dict[str, str] = {}
        self._alert_shown: tuple[str, float] = ("", 0.0)
        self.clip_file = clip_file
        self.way = Way(self)
        self._ticker: Timer | None = None
        for name in LOOKS:
            self.register_theme(textual_theme(LOOKS[name]()))
        self.theme = f"outstation-{self.look.name}"
        if self.opened is not None:
            self.look_again()

    # ------------------------------------------------------------ life

    def get_default_screen(self) -> Screen[Any]:
        return FleetPage(self.look)

    def on_mount(self) -> None:
        self._ticker = self.set_interval(self.link.period_s, self.tick)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, partial(self.exit, EXIT_TERMINATED, EXIT_TERMINATED))
        if isinstance(self._driver, ConsoleDriver):
            self.set_interval(WATCH_S, partial(self._watch_terminal, self._driver))
        self.app_resume_signal.subscribe(self, lambda _: self.forget_screen())
        self.call_after_refresh(lambda: self.run_worker(self._open(), group="background", exit_on_error=True))

    async def _open(self) -> None:
        """Opens the fleet after the first paint, and starts what keeps it."""
        if self._opening is not None:
            try:
                self.opened = await asyncio.to_thread(self._opening)
            except OpeningFailed as failure:
                self.exit(1, return_code=1, message=f"outstation: {failure}")
                return
            self.tick()
        if self.first_words:
            self.say(self.first_words, "warn")
        assert self.opened is not None
        if self.opened.words:
            self.say(self.opened.words)
        for start in self.opened.background:
            self.run_worker(_run(start), group="background", exit_on_error=True)
        if self._operate_first:
            self.do_operate()

    @property
    def fleet(self) -> Fleet:
        """The fleet; only asked for once it is open."""
        assert self.opened is not None
        return self.opened.fleet

    @property
    def operations(self) -> Operations:
        """What can be asked of the nodes. Raises OperationFailed while the console is still being opened."""
        if self.opened is None:
            raise OperationFailed("the console is still being opened", hint="press the key again")
        return self.opened.operations

    def _watch_terminal(self, driver: ConsoleDriver) -> None:
        if driver.watched.lost or is_gone(driver.watched.fileno()):
            leave_at_once(EXIT_HUNG_UP)

    def cursor_cell(self) -> tuple[int, int] | None:
        focused = self.focused if self.screen_stack else None
        if isinstance(focused, Input):
            return focused.cursor_screen_offset
        place = focused.cursor_place() if isinstance(focused, Drawing) else None
        if focused is None or place is None:
            return None
        return (focused.region.x + place[0], focused.region.y + place[1])

    # ------------------------------------------------------------ the board

    def look_again(self) -> frozenset[str]:
        """Judges the fleet now; the names of nodes that changed."""
        changed = self.fleet.changed_since(self._version)
        self._version = self.fleet.version
        before = self.board
        self.board = survey(self.fleet.views(), self.clock.monotonic_s(), self.clock.epoch_s(), self._own_acknowledged)
        aged = {
            name
            for name, state in self.board.nodes.items()
            if name not in changed
            and (
                (old := before.nodes.get(name)) is None
                or (old.condition, old.known, old.stale) != (state.condition, state.known, state.stale)
                or figures.age(old.view.age_s(before.now_s)) != figures.age(state.view.age_s(self.board.now_s))
            )
        }
        return changed | aged

    def tick(self) -> None:
        """One look at the fleet; nothing is drawn when nothing changed."""
        if self.operating and self.clock.monotonic_s() - self._touched_s > OPERATE_IDLE_S:
            self._to_monitor("MONITOR again after 15 minutes without a key")
        if self.recording is not None and self.recording.ended:
            self.say(f"nothing is recorded any more: {self.recording.ended}", "warn")
            self.recording = None
        if self.paused_at_s is None and self.opened is not None:
            changed = self.look_again()
            self._post(BoardChanged(self.board, changed))

    def _post(self, message: Message) -> None:
        """To whatever screen is on top; nobody is there while the app ends."""
        if self._running and self.screen_stack:
            self.screen.post_message(message)

    def header_values(self, screen: str) -> HeaderValues:
        """The first row."""
        counts, rtt = self.board.counts, self.board.rtt_ms
        left_s = OPERATE_IDLE_S - (self.clock.monotonic_s() - self._touched_s)
        return HeaderValues(
            alarm=counts.get(Condition.ALARM, 0),
            warn=counts.get(Condition.WARN, 0),
            unknown=counts.get(Condition.UNKNOWN, 0),
            maintenance=counts.get(Condition.MAINTENANCE, 0),
            ok=counts.get(Condition.OK, 0),
            screen=screen,
            site=self.site or "all sites",
            operate=self.operating,
            operate_left=f"{max(1, round(left_s / 60))}m" if self.operating else "",
            operator=self.operator,
            clock=figures.clock(self.clock.epoch_s()),
            link=figures.milliseconds(rtt) if rtt is not None else "",
            running=self.works.running,
            paused=self.paused_at_s is not None,
        )

    def alert_shown(self) -> BoardAlert | None:
        """The alert of the second row."""
        return self.board.waiting[0] if self.board.waiting else None

    def alert_values(self) -> AlertValues | None:
        """The second row; blank is normal."""
        alert = self.alert_shown()
        if alert is None:
            self._alert_shown = ("", 0.0)
            return None
        flood = self.flood_shown()
        shown, key = (flood.first, flood.key) if flood is not None else (alert, alert.key)
        if self._alert_shown[0] != key:
            self._alert_shown = (key, self.clock.monotonic_s())
        return AlertValues(
            urgent=alert.urgent,
            at=figures.clock(shown.since_s) if shown.since_s else "",
            node=alert.node if flood is None else f"{len(flood.alerts)} alerts",
            text=alert.message if flood is None else flood.message,
            age=figures.age(self.board.wall_s - shown.since_s) if shown.since_s else "",
            keys=(("a", "ack"),) if flood is None else (("2", "open"),),
            more=len(self.board.waiting) - (1 if flood is None else len(flood.alerts)),
        )

    def flood_shown(self) -> Flood | None:
        """The flood that the alert of the second row is a part of; None for one alone."""
        waiting = self.board.waiting
        if len(waiting) < FLOOD_MIN:
            return None
        first = group(waiting, self.board.nodes)[0]
        return first if first.is_flood else None

    # ------------------------------------------------------------ work

    def begin(
        self,
        kind: str,
        title: str,
        node: str,
        action: Action,
        *,
        quiet: bool = False,
        then: Callable[[Work], None] | None = None,
    ) -> Work:
        """Starts work that goes on whatever is shown. `then` is called when it is done, not when it failed."""
        work = self.works.begin(kind, title, node, action, self.clock.monotonic_s(), quiet=quiet)
        self.run_worker(self._do(work, then), name=title, group=f"work-{work.number}", exit_on_error=True)
        return work

    async def _do(self, work: Work, then: Callable[[Work], None] | None) -> None:
        self._tell(work)
        try:
            work.result = await work.action(self._on_step(work))
        except OperationFailed as failure:
            work.state, work.error = "failed", failure
        except asyncio.CancelledError:
            work.state = "cancelled"
            self.say(f"{work.title} is cancelled" + (f" on {work.node}" if work.node else ""), "warn")
            self._tell(work)
            raise
        else:
            work.state = "done"
        finally:
            work.ended_s = self.clock.monotonic_s()
        if work.error is not None:
            self.say(f"{work.title} failed. {work.error}", "alarm" if not work.quiet else "warn")
        elif then is not None:
            then(work)
        self._tell(work)
        if work.state == "done" and not work.quiet:
            self.tick()

    def _on_step(self, work: Work) -> OnStep:
        shown_s = 0.0

        def on_step(step: Step) -> None:
            nonlocal shown_s
            new = work.step is None or work.step.step != step.step
            work.went_on(step)
            now_s = self.clock.monotonic_s()
            if new or now_s - shown_s >= STEP_SHOWN_S or step.done_bytes >= step.total_bytes:
                shown_s = now_s
                self._tell(work)

        return on_step

    def _tell(self, work: Work) -> None:
        self._post(WorkChanged(work))

    def cancel_work(self, work: Work) -> None:
        """Stops work; what it already did on a node stays as the node has it."""
        self.workers.cancel_group(self, f"work-{work.number}")

    def say(self, text: str, role: Role = "strong") -> None:
        """Shows a message on whatever screen is on top."""
        self._post(Said(text, role))

    # ------------------------------------------------------------ modes

    @cached_property
    def changes(self) -> Changes:
        """The commands that change a node; made when the first of them is asked for."""
        from console.screens.changes import Changes

        return Changes(self)

    @cached_property
    def chores(self) -> Chores:
        """The commands about this console; made when the first of them is asked for."""
        from console.screens.chores import Chores

        return Chores(self)

    def on_key(self, event: events.Key) -> None:
        """A letter that was typed before the field had opened belongs into the field: it is no command."""
        field = self.focused
        if isinstance(field, Input) and event.is_printable and event.character:
            event.prevent_default()
            field.insert_text_at_cursor(event.character)

    def touch(self) -> None:
        """A key was pressed: OPERATE goes on for its whole time."""
        self._touched_s = self.clock.monotonic_s()

    @property
    def page(self) -> Page | None:
        """The screen on top, if it is one of the main ones."""
        return self.screen if isinstance(self.screen, Page) else None

    def do_operate(self) -> None:
        if self.opened is None:
            self.say("the catalog is still being opened")
            return
        if self.operating:
            self._to_monitor("MONITOR: nothing on a line can be changed now")
            return

        async def prove(_: OnStep) -> None:
            await self.operations.enter_operate()

        self.begin("operate", "OPERATE", "", prove, quiet=True, then=self._proved)

    def _proved(self, _: Work) -> None:
        self.operating = True
        self.touch()
        self.say(f"OPERATE as {self.operator}: nodes can be changed; back to MONITOR after 15 idle minutes")
        self.tick()

    def _to_monitor(self, text: str) -> None:
        self.operating = False

        async def leave(_: OnStep) -> None:
            await self.operations.leave_operate()

        self.begin("monitor", "MONITOR", "", leave, quiet=True, then=lambda _: self.say(text))
        self._post(BoardChanged(self.board, frozenset()))

    def do_pause(self) -> None:
        self.paused_at_s = None if self.paused_at_s is not None else self.clock.monotonic_s()
        if self.paused_at_s is None:
            self.tick()
        else:
            self._post(BoardChanged(self.board, frozenset()))

    def do_acknowledge(self) -> None:
        """Acknowledges the alert of row two, if it has been there long enough to be read."""
        alert = self.alert_shown()
        if alert is None:
            self.say("no alert waits to be acknowledged")
        elif (flood := self.flood_shown()) is not None:
            self.say(f"{len(flood.alerts)} alerts at once: 2 shows them, a there acknowledges all of them")
        elif self.clock.monotonic_s() - self._alert_shown[1] < 0.5:
            self.say("the alert has just changed: read it, then press a again", "warn")
        else:
            self.acknowledge(alert)

    def acknowledge(self, alert: BoardAlert) -> None:
        """Writes the operator's name under an alert: on its node, or here for one about the link."""
        if alert.id == 0:
            self._own_acknowledged[alert.key] = self.operator
            self.say(f"acknowledged on this console: {alert.node} {alert.message}")
            self.tick()
            return

        async def send(_: OnStep) -> None:
            await self.operations.acknowledge(alert.node, alert.id, "")

        said = f"acknowledged as {self.operator}: {alert.node} {alert.message}"
        self.begin("acknowledge", f"acknowledge on {alert.node}", alert.node, send, then=lambda _: self.say(said))

    # ------------------------------------------------------------ looks and places

    def screen_text(self) -> str:
        """The screen as plain text."""
        return "\n".join(strip.text.rstrip() for strip in self.screen._compositor.render_strips())

    def set_look_named(self, name: str) -> None:
        """Another look from now on, and at the next start; empty is the one that fits the terminal.

        A terminal that cannot show it keeps the nearest.
        """
        self.look = look_for(name or default_name(self.terminal), self.terminal)
        self.theme = f"outstation-{self.look.name}"
        for screen in self.screen_stack:
            if isinstance(screen, Page):
                screen.set_look(self.look)
        self.say(f"theme {self.look.name}")
        self._keep("look", name)

    def set_link(self, name: LinkName | Literal[""]) -> None:
        """How often the fleet is looked at from now on, and at the next start; empty is as the terminal suggests."""
        if self._ticker is not None:
            self._ticker.stop()
        self.link = LINKS[name or self.terminal.suggested]
        self._ticker = self.set_interval(self.link.period_s, self.tick)
        self.say(f"link {self.link.name}: the fleet is looked at every {self.link.period_s:.0f} s")
        self._keep("link", name)

    def _keep(self, choice: Choice, value: str) -> None:
        keep = self.opened.keep if self.opened is not None else None
        if keep is not None:
            self.begin("choice", choice, "", lambda _: asyncio.to_thread(keep, choice, value), quiet=True)

    def go(self, screen: str, node: str = "") -> None:
        """Shows a place and remembers it."""
        self.way.go((screen, node))


async def _run(start: Background) -> None:
    await start()
