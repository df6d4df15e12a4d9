"""How a rollout goes, as a TOML file says: which nodes, in which waves, how long each is watched, what stops it.

Strict: an unknown key is an error with its line. Times are written `90s`, `10m`, `2h`, `1d`.
"""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from console.delivery.gate import GateOrder, ShadowOrder
from console.rollout.policy_lines import line_of
from console.transfer.budget import parse_rate
from nodeagent.protocol import SHADOW_S_MAX, TRIAL_WINDOW_S_MAX, TRIAL_WINDOW_S_MIN

FILE_BYTES_MAX = 64 << 10
DURATION_S_MAX = 30 * 86_400.0
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|d)$")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PERCENT = re.compile(r"^(\d{1,3})%$")
_CLOCK = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)$")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_SYNTAX = re.compile(r" \(at line (\d+), column \d+\)$")
# Key -> the field that holds it in seconds.
_DURATIONS = {
    ("trial", "window"): "window_s",
    ("trial", "soak"): "soak_s",
    ("waves", "soak"): "soak_s",
    ("failures", "unreachable"): "unreachable_s",
    ("shadow", "for"): "shadow_s",
}

Count = Annotated[int, msgspec.Meta(ge=1, le=5_000)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Ratio = Annotated[float, msgspec.Meta(gt=0.0, le=1_000.0)]


class PolicyError(Exception):
    """The file cannot be used. `line` from 1, 0: the whole file; `key` is its dotted path."""

    def __init__(self, message: str, *, key: str = "", line: int = 0) -> None:
        place = f"line {line}: " if line else ""
        super().__init__(f"{place}{f'{key}: ' if key else ''}{message}")
        self.message, self.key, self.line = message, key, line


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Select(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which nodes. Names are patterns (`press-*`); an empty list is all. `running`: only where the bundle runs now."""

    nodes: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    exclude: tuple[str, ...] = ()
    running: bool = True


class Waves(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The canary first (a count, or names), then cumulative `steps` (`25%` of all, or a count), or a wave a line or
    site. `soak_s`: how long committed nodes are watched before the next wave. `concurrency`: trials at once.
    """

    canary: Annotated[int, msgspec.Meta(ge=0, le=5_000)] | tuple[str, ...] = 1
    steps: tuple[Count | str, ...] = ()
    by: Literal["", "line", "site"] = ""
    soak_s: float = 600.0
    concurrency: Count = 4


class Redundancy(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that stand in for each other: never two of a group in one wave. By a label's value, or listed."""

    label: str = ""
    groups: tuple[tuple[str, ...], ...] = ()


class TrialRules(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node goes back by itself after `window_s`; it is confirmed when its trial ran for `soak_s`."""

    window_s: float = 600.0
    soak_s: float = 120.0


class Failures(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many failures in a wave (a count, or a share of its nodes) stop the rollout. `retries`: of what was only
    interrupted or not confirmed in time. A node that is silent for `unreachable_s` is owed, or unknown.
    """

    threshold: Count | str = 1
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    unreachable_s: float = 120.0


class Window(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """When nodes may be switched, by the console's clock in `zone`. Staging and confirming are not bound to it."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    start: str = "00:00"
    end: str = "00:00"
    zone: str = "UTC"


class Limits(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the new revision may be worse by than the one before it. A limit that is not given is not looked at."""

    errors_share_max: Share | None = 0.01
    latency_ms_p95_ratio_max: Ratio | None = 2.0
    rate_ratio_min: Ratio | None = 0.8
    rejects_share_rise_max: Share | None = 0.05
    score_share_rise_max: Share | None = None
    quality_share_drop_max: Share | None = 0.05
    restarts_max: Annotated[int, msgspec.Meta(ge=0)] | None = 0
    predictions_min: Annotated[int, msgspec.Meta(ge=0)] = 20
    unknown: Literal["pause", "accept"] = "pause"


class Recorder(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the candidate has to show on a node's own last `rows` recorded inputs before its switch; 0 rows: nothing.

    A limit that is not given is not looked at. `unknown`: what a verdict that cannot be reached does.
    """

    rows: Annotated[int, msgspec.Meta(ge=0, le=20_000)] = 1_000
    rows_min: Annotated[int, msgspec.Meta(ge=1, le=20_000)] = 50
    agreement_min: Share = 0.9
    score_shift_max: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    latency_ms_p95_max: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    latency_ratio_max: Ratio | None = None
    unknown: Literal["accept", "refuse"] = "accept"

    def order(self) -> GateOrder | None:
        """As a node is asked; None: it is not."""
        if self.rows == 0:
            return None
        return GateOrder(
            rows=self.rows,
            rows_min=self.rows_min,
            agreement_min=self.agreement_min,
            score_shift_max=self.score_shift_max,
            latency_ms_p95_max=self.latency_ms_p95_max,
            latency_ratio_max=self.latency_ratio_max,
            known=self.unknown == "refuse",
        )


class Transfer(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the bundle's bytes go. `budget`: all uploads together take at most this (`2MB/s`); empty: the link's pace.

    `difference`: send what makes a file of the one that a node holds, where that is less. `seed`: `jump`, or a node's
    name: what goes to several nodes behind one jump host crosses the way there once.
    """

    budget: str = ""
    difference: bool = True
    seed: Annotated[str, msgspec.Meta(max_length=64)] = ""

    @property
    def bytes_per_s(self) -> float | None:
        """The budget; None: there is none."""
        return parse_rate(self.budget) if self.budget else None


class ShadowRules(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the candidate is fed live beside what runs before its switch, 0: not at all, and what it has to show."""

    shadow_s: float = 0.0
    rows_min: Annotated[int, msgspec.Meta(ge=1)] = 50
    agreement_min: Share = 0.9
    score_shift_max: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    latency_ratio_max: Ratio | None = None
    unknown: Literal["accept", "refuse"] = "refuse"

    def order(self) -> ShadowOrder | None:
        """As a node is asked; None: it is not."""
        if not self.shadow_s:
            return None
        return ShadowOrder(
            seconds=self.shadow_s,
            rows_min=self.rows_min,
            agreement_min=self.agreement_min,
            score_shift_max=self.score_shift_max,
            latency_ratio_max=self.latency_ratio_max,
            known=self.unknown == "refuse",
        )


class Policy(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy. `stage = "everywhere"`: every node has the bundle before the first one is switched."""

    name: str = ""
    stage: Literal["everywhere", "wave"] = "everywhere"
    success: Literal["next", "pause"] = "next"
    select: Select = Select()
    waves: Waves = Waves()
    redundancy: Redundancy = Redundancy()
    trial: TrialRules = TrialRules()
    failures: Failures = Failures()
    window: Window | None = None
    gate: Limits = Limits()
    recorder: Recorder = Recorder()
    shadow: ShadowRules = ShadowRules()
    transfer: Transfer = Transfer()


def parse_policy(text: str) -> Policy:
    """The policy that `text` says. Raises PolicyError with the line and the key."""
    if len(text.encode()) > FILE_BYTES_MAX:
        raise PolicyError(f"a policy has at most {FILE_BYTES_MAX} bytes")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _SYNTAX.search(str(error))
        raise PolicyError(_SYNTAX.sub("", str(error)), line=int(place[1]) if place else 0) from error
    for path, field in _DURATIONS.items():
        _to_seconds(text, document, path, field)
    try:
        policy = msgspec.convert(document, Policy)
    except msgspec.ValidationError as error:
        raise _located(text, str(error)) from error
    for keys, message in _wrong(policy):
        raise PolicyError(message, key=".".join(keys), line=line_of(text, keys))
    return policy


def percent_or_count(step: int | str, total: int) -> int:
    """`25%` of `total`, rounded up, or the count itself; at most `total`."""
    if isinstance(step, int):
        return min(step, total)
    return min(total, -(-total * int(step.removesuffix("%")) // 100))


def _to_seconds(text: str, document: dict[str, Any], path: tuple[str, str], field: str) -> None:
    table = document.get(path[0])
    if not isinstance(table, dict):
        return
    if field in table:  # The field's own name is not a key of the file.
        raise PolicyError("unknown key", key=f"{path[0]}.{field}", line=line_of(text, (path[0], field)))
    if path[1] not in table:
        return
    value = table.pop(path[1])
    match = _DURATION.match(value) if isinstance(value, str) else None
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else -1.0
    if not 0.0 <= seconds <= DURATION_S_MAX:
        raise PolicyError(
            f"{value!r} is not a time such as 90s, 10m or 2h", key=".".join(path), line=line_of(text, path)
        )
    table[field] = seconds


def _located(text: str, message: str) -> PolicyError:
    place, unknown = _PLACE.search(message), _UNKNOWN.search(message)
    path = re.sub(r"\[[^\]]*\]", "", place[1]).split(".") if place and place[1] else []
    path += [unknown[1]] if unknown else []
    said = "unknown key" if unknown else _PLACE.sub("", message)
    return PolicyError(said, key=".".join(path), line=line_of(text, path))


def _wrong(policy: Policy) -> list[tuple[tuple[str, ...], str]]:
    """What the types cannot say."""
    found: list[tuple[tuple[str, ...], str]] = []
    waves, trial = policy.waves, policy.trial
    if waves.by and waves.steps:
        found.append((("waves", "steps"), f"not together with by = {waves.by!r}"))
    sizes = [percent_or_count(step, 10_000) for step in waves.steps if isinstance(step, int) or _is_percent(step)]
    if len(sizes) != len(waves.steps):
        found.append((("waves", "steps"), "each step is a count or a share such as '25%'"))
    elif len({type(step) for step in waves.steps}) == 1 and sizes != sorted(set(sizes)):
        found.append((("waves", "steps"), "steps are cumulative: each is larger than the one before"))
    if isinstance(policy.failures.threshold, str) and not _is_percent(policy.failures.threshold):
        found.append((("failures", "threshold"), "a count, or a share such as '10%'"))
    try:
        _ = policy.transfer.bytes_per_s
    except ValueError as error:
        found.append((("transfer", "budget"), str(error)))
    if not TRIAL_WINDOW_S_MIN <= trial.window_s <= TRIAL_WINDOW_S_MAX:
        found.append((("trial", "window"), f"a node takes {TRIAL_WINDOW_S_MIN}s to {TRIAL_WINDOW_S_MAX // 3600}h"))
    if trial.soak_s >= trial.window_s:
        found.append((("trial", "soak"), "shorter than the window, or no node is ever confirmed"))
    if policy.shadow.shadow_s > SHADOW_S_MAX:
        found.append((("shadow", "for"), f"a node takes up to {SHADOW_S_MAX // 86_400}d"))
    if 0 < policy.recorder.rows < policy.recorder.rows_min:
        found.append((("recorder", "rows_min"), f"at most rows, which is {policy.recorder.rows}"))
    return found + _wrong_window(policy.window)


def _wrong_window(window: Window | None) -> list[tuple[tuple[str, ...], str]]:
    if window is None:
        return []
    found: list[tuple[tuple[str, ...], str]] = [
        (("window", key), f"{value!r} is not a time of day such as 22:30")
        for key, value in (("from", window.start), ("to", window.end))
        if not _CLOCK.match(value)
    ]
    try:
        ZoneInfo(window.zone)
    except (ValueError, OSError, KeyError):
        found.append((("window", "zone"), f"{window.zone!r} is not a time zone such as Europe/Vienna"))
    return found


def _is_percent(text: str) -> bool:
    match = _PERCENT.match(text)
    return match is not None and 1 <= int(match[1]) <= 100
