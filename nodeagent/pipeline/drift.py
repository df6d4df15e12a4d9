"""Whether what arrives still looks like what the model was trained on. Without labels this is drift, and not accuracy.

A bundle's baseline.json has fixed bin edges and the counts of the training data, and thresholds that hold for the
training data's own windows. Two monitors: the share of scores over the baseline's limit, and the population stability
index sum((q - p) ln(q / p)) of every input, counts smoothed by one half, over the longest window, which should be an
operating cycle. Only valid predictions count, and RUNS_TO_DRIFT windows in a row must be over to be called drift.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.pipeline import state
from nodeagent.pipeline.outcome import IDLE, Outcome

NO_BASELINE: Final = "no baseline"
RUNS_TO_DRIFT: Final = 3
BASELINE_BYTES_MAX: Final = 4 << 20
CONTEXTS_MAX: Final = 64
_CULPRITS_SHOWN: Final = 3
_ROWS_AT_ONCE: Final = 256
Counts = npt.NDArray[np.int64]


class BaselineRefused(Exception):
    """The baseline is not one, or is of other inputs than the pipeline's; the text says what."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """The training data of one value: `counts` has one more than `edges`; a value on an edge belongs above it."""

    edges: list[float]
    counts: list[int]
    psi_max: dict[str, float]


