"""The pump example's pipeline at full speed, from a sweep of its source to a committed record, beside bare numpy.

Ours is the engine with every step, a quality and a reason on each value, and the record sink. The peer does the same
arithmetic over whole batches by hand (limits, Hampel, gate, derived tags, window of 30), calls onnxruntime and writes
the same columns with `executemany`, every commit synced; it marks nothing, explains nothing and carries no state over.
Sweeps that come together are evaluated together; at a batch of 1 each is one call of the model on both sides.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.lib.stride_tricks import sliding_window_view

from bench.row import Row, alternate
from nodeagent.clock import SystemClock
from nodeagent.frame import Frame, good
from nodeagent.model.inference import Model
from nodeagent.pipeline import config as pipeline_config
from nodeagent.sinks.record import Record, RecordOptions
from nodeagent.worker.loading import engine_of
from store import db
from store.recorder import Recorder

EXAMPLE = Path("examples/pump")
BATCHES = {1: 3_000, 32: 6_400, 256: 12_800}  # and how many sweeps
GOALS = {1: 0.7, 32: 0.7, 256: 0.7}
COMMIT_ROWS = 500
NAMES = ("speed", "q_in", "p_suc", "p_dis", "power", "t_brg", "vib")
MEANS = np.array([1480.0, 95.0, 1.1, 6.2, 22.0, 48.0, 2.1])
LOW, HIGH = np.array([0, 0, -1, 0, 0, -20, 0.0]), np.array([3600, 200, 10, 25, 110, 150, 50.0])
FLOOR = np.array([60, 4, 0.1, 0.4, 2, 2, 1.0])
WINDOW, HAMPEL = 30, 7
DAY_SWEEPS, DAY_S_MAX = 432_000, 60.0
WIDE_TAGS, WIDE_HZ, WIDE_SWEEPS = 1_000, 10, 360
WIDE = """schema = 1
name = "wide"
[[source]]
id = "plc"
type = "push"
tags = [{names}]
[[step]]
use = "validate.range"
limits = {{ {limits} }}
[[step]]
use = "clean.hampel"
[[step]]
use = "clean.hold_last"
max_hold = 5
[[step]]
use = "gate"
when = "t0 > 0"
[[step]]
use = "derive"
tags = {{ dp = "t1 - t2", ratio = "t3 / max(t4, 1)" }}
[[step]]
use = "window"
size = 30
every = 1
aggregates = ["Average", "StandardDeviationSample"]
[model]
inputs = [{inputs}]
[decide]
use = "alarm"
score = "score"
high = 3.0
[[sink]]
type = "record"
"""
Values = np.ndarray[Any, np.dtype[np.float64]]


def run() -> list[Row]:
    """Rows of sweeps a second, each the median of three passes in turn."""
    rows = []
    number = itertools.count()
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        for batch, sweeps in BATCHES.items():
            values = MEANS * (1 + 0.01 * np.random.default_rng(1).standard_normal((sweeps, len(MEANS))))
            measures: list[Callable[[], float]] = [
                lambda v=values, b=batch: _ours(Path(name) / f"o{next(number)}", v, b),  # type: ignore[misc]
                lambda v=values, b=batch: _bare(Path(name) / f"b{next(number)}.db", v, b),  # type: ignore[misc]
            ]
            ours, bare = alternate(measures, passes=3)
            title = f"pump pipeline to committed record, batch {batch}"
            against = "bare numpy + onnxruntime + executemany/s"
            row = Row(title, ours.median, "sweeps/s", against, bare.median, GOALS[batch], headline=True)
            rows.append(row.of(ours))
        rows.append(_day(Path(name) / "day"))
        rows.append(_all_steps())
    return rows


def _day(folder: Path) -> Row:
    """A day of the pump's sweeps, one behind another as replay gives them; the largest batch of the rows above."""
    values = MEANS * (1 + 0.01 * np.random.default_rng(2).standard_normal((DAY_SWEEPS, len(MEANS))))
    seconds = DAY_SWEEPS / _ours(folder, values, max(BATCHES))
    title = f"a day of the pump's sweeps ({DAY_SWEEPS:,}) to committed records"
    return Row(title, seconds, "s", "budget", DAY_S_MAX, 1.0, less=True)


def _all_steps() -> Row:
    """CPU of sweeps of many tags one at a time, as they come from a plant, through every step of the pump."""
    names = tuple(f"t{at}" for at in range(WIDE_TAGS))
    inputs = ", ".join(f'"t{at}.Average"' for at in range(8))
    limits = ", ".join(f"{name} = [0, 10]" for name in names)
    text = WIDE.format(names=", ".join(f'"{name}"' for name in names), limits=limits, inputs=inputs)
    clock = SystemClock()
    engine = engine_of(pipeline_config.load(text, bindings={}), Model.load(EXAMPLE / "model.onnx"), {}, clock)
    values = 5 + 0.1 * np.random.default_rng(3).standard_normal((WIDE_SWEEPS, WIDE_TAGS))
    frames = [
        good(names, row, source_us=at * 100_000, received_us=at * 100_000, source="plc")
        for at, row in enumerate(values)
    ]
    for frame in frames[: 2 * WINDOW]:
        engine.push(frame)
    used_s = time.process_time()
    for frame in frames[2 * WINDOW :]:
        engine.push(frame)
    share = (time.process_time() - used_s) / (len(frames) - 2 * WINDOW) * WIDE_HZ * 100
    return Row(f"{WIDE_TAGS:,} tags at {WIDE_HZ} Hz through every step and the model", share, "% of a core")


