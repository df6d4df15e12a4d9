"""What an edge node has told so far: its births, its aliases, its sequence; and when it must be asked to be born again.

Pure: messages in, changes out (Sparkplug 3.0 sections 5.4 to 5.6, 6.4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

from nodeagent.sources.sparkplug_payload import Metric, Payload

BDSEQ: Final = "bdSeq"


class Change(NamedTuple):
    """One metric's new sample. `device` is "" for the edge node's own."""

    device: str
    name: str
    metric: Metric
    timestamp_ms: int | None


class Dead(NamedTuple):
    """A device, or with "" the whole edge node, that no longer speaks."""

    device: str
    reason: str


@dataclasses.dataclass
class Edge:
    """The state of one edge node, as its messages tell it. `wants_birth`: what is known is not enough to read it."""

    wants_birth: bool = True
    historical_total: int = 0
    _seq: int | None = None
    _bdseq: float | None = None
    _aliases: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)

    def take(self, kind: str, device: str, payload: Payload) -> list[Change | Dead]:
        """What a message changes. `kind`: NBIRTH, NDATA, NDEATH, DBIRTH, DDATA or DDEATH; others change nothing."""
        if kind == "NDEATH":
            return self._death(payload)
        if kind == "NBIRTH":
            self._aliases.clear()
            self._bdseq = next(
                (m.value for m in payload.metrics if m.name == BDSEQ and isinstance(m.value, float)), None
            )
            self._seq = payload.seq
            self.wants_birth = False
        elif kind in ("NDATA", "DBIRTH", "DDATA", "DDEATH"):
            self._follow(payload.seq)
        else:
            return []
        if kind == "NBIRTH":
            born = self._changes(device, payload, payload.metrics, birth=True)
            return [Dead("", "not in the edge node's birth, or its device not born yet"), *born]
        if kind == "DDEATH":
            return [Dead(device, "the device is away (DDEATH)")]
        if kind == "DBIRTH":
            self._aliases = {key: name for key, name in self._aliases.items() if key[0] != device}
        return self._changes(device, payload, payload.metrics, birth=kind == "DBIRTH")

    def _follow(self, seq: int | None) -> None:
        """A gap in the sequence means a message was lost, perhaps a birth."""
        expected = None if self._seq is None else (self._seq + 1) % 256
        if seq is None or seq != expected:
            self.wants_birth = True
        self._seq = seq

    def _death(self, payload: Payload) -> list[Change | Dead]:
        """A will of an earlier session may come after the birth of the next one: its bdSeq tells them apart."""
        bdseq = next((m.value for m in payload.metrics if m.name == BDSEQ and isinstance(m.value, float)), None)
        if bdseq is not None and self._bdseq is not None and bdseq != self._bdseq:
            return []
        self._seq = None
        return [Dead("", "the edge node is away (NDEATH)")]

    def _changes(self, device: str, payload: Payload, metrics: Sequence[Metric], *, birth: bool) -> list[Change | Dead]:
        changes: list[Change | Dead] = []
        for metric in metrics:
            name = metric.name
            if metric.alias is not None:
                if birth and name:
                    self._aliases[device, metric.alias] = name
                name = name or self._aliases.get((device, metric.alias), "")
            if not name:
                self.wants_birth = True
            elif metric.historical:
                self.historical_total += 1
            else:
                told = metric.timestamp_ms if metric.timestamp_ms is not None else payload.timestamp_ms
                changes.append(Change(device, name, metric, told))
        return changes
