"""What terminal this is and how far away: decided once from the environment, before Textual is imported."""

from __future__ import annotations

import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Colours = Literal["mono", "sixteen", "many"]
LinkName = Literal["lan", "ssh", "thin"]


class TerminalRefused(Exception):
    """This is no terminal that a screen can be drawn on. The text says what to use instead."""


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """How often the screen is drawn. `period_s` is between looks at the fleet, `frames_per_s` the most ever sent."""

    name: LinkName
    period_s: float
    frames_per_s: int
    mouse: bool


LINKS: Final[Mapping[LinkName, LinkProfile]] = {
    "lan": LinkProfile("lan", period_s=1.0, frames_per_s=60, mouse=True),
    "ssh": LinkProfile("ssh", period_s=2.0, frames_per_s=20, mouse=False),
    "thin": LinkProfile("thin", period_s=5.0, frames_per_s=15, mouse=False),
}


@dataclass(frozen=True, slots=True)
class Terminal:
    """What can be shown. `tmux` means: the clipboard has a second way. `suggested`: the link if nobody chose one."""

    term: str
    colours: Colours
    ascii: bool
    braille: bool
    link: LinkProfile
    tmux: bool = False
    suggested: LinkName = "lan"


def detect(
    environ: Mapping[str, str],
    encoding: str,
    *,
    ascii: bool = False,  # noqa: A002
    link: LinkName | None = None,
) -> Terminal:
    """The terminal that `environ` and the encoding of the output describe. Raises TerminalRefused for none."""
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise TerminalRefused(
            f"TERM is {term!r}: no screen can be drawn here. "
            "Use `outstation --plain` or `outstation status`, or set TERM=xterm-256color."
        )
    many = term.endswith(("256color", "direct", "kitty", "ghostty", "alacritty")) or "COLORTERM" in environ
    colours: Colours = "many" if many and term != "linux" else "sixteen"
    if "NO_COLOR" in environ:
        colours = "mono"
    only_ascii = ascii or environ.get("OUTSTATION_ASCII", "0") not in ("", "0") or not _is_utf8(encoding)
    far = any(name in environ for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))
    return Terminal(
        term=term,
        colours=colours,
        ascii=only_ascii,
        braille=not only_ascii and term not in ("linux", "vt100", "vt102", "vt220", "cons25"),
        link=LINKS[link or ("ssh" if far else "lan")],
        tmux="TMUX" in environ,
        suggested="ssh" if far else "lan",
    )


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") in ("utf8", "cp65001")


def environment(terminal: Terminal) -> dict[str, str]:
    """What Textual is to find in the environment when it is imported; what the person set already wins."""
    wanted = {
        "TEXTUAL_FPS": str(terminal.link.frames_per_s),
        "TEXTUAL_ANIMATIONS": "none",
        "TEXTUAL_SMOOTH_SCROLL": "0",
        "TEXTUAL_DISABLE_KITTY_KEY": "1",
    }
    if terminal.link.name != "lan":
        wanted["ESCDELAY"] = "250"
    if terminal.colours == "many" and terminal.link.name != "lan":
        wanted["TEXTUAL_COLOR_SYSTEM"] = "256"
    return wanted


def is_gone(fileno: int) -> bool:
    """Whether the terminal behind a descriptor has hung up."""
    poll = select.poll()
    poll.register(fileno, 0)
    events = poll.poll(0)
    return bool(events) and bool(events[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL))