def _ours(folder: Path, values: Values, batch: int) -> float:
    text = (EXAMPLE / "pipeline.toml").read_text().replace("[model]\n", f"[model]\nbatch_max = {batch}\n")
    config = pipeline_config.load(text, bindings={"plc": "tcp://127.0.0.1:1"})
    clock = SystemClock()
    engine = engine_of(config, Model.load(EXAMPLE / "model.onnx"), {}, clock)
    recorder = Recorder(
        folder,
        bundle="pump",
        revision=1,
        digest="",
        config="",
        boot_number=1,
        clock_us=clock.boottime_us,
        free_bytes_min=0,
        free_share_min=0.0,
    )
    sink = Record(RecordOptions(keep_inputs="all"), recorder)
    expected = len(values) - WINDOW + 1
    began_s = time.perf_counter()
    for frames in _frames(values, batch, clock):
        sink.offer_many(engine.push_many(frames))
        while recorder.counters.queue > 20_000:
            time.sleep(0.0005)
    recorder.close()
    took_s = time.perf_counter() - began_s
    if recorder.counters.written < expected - WINDOW:
        raise RuntimeError(f"{recorder.counters} of {expected} records")
    return len(values) / took_s


def _frames(values: Values, batch: int, clock: SystemClock) -> Iterator[list[Frame]]:
    """The sweeps as the source gives them, a fifth of a second apart: the pipeline's time is that of its data."""
    wall_us, now_us = clock.wall_us(), clock.boottime_us()
    for at in range(0, len(values), batch):
        yield [
            good(NAMES, each, source_us=wall_us + n * 200_000, received_us=now_us + n * 200_000, source="plc")
            for n, each in enumerate(values[at : at + batch], at)
        ]


def _bare(path: Path, values: Values, batch: int) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(EXAMPLE / "model.onnx"), options)
    feed, names = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    conn = db.open_writer(path)
    conn.execute(
        "CREATE TABLE record(key INTEGER PRIMARY KEY, wall_us INTEGER, source_us INTEGER, latency_us INTEGER,"
        " score REAL, label INTEGER, decision INTEGER, quality INTEGER, reason INTEGER, inputs BLOB, outputs BLOB)"
    )
    waiting: list[tuple[Any, ...]] = []
    raw, clean = np.empty((0, len(NAMES))), np.empty((0, len(NAMES) + 2))
    key = 0
    began_s = time.perf_counter()
    for at in range(0, len(values), batch):
        raw, clean, features = _features(raw, clean, values[at : at + batch])
        if len(features):
            said = session.run(names, {feed: features})
            scores = said[0].reshape(len(features), -1)[:, 0].tolist()
            rows = zip(scores, features, said[0].reshape(len(features), -1), strict=True)
            for score, row, out in rows:
                key += 1
                decision = 2 if score >= 3.0 else 1
                waiting.append((key, key, key, 0, score, 1, decision, 0, 0, row.tobytes(), out.tobytes()))
        if len(waiting) >= COMMIT_ROWS or at + batch >= len(values):
            with db.transaction(conn):
                conn.executemany("INSERT INTO record VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", waiting)
            waiting = []
    took_s = time.perf_counter() - began_s
    conn.close()
    return len(values) / took_s


def _features(raw: Values, clean: Values, new: Values) -> tuple[Values, Values, Any]:
    """The tails to go on from, and the model's inputs: one row a sweep once the window is full."""
    new = np.where((new >= LOW) & (new <= HIGH), new, np.nan)
    known = np.concatenate([raw, new])
    mended = new.copy()
    if len(known) >= HAMPEL:
        views = sliding_window_view(known, HAMPEL, axis=0)[-len(new) :]
        middle = np.median(views, axis=2)
        deviation = 1.4826 * np.median(np.abs(views - middle[:, :, None]), axis=2)
        last = new[-len(views) :]
        spike = np.abs(last - middle) > np.maximum(6 * deviation, FLOOR)
        mended[-len(views) :] = np.where(spike, middle, last)
    mended = mended[mended[:, 0] > 500]
    pressure = mended[:, 3] - mended[:, 2]
    power = mended[:, 4] / np.maximum(mended[:, 1], 5)
    clean = np.concatenate([clean, np.column_stack([mended, pressure, power])])
    features: Any = np.empty((0, 8), np.float32)
    if len(clean) >= WINDOW:
        views = sliding_window_view(clean, WINDOW, axis=0)[-len(mended) :]
        mean, std = views.mean(axis=2), views[:, 6].std(axis=1, ddof=1)
        chosen = [mean[:, 0], mean[:, 1], mean[:, 7], mean[:, 4], mean[:, 5], mean[:, 6], std, mean[:, 8]]
        features = np.column_stack(chosen).astype(np.float32)
    return known[-(HAMPEL - 1) :], clean[-(WINDOW - 1) :], features
