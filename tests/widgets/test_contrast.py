"""Each look of our own colours can be read: WCAG 2.1 contrast of every role on every ground, by computation.

Relative luminance and contrast ratio are those of WCAG 2.1 (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio); what a
colour-blind person sees is by the matrices of Machado, Oliveira and Fernandes 2009 for the whole lack of a cone.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, get_args

import pytest
from rich.color import ColorSystem, ColorType
from rich.style import Style

from widgets.look import LOOKS, Look, Role

TEXT_RATIO_MIN: Final = 4.5
GLYPH_RATIO_MIN: Final = 3.0
# The difference (CIE 1976) that is seen at once beside each other.
APART_MIN: Final = 20.0
OWN: Final = tuple(name for name, make in LOOKS.items() if make().base.color is not None)
ROLES: Final[tuple[Role, ...]] = get_args(Role)
GROUNDS: Final[tuple[Role, ...]] = ("base", "head", "bar", "band", "selected")
STATES: Final[tuple[Role, ...]] = ("alarm", "warn", "unknown", "maintenance")
SEEN: Final = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
Linear = tuple[float, float, float]


def linear(style: Style, *, back: bool = False) -> Linear:
    """The colour of the letters (or behind them) as linear RGB."""
    color = style.bgcolor if back != bool(style.reverse) else style.color
    assert color is not None
    r, g, b = (c / 255 for c in color.get_truecolor())
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b))  # type: ignore[return-value]


def luminance(rgb: Linear) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def ratio(style: Style) -> float:
    light, dark = sorted((luminance(linear(style)), luminance(linear(style, back=True))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def as_seen(rgb: Linear, kind: str) -> Linear:
    return tuple(min(1.0, max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True)))) for row in SEEN[kind])  # type: ignore[return-value]


def lab(rgb: Linear) -> Linear:
    r, g, b = rgb
    x, y, z = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        luminance(rgb),
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def apart(one: Linear, other: Linear) -> float:
    return sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5


def hue(look: Look, state: Role) -> Linear:
    """What colour a state is known by: behind its word where it is reversed."""
    style = look.style(state)
    return linear(style, back=bool(style.reverse))


def as_256(style: Style) -> Style:
    """What a terminal of 256 colours is sent."""
    assert style.color is not None
    assert style.bgcolor is not None
    return style + Style(
        color=style.color.downgrade(ColorSystem.EIGHT_BIT), bgcolor=style.bgcolor.downgrade(ColorSystem.EIGHT_BIT)
    )


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_role_can_be_read_on_every_ground(name: str, ground: Role) -> None:
    look = LOOKS[name]()
    assert ratio(look.style(ground)) >= TEXT_RATIO_MIN
    for role in set(ROLES) - set(GROUNDS):
        style = look.on(look.style(ground), role)
        assert ratio(style) >= TEXT_RATIO_MIN, (role, round(ratio(style), 2))


@pytest.mark.parametrize("name", OWN)
def test_every_role_can_be_read_in_256_colours_too(name: str) -> None:
    look = LOOKS[name]()
    for role in ROLES:
        assert as_256(look.style(role)).color.type is ColorType.EIGHT_BIT  # type: ignore[union-attr]
        assert ratio(as_256(look.style(role))) >= TEXT_RATIO_MIN, (role, round(ratio(as_256(look.style(role))), 2))


@pytest.mark.parametrize("name", OWN)
def test_the_row_of_the_cursor_is_seen_among_the_others(name: str) -> None:
    """A row is known by its ground, or by letters that are a glyph's contrast away from the ordinary ones."""
    look = LOOKS[name]()
    assert apart(linear(look.selected, back=True), linear(look.base, back=True)) >= APART_MIN / 2


def test_the_highest_contrast_is_that_of_wcag_aaa() -> None:
    look = LOOKS["contrast"]()
    for role in ROLES:
        assert ratio(look.style(role)) >= 7.0, role


@pytest.mark.parametrize("kind", SEEN)
def test_a_colour_blind_person_tells_the_states_of_colourblind_apart(kind: str) -> None:
    look = LOOKS["colourblind"]()
    for one, other in combinations(STATES, 2):
        seen = apart(as_seen(hue(look, one), kind), as_seen(hue(look, other), kind))
        assert seen >= APART_MIN, (one, other, round(seen, 1))
