"""The entry of the app: looks at the terminal, sets up what Textual reads at import, and only then imports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from console.clipboard import clip_file
from console.terminal import LinkName, TerminalRefused, detect, environment
from console.times import Clock, SystemClock

if TYPE_CHECKING:
    from console.asking import SeatPrompter
    from console.operations import Operations
    from console.view import Fleet

EXIT_USAGE = 2


def run(
    fleet: Fleet,
    operations: Operations,
    *,
    operate: bool = False,
    ascii: bool = False,  # noqa: A002
    link: LinkName | None = None,
    look: str = "",
    thin: bool = True,
    background: Sequence[Callable[[], Awaitable[None]]] = (),
    prompter: SeatPrompter | None = None,
    clock: Clock | None = None,
) -> int:
    """Runs the app until the person leaves; the exit code of the process.

    `background` is started after the first paint, in the app's own loop: what connects and keeps `fleet` goes there.
    `prompter` is what the links ask a person with. `look` and `link` win over what the terminal suggests.
    """
    encoding = getattr(sys.__stderr__, "encoding", None) or "ascii"
    try:
        terminal = detect(os.environ, encoding, ascii=ascii, link=link)
    except TerminalRefused as refusal:
        print(refusal, file=sys.stderr)
        return EXIT_USAGE
    for name, value in environment(terminal).items():
        os.environ.setdefault(name, value)
    from console.seat import Seat

    seat = Seat(
        fleet,
        operations,
        terminal=terminal,
        clock=clock or SystemClock(),
        clip_file=clip_file(os.path.expanduser("~")),
        operate=operate,
        look=look,
        thin=thin,
        background=background,
    )
    if prompter is not None:
        prompter.attach(seat)
    code = seat.run(mouse=terminal.link.mouse)
    return code or seat.return_code or 0
