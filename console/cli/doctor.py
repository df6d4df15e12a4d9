"""`outstation doctor --term`: what this terminal can do, and what to do about what it cannot."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import termios
from typing import TYPE_CHECKING

from console.cli.arguments import add_verb
from console.cli.session import Session
from console.failure import FAILED, OK
from console.terminal.probe import Answers, ask

if TYPE_CHECKING:
    from console.terminal.check import Finding

SIGNS = {"good": " ", "less": "!", "bad": "X"}


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    doctor = add_verb(verbs, "doctor", examine, summary="what this terminal can do, with advice")
    doctor.add_argument(
        "--term", action="store_true", help="look at the terminal, which is what is looked at without it too"
    )


async def examine(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 when the app can hardly be used on this terminal."""
    from console.terminal.check import look  # the themes are Textual's, which no other verb waits for

    session.flush()
    size, answers = _terminal()
    encoding = getattr(sys.__stderr__, "encoding", None) or "ascii"
    found = look(os.environ, encoding, size, answers)
    if session.as_json:
        session.json([dataclasses.asdict(each) for each in found])
    else:
        _show(session, found)
    return FAILED if any(each.grade == "bad" for each in found) else OK


def _show(session: Session, found: list[Finding]) -> None:
    width = max(len(each.name) for each in found)
    for each in found:
        session.line(f"{SIGNS[each.grade]} {each.name.ljust(width)}  {each.value}")
        if each.advice:
            session.line(f"  {' ' * width}  -> {each.advice}")


def _terminal() -> tuple[tuple[int, int] | None, Answers | None]:
    """The size of the terminal that this runs on, and what it says of itself; None without one."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None, None
    try:
        size = os.get_terminal_size(terminal)
        quiet = os.environ.get("TERM", "") in ("", "dumb", "unknown")
        return (size.columns, size.lines), None if quiet else ask(terminal)
    except (OSError, termios.error):
        return None, None
    finally:
        os.close(terminal)
