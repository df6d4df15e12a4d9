"""How everything looks: one style a role, and which glyphs the terminal has. Colour never stands alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rich.style import Style

Role = Literal[
    "base",
    "dim",
    "strong",
    "head",
    "bar",
    "band",
    "selected",
    "alarm",
    "warn",
    "unknown",
    "maintenance",
    "ok",
    "key",
    "title",
]

Span = tuple[str, Role]
Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A named set of styles. `ascii` means: only ASCII glyphs; `braille` is false where fonts lack it."""

    name: str
    base: Style
    dim: Style
    strong: Style
    head: Style
    bar: Style
    band: Style
    selected: Style
    alarm: Style
    warn: Style
    unknown: Style
    maintenance: Style
    ok: Style
    key: Style
    title: Style
    ascii: bool = False
    braille: bool = True
    # The letters of what is dim on a ground that is not the ordinary one: they have to be read there too.
    dim_raised: str = ""

    def style(self, role: Role) -> Style:
        """The style of a role on the ordinary background."""
        found: Style = getattr(self, role)
        return found

    def on(self, ground: Style, role: Role) -> Style:
        """The style of a role on another ground (bar, band, selected row).

        On a reversed ground a reversed role stands out by not being reversed.
        """
        style = self.style(role)
        if role == "base":
            return ground
        if ground.reverse and style.reverse:
            return ground + style + Style(reverse=False, underline=True)
        if ground is self.band and not style.reverse:
            return ground + Style(underline=role == "warn")
        if ground.reverse:
            return ground + Style(bold=style.bold, underline=style.underline)
        if style.reverse:
            return style
        if self.dim_raised and role in ("dim", "ok", "head") and ground is not self.base:
            return ground + Style(color=self.dim_raised)
        return style + Style(bgcolor=ground.bgcolor, bold=ground.bold or style.bold)


def grey(*, ascii: bool = False, braille: bool = True) -> Look:  # noqa: A002
    """The default: quiet dark grey, three hues for what is abnormal."""
    back, text = "#2b2d30", "#c3c7cb"
    return Look(
        name="grey",
        base=Style(color=text, bgcolor=back),
        dim=Style(color="#9299a0", bgcolor=back),
        strong=Style(color="#eef1f3", bgcolor=back, bold=True),
        head=Style(color="#a9b0b6", bgcolor="#34373b"),
        bar=Style(color="#d3d7da", bgcolor="#3a3e43"),
        band=Style(color="#1d1f21", bgcolor="#d9c7a0", bold=True),
        selected=Style(color="#f2f4f5", bgcolor="#464c53"),
        alarm=Style(color="#ff6a60", bgcolor="#1d1f21", bold=True, reverse=True),
        warn=Style(color="#e8b93c", bgcolor=back, bold=True),
        unknown=Style(color="#d9b0d3", bgcolor=back),
        maintenance=Style(color="#a3c6e2", bgcolor=back),
        ok=Style(color="#9299a0", bgcolor=back),
        key=Style(color="#ffffff", bgcolor=back, bold=True),
        title=Style(color="#eef1f3", bgcolor=back, bold=True),
        ascii=ascii,
        braille=braille and not ascii,
        dim_raised="#b9bfc5",
    )


def daylight(*, ascii: bool = False, braille: bool = True) -> Look:  # noqa: A002
    """Light grey, for glare."""
    back, text = "#e2e2de", "#26282a"
    return Look(
        name="daylight",
        base=Style(color=text, bgcolor=back),
        dim=Style(color="#5c6063", bgcolor=back),
        strong=Style(color="#000000", bgcolor=back, bold=True),
        head=Style(color="#3c4042", bgcolor="#d3d3ce"),
        bar=Style(color="#1b1d1e", bgcolor="#c9c9c3"),
        band=Style(color="#f4f4f0", bgcolor="#4a3f22", bold=True),
        selected=Style(color="#000000", bgcolor="#b9c2c8"),
        alarm=Style(color="#a8001a", bgcolor="#ffffff", bold=True, reverse=True),
        warn=Style(color="#5c3d00", bgcolor=back, bold=True),
        unknown=Style(color="#652878", bgcolor=back),
        maintenance=Style(color="#1f4e79", bgcolor=back),
        ok=Style(color="#5c6063", bgcolor=back),
        key=Style(color="#000000", bgcolor=back, bold=True),
        title=Style(color="#000000", bgcolor=back, bold=True),
        ascii=ascii,
        braille=braille and not ascii,
        dim_raised="#44484b",
    )


