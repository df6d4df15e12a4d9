"""Counts of one model's inferences: Triton's statistics (what perf_analyzer reads) and latencies for telemetry."""

from __future__ import annotations

import time
from typing import Any

_SUB_BINS = 4  # bins per power of two: a quantile is right to 25 %
_BINS = 4 * 40


def _bin_of(value_us: int) -> int:
    if value_us < _SUB_BINS:
        return value_us
    shift = value_us.bit_length() - 3
    return min(_BINS - 1, (shift << 2) + (value_us >> shift))


def _bin_end_us(index: int) -> int:
    """The smallest value that is above the bin."""
    if index < _SUB_BINS:
        return index + 1
    shift, step = divmod(index - _SUB_BINS, _SUB_BINS)
    return (_SUB_BINS + step + 1) << shift


class Latencies:
    """How long answers took, in bins that grow with the value. Microseconds in, milliseconds out."""

    def __init__(self) -> None:
        self._bins = [0] * _BINS
        self.count = 0

    def add(self, value_us: int, count: int = 1) -> None:
        """Counts `count` answers that took `value_us`."""
        self._bins[_bin_of(value_us)] += count
        self.count += count

    def quantile_ms(self, share: float) -> float | None:
        """The upper end of the bin that `share` of the answers reach; None without answers."""
        if not self.count:
            return None
        needed, seen = share * self.count, 0
        for index, count in enumerate(self._bins):
            seen += count
            if seen >= needed:
                return _bin_end_us(index) / 1e3
        return _bin_end_us(_BINS - 1) / 1e3

    def histogram_ms(self) -> list[tuple[float, int]]:
        """(upper end of the bin, answers in it), only bins that have any."""
        return [(_bin_end_us(index) / 1e3, count) for index, count in enumerate(self._bins) if count]

    def since(self, earlier: Latencies) -> Latencies:
        """What came after `earlier`, a copy of this taken before."""
        out = Latencies()
        out._bins = [now - then for now, then in zip(self._bins, earlier._bins, strict=True)]
        out.count = self.count - earlier.count
        return out

    def copy(self) -> Latencies:
        """As it stands now."""
        return self.since(Latencies())


class Statistics:
    """Counters of one model since its worker started. Nanoseconds are sums over requests, as Triton's are."""

    def __init__(self) -> None:
        self.latencies = Latencies()
        self.success_count = self.success_ns = 0
        self.fail_count = self.fail_ns = 0
        self.queue_ns = self.infer_ns = self.output_ns = 0
        self.rejected_count = 0
        self.refused_count = 0  # of fail_count: the request was wrong, not the model
        self.inference_count = self.execution_count = 0
        self.last_inference_ms = 0
        self._batches: dict[int, tuple[int, int]] = {}

    def ran(self, queued_ns: list[int], rows: int, start_ns: int, run_ns: int, end_ns: int) -> None:
        """One run that gave answers to requests queued at `queued_ns` (perf_counter) and ended at `end_ns`."""
        count = len(queued_ns)
        waited = sum(queued_ns)
        self.success_count += count
        self.success_ns += end_ns * count - waited
        self.queue_ns += start_ns * count - waited
        self.infer_ns += run_ns * count
        self.output_ns += (end_ns - start_ns - run_ns) * count
        self.inference_count += rows
        self.execution_count += 1
        self.last_inference_ms = time.time_ns() // 1_000_000
        runs, total_ns = self._batches.get(rows, (0, 0))
        self._batches[rows] = (runs + 1, total_ns + run_ns)
        for queued in queued_ns:
            self.latencies.add((end_ns - queued) // 1_000)

    def failed(self, count: int, total_ns: int, *, refused: bool = False) -> None:
        """Requests that got an error instead of outputs; `refused`: because of what they asked."""
        self.fail_count += count
        self.refused_count += count if refused else 0
        self.fail_ns += total_ns

    def triton(self, name: str, version: str) -> dict[str, Any]:
        """In the shape of Triton's statistics extension."""

        def duration(ns: int, count: int | None = None) -> dict[str, int]:
            return {"count": self.success_count if count is None else count, "ns": ns}

        return {
            "name": name,
            "version": version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.inference_count,
            "execution_count": self.execution_count,
            "inference_stats": {
                "success": duration(self.success_ns),
                "fail": duration(self.fail_ns, self.fail_count),
                "queue": duration(self.queue_ns),
                "compute_input": duration(0),
                "compute_infer": duration(self.infer_ns),
                "compute_output": duration(self.output_ns),
                "cache_hit": duration(0, 0),
                "cache_miss": duration(0, 0),
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": {"count": runs, "ns": 0},
                    "compute_infer": {"count": runs, "ns": total_ns},
                    "compute_output": {"count": runs, "ns": 0},
                }
                for rows, (runs, total_ns) in sorted(self._batches.items())[:128]
            ],
        }
