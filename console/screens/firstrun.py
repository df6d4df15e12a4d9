"""The first hour: adding a node, and the demo. Neither changes anything in a plant."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from console.screens.askline import AskLineView
from console.screens.confirm import Change, ConfirmView
from console.seat.launch import EXIT_TO_DEMO
from console.seat.work import Work

if TYPE_CHECKING:
    from console.seat.seat import Seat

ADD_LINES = (
    "As on the command line: NAME [USER@]HOST[:PORT], and -J JUMP for a jump host, -i KEY, --site, --line, --machine, "
    "--socket; --unseen adds one that does not answer yet.",
    "The host key is shown and asked for; only then the console logs in. It reads: nothing on the node is changed.",
)


def ask_node(seat: Seat) -> None:
    """Adds a node by one line."""
    view = AskLineView(
        seat.look, "Add a node", ADD_LINES, yes="add it", hint="press-07 edge@10.0.3.7 --site graz", check=_wrong
    )
    seat.push_screen(view, lambda text: _add(seat, text))


def _wrong(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        return f"cannot be read: {error}"
    return "" if len(words) >= 2 else "a name and an address are needed: NAME USER@HOST"


def _add(seat: Seat, text: object) -> None:
    if not isinstance(text, str):
        return
    words = shlex.split(text)
    operations = seat.operations

    def added(work: Work) -> None:
        seat.say(f"{work.result} is in the fleet")
        seat.tick()

    seat.begin("node", f"add {words[0]}", "", lambda _: operations.add_node(words), then=added)


def ask_demo(seat: Seat) -> None:
    """Leaves the app for the demo, after a second step."""
    change = Change(
        title="Leave, and start the demo",
        what=("this console ends; a plant of real agents starts on this machine",),
        effect=("No node of a plant is touched. The demo keeps its files in a folder of its own and removes them.",),
        undo="q leaves the demo and stops its agents",
        yes="start the demo",
    )
    seat.push_screen(ConfirmView(seat.look, change), lambda yes: seat.exit(EXIT_TO_DEMO) if yes is True else None)
