"""Looks by name, and each of them as a Textual theme, so that Textual's own parts wear it too."""

from __future__ import annotations

from rich.style import Style
from textual.theme import Theme

from console.terminal.terminal import Terminal
from widgets.look import LOOKS, Look


def default_name(terminal: Terminal) -> str:
    """The look that fits a terminal when the person has not chosen one."""
    return {"mono": "mono", "sixteen": "sixteen", "many": "grey"}[terminal.colours]


def look_for(name: str, terminal: Terminal) -> Look:
    """The look of that name with the glyphs that the terminal has. Raises KeyError for an unknown name.

    A terminal without colours wears `mono` and one with sixteen `sixteen`, whatever was asked for.
    """
    if terminal.colours == "mono":
        name = "mono"
    elif terminal.colours == "sixteen" and name != "mono":
        name = "sixteen"
    return LOOKS[name](ascii=terminal.ascii, braille=terminal.braille)


def textual_theme(look: Look) -> Theme:
    """The theme under a look."""
    name = f"outstation-{look.name}"
    if look.base.color is None:
        return Theme(
            name=name,
            ansi=True,
            primary="ansi_default",
            foreground="ansi_default",
            background="ansi_default",
            surface="ansi_default",
            panel="ansi_default",
            boost="ansi_default",
            variables={"ansi-background": "ansi_black", "ansi-foreground": "ansi_white"},
        )
    text, back = _hex(look.base)
    _, bar = _hex(look.bar)
    warn, _ = _hex(look.warn)
    alarm, _ = _hex(look.alarm)
    return Theme(
        name=name,
        dark=look.name != "daylight",
        primary=text,
        secondary=text,
        accent=text,
        success=text,
        foreground=text,
        background=back,
        surface=back,
        panel=bar,
        warning=warn,
        error=alarm,
    )


def _hex(style: Style) -> tuple[str, str]:
    assert style.color is not None
    assert style.bgcolor is not None
    return style.color.name, style.bgcolor.name
