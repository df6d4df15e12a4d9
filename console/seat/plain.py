"""`outstation --plain`: the same verbs line by line, for screen readers, serial lines and dumb terminals.

A prompt, one verb a line, and what changes in the fleet as lines of its own between them; no cursor is addressed and
no colour sent. Each verb is a process of its own, so that ctrl-c ends `logs -f` and nothing else. What changes while
one runs is told after it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from console.client.clean import clean
from console.diode.watch import DiodeDesk
from console.fleet.board import Board, survey
from console.fleet.fleet import LiveFleet
from console.fleet.news import news, settled, summary
from console.fleet.view import Fleet, NodeAddress
from console.home import Home, address_of, find_home, operator_name
from console.seat.commands import COMMANDS
from console.seat.prompts import Nobody
from console.seat.verbs import verb_of
from console.times import Clock, SystemClock

PROMPT = "outstation> "
LOOK_S = 1.0
SETTLE_S = 8.0
LINE_CHARS_MAX = 4_096
LEAVING = ("quit", "exit", "q")
OWN = (
    ("help [WORD]", "This list, or what has WORD in it"),
    ("VERB --help", "Every option of a verb"),
    ("changes on|off", "Whether changes of the fleet are told as they come"),
    ("quit", "Leave; nodes go on by themselves"),
)


def help_lines(word: str = "") -> list[str]:
    """The verbs of every command that has one, from the table of commands."""
    seen, lines = set(), []
    for command in COMMANDS:
        verb = verb_of(command)
        if verb and verb not in seen:
            seen.add(verb)
            lines.append(f"{verb}: {command.help}")
    lines += [f"{usage}: {what}" for usage, what in OWN]
    return [line for line in lines if word.casefold() in line.casefold()] or [f"nothing is called {word}"]


class Told:
    """What the person has been told of the fleet; `look` gives what is new."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet, self._clock = fleet, clock
        self._began_s = clock.monotonic_s()
        self._board: Board | None = None

    def look(self) -> list[str]:
        """The fleet in a sentence once every node has answered or SETTLE_S have passed, and from then on changes."""
        now_s = self._clock.monotonic_s()
        board = survey(self._fleet.views(), now_s, self._clock.epoch_s())
        if self._board is None:
            if not settled(board) and now_s - self._began_s < SETTLE_S:
                return []
            self._board = board
            return [summary(board)]
        lines = news(self._board, board)
        self._board = board
        return lines


class Plain:
    """The prompt. `command` is what a verb's words are put behind; `after` is done after each verb."""

    def __init__(
        self, command: list[str], told: Told, keys: TextIO, out: TextIO, after: Callable[[], Awaitable[None]]
    ) -> None:
        self._command, self._told, self._keys, self._out, self._after = command, told, keys, out, after
        self._prompting = False
        self.telling = True

    def tell(self) -> None:
        """Tells what is new, unless a verb is running."""
        if not self.telling or not self._prompting:
            return
        lines = self._told.look()
        if lines:
            self._write("\n" + "".join(f"{clean(line)}\n" for line in lines) + PROMPT)

    async def run(self) -> int:
        """Until the person leaves; the exit code."""
        self._write("outstation, line by line. help lists the verbs, quit leaves.\n")
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        while True:
            self._write(PROMPT)
            self._prompting = True
            line = await self._line()
            self._prompting = False
            if not line:
                self._write("\n")
                return 0
            if not await self._do(line):
                return 0

    async def _do(self, line: str) -> bool:
        """One line of the person's; False to leave."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            self._write(f"{error}: close the quotes\n")
            return True
        if words[:1] == ["outstation"]:
            words = words[1:]
        if not words:
            return True
        if words[0] in LEAVING:
            return False
        if words[0] in ("help", "?"):
            self._write("".join(f"{text}\n" for text in help_lines(" ".join(words[1:]))))
        elif words[0] == "changes" and words[1:] in (["on"], ["off"]):
            self.telling = words[1] == "on"
            self._write(f"changes are {'told' if self.telling else 'not told'}\n")
        elif words[0].startswith("-"):
            self._write(f"{clean(words[0], 80)} is no verb: help lists them\n")
        else:
            await self._verb(words)
        return True

    async def _verb(self, words: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(*self._command, *words)
        code = await process.wait()
        if code > 0:
            self._write(f"exit code {code}\n")
        await self._after()

    def _interrupted(self) -> None:
        """Ctrl-c: the verb that runs gets it from the terminal itself; the prompt stays."""
        if self._prompting:
            self._write(f"\nquit leaves\n{PROMPT}")

    async def _line(self) -> str:
        """One line; "" at the end. Not by the loop's own threads: leaving does not wait for a line."""
        loop, read = asyncio.get_running_loop(), asyncio.Future[str]()

        def settle(line: str) -> None:
            if not read.done():
                read.set_result(line)

        def wait() -> None:
            try:
                line = self._keys.readline(LINE_CHARS_MAX)
            except (OSError, ValueError):
                line = ""
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, line)

        threading.Thread(target=wait, name="plain-line", daemon=True).start()
        return await read

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _addresses(home: Home) -> list[NodeAddress]:
    with home.open_catalog() as catalog:
        return [address_of(row) for row in catalog.nodes()]


@asynccontextmanager
async def _watched(home: Home, operator: str) -> AsyncIterator[LiveFleet]:
    """The console's own fleet, watched with what needs no question: verbs ask for passphrases, the watch does not."""
    from console.link.ready import make_pool

    diode = DiodeDesk(home.catalog)
    fleet = LiveFleet(_addresses(home), make_pool(home, Nobody()), operator=operator, diode=diode)
    watching = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await fleet.aclose()
        diode.close()


async def _session(home: Home, operator: str) -> int:
    command = [sys.executable, "-m", "console", "--home", str(home.path), "--operator", operator]
    async with _watched(home, operator) as fleet:

        async def after() -> None:
            """Nodes that the verb added or took away."""
            now = {address.name: address for address in await asyncio.to_thread(_addresses, home)}
            for name in set(fleet.views()) - set(now):
                await fleet.remove(name)
            for name in set(now) - set(fleet.views()):
                fleet.add(now[name])

        plain = Plain(command, Told(fleet, SystemClock()), sys.stdin, sys.stdout, after)

        async def tell() -> None:
            while True:
                await asyncio.sleep(LOOK_S)
                plain.tell()

        telling = asyncio.create_task(tell())
        try:
            return await plain.run()
        finally:
            telling.cancel()


def run_plain(args: argparse.Namespace) -> int:
    """Until the person leaves or the line is gone; the exit code."""
    from console.failure import EXPECTED, account

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        home, operator = find_home(args.home, os.environ), operator_name(args.operator, os.environ)
        return asyncio.run(_session(home, operator))
    except (ValueError, *EXPECTED) as error:
        print("\n".join(account(error).lines()), file=sys.stderr)
        return 2
