"""The entry of the app: looks at the terminal, sets up what Textual reads at import, and only then imports it."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from console.terminal.clipboard import clip_file
from console.terminal.terminal import LinkName, TerminalRefused, detect, environment
from console.times import Clock, SystemClock

if TYPE_CHECKING:
    from console.seat.asking import SeatPrompter
    from console.seat.opening import Opened, Opening

EXIT_USAGE = 2


def run(
    opening: Opened | Opening,
    *,
    operator: str,
    operate: bool = False,
    ascii: bool = False,  # noqa: A002
    link: LinkName | None = None,
    look: str = "",
    thin: bool = True,
    prompter: SeatPrompter | None = None,
    clock: Clock | None = None,
    record: str = "",
) -> int:
    """Runs the app until the person leaves; the exit code of the process.

    `opening` is the fleet, or what opens it: then it is called in a thread after the first paint, so that nothing it
    imports is waited for. Its background work runs in the app's own loop and ends with it. `prompter` is what the
    links ask a person with. `look` and `link` win over what the terminal suggests. `record` is a file that is not
    there yet, for what the screen shows.
    """
    encoding = getattr(sys.__stderr__, "encoding", None) or "ascii"
    try:
        terminal = detect(os.environ, encoding, ascii=ascii, link=link)
    except TerminalRefused as refusal:
        print(refusal, file=sys.stderr)
        return EXIT_USAGE
    for name, value in environment(terminal).items():
        os.environ.setdefault(name, value)
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # A shell that exports them would win over the terminal's own size.
    # What is imported stays: nothing is gained by looking for garbage among it on the way to the first paint.
    gc.disable()
    from console.seat.keymap import from_environment
    from console.seat.seat import Seat

    gc.freeze()
    gc.enable()

    keymap, refused = from_environment()
    seat = Seat(
        opening,
        operator=operator,
        terminal=terminal,
        clock=clock or SystemClock(),
        clip_file=clip_file(os.path.expanduser("~")),
        operate=operate,
        look=look,
        thin=thin,
        keymap=keymap,
    )
    if record:
        from console.terminal.cast import CastRefused, Recording

        seat.recording = Recording(Path(record).expanduser(), SystemClock(), term=terminal.term)
        try:
            seat.recording.begin()
        except CastRefused as error:
            print(f"outstation: {error}", file=sys.stderr)
            return EXIT_USAGE
    if refused:
        seat.first_words = f"your keys are not used: {refused}"
    if prompter is not None:
        prompter.attach(seat)
    try:
        code = seat.run(mouse=terminal.link.mouse)
    finally:
        if seat.opened is not None and seat.opened.close is not None:
            seat.opened.close()
    return code or seat.return_code or 0
