"""Alert rules: a figure of the node against a limit, in the words of ISA-18.2. Parsed from TOML; pure.

[[alert]]
code = "HOST.TEMPERATURE"   # names the alert; that of a default takes its other keys from the default
figure = "host.temperature_c"
high = 85                   # or `low`, or both
deadband = 4                # clears only when the figure is better than the limit by this much
on_delay = "10s"            # raised once the figure stood beyond the limit for so long
off_delay = "60s"           # cleared once it stood within for so long
priority = 2                # 1, the highest, to 4
advice = "Check the fan."
only = "press"              # one subject alone: a bundle, or bundle/source
enabled = false             # this rule, and what it takes the place of, is switched off

A bundle's pipeline.toml holds rules for figures of its own; what the operator sets on the node comes before them, and
both before the defaults. `allowed` words and every wrong value are named with their line.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from nodeagent.health.measures import MEASURES
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import locate
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.section import Document
from nodeagent.pipeline.typed import typed

FILE_BYTES_MAX: Final = 64 << 10
RULES_MAX: Final = 128
TEXT_CHARS_MAX: Final = 200
DELAY_S_MAX: Final = 86_400.0
OPERATOR: Final = "operator"
DEFAULT: Final = "default"
_CODE: Final = re.compile(r"[A-Z][A-Z0-9]{0,31}(\.[A-Z][A-Z0-9_]{0,31}){1,3}")
_SYNTAX: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
# Raised by the agent itself: no figure stands behind them. They can be shelved, not measured otherwise.
OWN_CODES: Final = frozenset(
    {"MODEL.ALARM", "NODE.SAFE", "HOLD", "OUT_OF_SERVICE.OVERDUE", "TRIAL.ROLLED_BACK", "BLOB.DAMAGED",
     "BINDINGS.EDITED", "CHANGE.EMERGENCY", "SYSLOG.BEHIND", "RULES.UNREADABLE"}
)  # fmt: skip

_Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]


class RuleOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of an `[[alert]]`."""

    code: str
    figure: str = ""
    high: float | None = None
    low: float | None = None
    deadband: float = 0.0
    on_delay: Seconds = Seconds(0.0)
    off_delay: Seconds = Seconds(0.0)
    priority: Annotated[int, msgspec.Meta(ge=1, le=4)] = 3
    message: _Text = ""
    advice: _Text = ""
    only: _Text = ""
    enabled: bool = True


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule as it is carried out. `origin`: default, operator, or the bundle that brought it."""

    options: RuleOptions
    origin: str

    def concerns(self, subject: str, bundle: str) -> bool:
        """Whether it is about this subject. A bundle's rule is about that bundle alone."""
        if self.origin not in (OPERATOR, DEFAULT) and self.origin != bundle:
            return False
        return self.options.only in ("", subject, bundle)


def parse(text: str, *, file: str, origin: str, defaults: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """The rules of a file of rules. Raises ConfigError for the first thing that is wrong, with its line."""
    if len(text.encode()) > FILE_BYTES_MAX:
        raise ConfigError(file, 0, "", f"longer than {FILE_BYTES_MAX} bytes")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _SYNTAX.search(str(error))
        line = int(place[1]) if place and place[1] else len(text.splitlines())
        raise ConfigError(file, line, "", _SYNTAX.sub("", str(error))) from error
    document = Document(file=file, lines=locate(text))
    for key in raw:
        if key != "alert":
            raise document.error((key,), "unknown key", ("alert",))
    return read(raw, document, origin=origin, defaults=defaults)


def read(raw: Mapping[str, Any], document: Document, *, origin: str, defaults: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """The `[[alert]]` tables of a document that is parsed already. Raises ConfigError."""
    tables = raw.get("alert", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise document.error(("alert",), "written [[alert]]")
    if len(tables) > RULES_MAX:
        raise document.error(("alert",), f"more than {RULES_MAX} of them")
    known = {rule.options.code: rule.options for rule in defaults}
    seen: set[tuple[str, str]] = set()
    found = []
    for at, table in enumerate(tables):
        path = ("alert", at)
        typed(document, path, table, RuleOptions, complete=False)
        for key in table:
            if key not in RuleOptions.__struct_fields__:
                raise document.error((*path, key), "unknown key", RuleOptions.__struct_fields__)
        options, given = typed(document, path, table, RuleOptions, complete=True)
        assert isinstance(options, RuleOptions)
        _check_code(document, path, options.code)
        if (base := known.get(options.code)) is not None:
            options = _over(base, options, given)
        _check(document, path, options, own=origin not in (OPERATOR, DEFAULT))
        if (options.code, options.only) in seen:
            raise document.error((*path, "code"), f"there is a rule {options.code} for this already")
        seen.add((options.code, options.only))
        found.append(Rule(options, origin))
    return tuple(found)


def in_words(options: RuleOptions) -> str:
    """What it looks at and its limits, with units, such as `the processor has over 85 °C, clears 4 °C within`."""
    measure = MEASURES[options.figure]
    limits = [
        f"{word} {measure.shown(value)}"
        for word, value in (("over", options.high), ("under", options.low))
        if value is not None
    ]
    deadband = f", clears {measure.shown(options.deadband)} within" if options.deadband else ""
    return f"{measure.what} {' or '.join(limits)}{deadband}"


def _check_code(document: Document, path: tuple[str | int, ...], code: str) -> None:
    if code in OWN_CODES:
        raise document.error((*path, "code"), f"{code} is raised by the agent itself; shelve it where it is known")
    if not _CODE.fullmatch(code):
        raise document.error((*path, "code"), 'a code is words in capitals with a dot, such as "PUMP.HOT"')


def _over(base: RuleOptions, options: RuleOptions, given: Mapping[str, Any]) -> RuleOptions:
    """A default with what is given in its place; another limit takes the place of both limits of the default."""
    if "high" in given or "low" in given:
        base = msgspec.structs.replace(base, high=None, low=None)
    return msgspec.structs.replace(base, **given)


def _check(document: Document, path: tuple[str | int, ...], options: RuleOptions, *, own: bool) -> None:
    if not options.figure:
        raise document.error(path, "'figure' is missing")
    names = [name for name, measure in MEASURES.items() if not own or measure.of_bundle]
    if options.figure not in names:
        raise document.error((*path, "figure"), f"there is no {options.figure!r}", names)
    if options.high is None and options.low is None:
        raise document.error(path, "'high' or 'low' is missing")
    for key in ("high", "low", "deadband"):
        value = getattr(options, key)
        if value is not None and not math.isfinite(value):
            raise document.error((*path, key), "is a finite number")
    if options.deadband < 0:
        raise document.error((*path, "deadband"), "is 0 or more")
    for key in ("on_delay", "off_delay"):
        if getattr(options, key) > DELAY_S_MAX:
            raise document.error((*path, key), f"is at most {DELAY_S_MAX / 3600:.0f}h")
    if options.high is not None and options.low is not None and options.low + options.deadband >= options.high:
        raise document.error((*path, "low"), "is below high by more than the deadband")
