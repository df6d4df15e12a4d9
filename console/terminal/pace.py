"""How often the console asks and how long it waits, and what it makes of the answers. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from console.fleet.view import LinkState

OFFSET_SAMPLES_MAX = 15
BOOT_SAMPLES_MAX = 60
TREND_VALUES_MAX = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. A link that answers nothing is dead after `ping_s` * (1 + `missed_max`), whatever hop is cut."""

    ping_s: float = 5.0
    missed_max: int = 2
    backoff_first_s: float = 1.0
    backoff_max_s: float = 30.0
    refused_s: float = 60.0

    def backoff_s(self, failures: int, state: LinkState, random_unit: float) -> float:
        """How long to wait after the `failures`th failure in a row (1, 2, ...): doubling, half of it by chance.

        Where a person has to do something first (refused, wrong protocol), asking often only fills logs.
        """
        if state in (LinkState.REFUSED, LinkState.WRONG_PROTOCOL):
            base_s = self.refused_s
        else:
            base_s = min(self.backoff_max_s, self.backoff_first_s * 2.0 ** min(failures - 1, 16))
        return base_s * (0.5 + 0.5 * random_unit)


@dataclass(slots=True)
class ClockOffset:
    """The node's wall clock minus ours. Delays only make a line look old, so the youngest of the last counts."""

    _samples: deque[float] = field(default_factory=lambda: deque(maxlen=OFFSET_SAMPLES_MAX))

    def add(self, node_wall_us: int, arrived_wall_s: float, rtt_ms: float | None) -> float:
        """One line that was made as it was sent; returns the offset in seconds as known now."""
        self._samples.append(node_wall_us / 1e6 - arrived_wall_s + (rtt_ms or 0.0) / 2_000)
        return max(self._samples)

    def clear(self) -> None:
        """The node's clock may have been set, or another boot has begun."""
        self._samples.clear()


@dataclass(slots=True)
class BootClock:
    """When lines were made, on our monotonic clock, by the node's CLOCK_BOOTTIME: the least delayed one tells."""

    _samples: deque[float] = field(default_factory=lambda: deque(maxlen=BOOT_SAMPLES_MAX))

    def made_at(self, boottime_us: int, arrived_s: float) -> float:
        """When a line that arrived at `arrived_s` was made; never later than it arrived."""
        self._samples.append(arrived_s - boottime_us / 1e6)
        return boottime_us / 1e6 + min(self._samples)

    def clear(self) -> None:
        """Another boot, or our own machine slept."""
        self._samples.clear()


def with_value(trend: tuple[float | None, ...], value: float | None) -> tuple[float | None, ...]:
    """The trend and one more value; None is a gap."""
    return (*trend, value)[-TREND_VALUES_MAX:]