def contrast(*, ascii: bool = False, braille: bool = True) -> Look:  # noqa: A002
    """Black and white for bad eyes, bad screens and glare: at least 7:1 everywhere (WCAG AAA)."""
    back, text = "#000000", "#ffffff"
    return Look(
        name="contrast",
        base=Style(color=text, bgcolor=back),
        dim=Style(color="#c8c8c8", bgcolor=back),
        strong=Style(color=text, bgcolor=back, bold=True),
        head=Style(color=text, bgcolor=back, underline=True),
        bar=Style(color=text, bgcolor="#262626"),
        band=Style(color="#000000", bgcolor="#ffe14d", bold=True),
        selected=Style(color=text, bgcolor="#1d3a63", bold=True),
        alarm=Style(color="#ff8078", bgcolor=back, bold=True, reverse=True),
        warn=Style(color="#ffe14d", bgcolor=back, bold=True),
        unknown=Style(color="#ffb8f2", bgcolor=back),
        maintenance=Style(color="#9fdcff", bgcolor=back),
        ok=Style(color="#c8c8c8", bgcolor=back),
        key=Style(color=text, bgcolor=back, bold=True),
        title=Style(color=text, bgcolor=back, bold=True),
        ascii=ascii,
        braille=braille and not ascii,
        dim_raised="#e4e4e4",
    )


def colourblind(*, ascii: bool = False, braille: bool = True) -> Look:  # noqa: A002
    """The dark grey with hues that stay apart without red, green or blue cones, after Okabe and Ito 2008."""
    back = "#26282b"
    return replace(
        grey(ascii=ascii, braille=braille),
        name="colourblind",
        base=Style(color="#c9cdd1", bgcolor=back),
        dim=Style(color="#9299a0", bgcolor=back),
        strong=Style(color="#f2f4f5", bgcolor=back, bold=True),
        selected=Style(color="#f2f4f5", bgcolor="#32415b"),
        alarm=Style(color="#f0703a", bgcolor="#141516", bold=True, reverse=True),
        warn=Style(color="#ffea4d", bgcolor=back, bold=True),
        unknown=Style(color="#dea8cc", bgcolor=back),
        maintenance=Style(color="#62b8f5", bgcolor=back),
        ok=Style(color="#9299a0", bgcolor=back),
        key=Style(color="#ffffff", bgcolor=back, bold=True),
        title=Style(color="#f2f4f5", bgcolor=back, bold=True),
    )


def sixteen(*, ascii: bool = False, braille: bool = True) -> Look:  # noqa: A002
    """The terminal's own colours, only 30 to 37: a Linux console has no bright ones."""
    plain, bold = Style(), Style(bold=True)
    return Look(
        name="sixteen",
        base=plain,
        dim=plain,
        strong=bold,
        head=Style(underline=True),
        bar=plain,
        band=Style(bold=True, reverse=True),
        selected=Style(reverse=True),
        alarm=Style(color="red", bold=True, reverse=True),
        warn=Style(color="yellow", bold=True),
        unknown=Style(color="magenta"),
        maintenance=Style(color="cyan"),
        ok=plain,
        key=bold,
        title=bold,
        ascii=ascii,
        braille=braille and not ascii,
    )


def mono(*, ascii: bool = False, braille: bool = True) -> Look:  # noqa: A002
    """No colour at all: weight and reverse carry it, and an alarm is still the loudest."""
    plain, bold = Style(), Style(bold=True)
    return Look(
        name="mono",
        base=plain,
        dim=plain,
        strong=bold,
        head=Style(underline=True),
        bar=plain,
        band=Style(bold=True, reverse=True),
        selected=Style(reverse=True),
        alarm=Style(bold=True, reverse=True),
        warn=bold,
        unknown=plain,
        maintenance=plain,
        ok=plain,
        key=bold,
        title=bold,
        ascii=ascii,
        braille=braille and not ascii,
    )


LOOKS = {
    "grey": grey,
    "daylight": daylight,
    "contrast": contrast,
    "colourblind": colourblind,
    "sixteen": sixteen,
    "mono": mono,
}