class ScoreColumn(Column, frozen=True, kw_only=True):
    """The score: over `limit` it counts towards `share_max`, by window."""

    limit: float
    share_max: dict[str, float]


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The content of baseline.json that the node uses; `windows` are lengths in predictions.

    `contexts`: one of its own for each context that the training data tells apart, `product=A4`; then another context
    has none.
    """

    schema: int
    windows: list[int]
    inputs: dict[str, Column]
    score: ScoreColumn
    contexts: dict[str, Baseline] = {}


def parse(data: bytes) -> Baseline:
    """Reads a baseline.json. Raises BaselineRefused."""
    if len(data) > BASELINE_BYTES_MAX:
        raise BaselineRefused(f"the baseline is longer than {BASELINE_BYTES_MAX} bytes")
    try:
        baseline = msgspec.json.decode(data, type=Baseline)
    except msgspec.DecodeError as error:
        raise BaselineRefused(f"the baseline is malformed: {error}") from error
    _check_all(baseline)
    return baseline


def _check(baseline: Baseline) -> None:
    if baseline.schema != 1 or not baseline.windows or min(baseline.windows) < 1:
        raise BaselineRefused("the baseline is of another schema or has no windows")
    for name, column in (*baseline.inputs.items(), ("score", baseline.score)):
        window = str(max(baseline.windows))
        if len(column.counts) != len(column.edges) + 1 or column.edges != sorted(column.edges):
            raise BaselineRefused(f"the bins of {name!r} do not fit together")
        if window not in column.psi_max or (column is baseline.score and window not in baseline.score.share_max):
            raise BaselineRefused(f"{name!r} has no threshold for a window of {window}")


def _check_all(baseline: Baseline) -> None:
    _check(baseline)
    if len(baseline.contexts) > CONTEXTS_MAX:
        raise BaselineRefused(f"the baseline tells {len(baseline.contexts)} contexts apart, more than {CONTEXTS_MAX}")
    for context, own in baseline.contexts.items():
        if own.contexts:
            raise BaselineRefused(f"the baseline of {context!r} has contexts of its own")
        _check(own)


class Drift:
    """Watches the outcomes of one pipeline. `inputs`: the tags of the model's one input, in order.

    What a baseline tells of a picture or a waveform as a whole (`camera.mean`) is not in the outcomes: it stays
    `unwatched`, and only the score speaks for it.

    Raises BaselineRefused for a baseline of inputs that the pipeline does not have.
    """

    def __init__(self, baseline: Baseline | None, inputs: Sequence[str], *, key: str = "") -> None:
        self._baseline = baseline
        self._key = key
        self.unwatched: tuple[str, ...] = ()
        self._idle = False
        self._why = ""
        self._columns: list[tuple[str, int, Column]] = []
        self._length = self._width = 0
        self._runs: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._counts: dict[str, Counts] = {}
        if baseline is None:
            return
        unseen = sorted(set(baseline.inputs) - set(inputs))
        for name in unseen:
            if name.rpartition(".")[0] not in inputs:
                raise BaselineRefused(f"the baseline has {name!r}, and the model does not see it")
        self.unwatched = tuple(unseen)
        self._length = max(baseline.windows)
        self._columns = [
            (name, inputs.index(name), column) for name, column in baseline.inputs.items() if name in inputs
        ]
        self._width = len(inputs)
        self.restart()

    def saw(self, outcomes: Iterable[Outcome]) -> None:
        """Takes what the pipeline decided."""
        for outcome in outcomes:
            self._idle = outcome.decision == IDLE
            if self._baseline is None or outcome.score is None:
                continue
            self._seen += 1
            self._over += outcome.score > self._baseline.score.limit
            if outcome.inputs is not None and outcome.inputs.size == self._width:
                self._rows.append(outcome.inputs)
            if len(self._rows) >= _ROWS_AT_ONCE:
                self._count()
            if self._seen >= self._length:
                self._judge(self._baseline)

    @property
    def verdict(self) -> str:
        """`no baseline`, `idle`, `watching` with what is missing to know, `ok`, or `drift:` with what and how much.

        `ok` is said of a full window that was under every threshold, and of nothing else.
        """
        if self._baseline is None:
            return NO_BASELINE
        culprits = [name for name, runs in self._runs.items() if runs >= RUNS_TO_DRIFT]
        if culprits:
            return f"drift: {self._shown(culprits)}"
        if self._idle:
            return "idle"
        if not self._windows_total:
            since = f", since {self._why}" if self._why else ""
            return f"watching {100 * self._seen // self._length} %{since}"
        suspects = [name for name, runs in self._runs.items() if runs]
        if suspects:
            runs = max(self._runs.values())
            return f"watching, {runs} of {RUNS_TO_DRIFT} windows: {self._shown(suspects)}"
        return "ok"

    def state(self) -> bytes:
        """What a successor needs to go on with the window that is under way; empty without a baseline."""
        if self._baseline is None:
            return b""
        self._count()
        return state.encode(
            {
                "key": self._key,
                "seen": self._seen,
                "over": self._over,
                "windows": self._windows_total,
                "counts": self._counts,
                "runs": self._runs,
                "texts": self._texts,
                "why": self._why,
            }
        )

    def restore(self, data: bytes) -> bool:
        """Goes on from another's `state`; False, and afresh, where that was of another baseline or none of ours."""
        if self._baseline is None:
            return False
        try:
            old = state.decode(data)
            if not self._key or old["key"] != self._key or old["counts"].keys() != self._counts.keys():
                return False
            if any(counts.shape != self._counts[name].shape for name, counts in old["counts"].items()):
                return False
            seen, over, windows = int(old["seen"]), int(old["over"]), int(old["windows"])
            runs = {str(name): int(count) for name, count in old["runs"].items()}
            texts = {str(name): str(text) for name, text in old["texts"].items()}
            why = str(old.get("why", ""))
        except (state.StateRefused, KeyError, TypeError, ValueError, AttributeError):
            return False
        self._seen, self._over, self._windows_total = seen, over, windows
        self._counts, self._runs, self._texts, self._why = dict(old["counts"]), runs, texts, why
        return True

    def _shown(self, names: Sequence[str]) -> str:
        more = len(names) - _CULPRITS_SHOWN
        return ", ".join(self._texts[name] for name in names[:_CULPRITS_SHOWN]) + (f" and {more} more" * (more > 0))

    @property
    def tags(self) -> list[str]:
        """What it watches by name."""
        return [name for name, _, _ in self._columns]

    def restart(self, why: str = "") -> None:
        """Forgets everything seen: a sensor was replaced or recalibrated. The verdict says so until there is one."""
        self._why = why
        self._runs, self._texts = {}, {}
        self._windows_total = 0
        self._begin()

    def _begin(self) -> None:
        self._seen = self._over = 0
        self._rows: list[npt.NDArray[np.float32]] = []
        self._counts = {name: np.zeros(len(column.counts), np.int64) for name, _, column in self._columns}

    def _count(self) -> None:
        if self._rows:
            table = np.stack(self._rows)
            self._rows = []
            for name, at, column in self._columns:
                self._counts[name] += histogram(table[:, at], column.edges)

    def _judge(self, baseline: Baseline) -> None:
        window = str(self._length)
        share = self._over / self._seen
        self._note("score", share, baseline.score.share_max[window], f"{share:.1%} of scores over the limit")
        self._count()
        for name, _, column in self._columns:
            if self._counts[name].any():
                found = psi(self._counts[name], np.array(column.counts))
                self._note(name, found, column.psi_max[window], f"{name} PSI {found:.2f}")
        self._windows_total += 1
        self._begin()

    def _note(self, name: str, found: float, most: float, text: str) -> None:
        self._runs[name] = self._runs.get(name, 0) + 1 if found > most else 0
        self._texts[name] = f"{text} (at most {most:.2g})"


class DriftByContext:
    """Like with like: a watch for each context that the baseline tells apart; the verdict is that of the one at work.

    Raises as Drift.
    """

    def __init__(self, baseline: Baseline, inputs: Sequence[str], *, key: str = "") -> None:
        self._watches = {
            context: Drift(own, inputs, key=f"{key} {context}") for context, own in baseline.contexts.items()
        }
        self._now = ""

    def saw(self, outcomes: Iterable[Outcome]) -> None:
        """As Drift; an outcome of a context that the baseline does not know is compared with nothing."""
        for outcome in outcomes:
            self._now = outcome.context
            if (watch := self._watches.get(outcome.context)) is not None:
                watch.saw((outcome,))

    @property
    def verdict(self) -> str:
        """As Drift; `no baseline for product=7` where the context is not known to it."""
        watch = self._watches.get(self._now)
        if watch is None:
            return f"{NO_BASELINE} for {self._now or 'no context'}"
        drifting = [context for context, each in self._watches.items() if each.verdict.startswith("drift: ")]
        if drifting and self._now not in drifting:
            return f"{self._watches[drifting[0]].verdict} ({drifting[0]})"
        return watch.verdict

    @property
    def tags(self) -> list[str]:
        """What it watches by name."""
        return sorted({tag for watch in self._watches.values() for tag in watch.tags})

    @property
    def unwatched(self) -> tuple[str, ...]:
        """As Drift's, of all contexts."""
        return tuple(sorted({name for watch in self._watches.values() for name in watch.unwatched}))

    def state(self) -> bytes:
        """As Drift."""
        return state.encode({context: watch.state() for context, watch in self._watches.items()})

    def restore(self, data: bytes) -> bool:
        """As Drift, for each context that both know; whether there was one."""
        try:
            old = state.decode(data)
        except state.StateRefused:
            return False
        found = [watch.restore(old[context]) for context, watch in self._watches.items() if _is_bytes(old, context)]
        return any(found)

    def restart(self, why: str = "") -> None:
        """As Drift, for every context."""
        for watch in self._watches.values():
            watch.restart(why)


Watch = Drift | DriftByContext


def _is_bytes(old: object, context: str) -> bool:
    return isinstance(old, Mapping) and isinstance(old.get(context), bytes)


def histogram(values: npt.NDArray[Any], edges: Sequence[float]) -> Counts:
    """Counts by bin: one more than edges; a value on an edge belongs above it."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def psi(counts: Counts, expected: Counts) -> float:
    """Population stability index between two histograms over the same edges."""
    q = (counts + 0.5) / (counts + 0.5).sum()
    p = (expected + 0.5) / (expected + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


def of_bundle(data: bytes | None, inputs: list[str] | Mapping[str, list[str]]) -> Watch:
    """The watch over a bundle's pipeline; `data` is its baseline.json, if it has one. Raises BaselineRefused."""
    names = inputs if isinstance(inputs, list) else [tag for tags in inputs.values() for tag in tags]
    if data is None:
        return Drift(None, names)
    baseline, key = parse(data), hashlib.sha256(data + repr(names).encode()).hexdigest()
    return (DriftByContext if baseline.contexts else Drift)(baseline, names, key=key)
