"""`type = "sparkplug"`: the node as a Sparkplug B edge node, for hosts such as SCADA that find its tags by its birth.

With `qos = 1`, which the specification does not have for data, a message leaves the outbox on the broker's PUBACK: a
broker that is frozen takes QoS 0 without a word. `qos = 0` follows the letter and keeps nothing for later.
"""

from __future__ import annotations

import msgspec

from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.sinks.broker_sink import BrokerOptions, BrokerSink
from nodeagent.sinks.message import fields_of
from nodeagent.sinks.sink import SinkContext
from nodeagent.sinks.sparkplug_speech import SparkplugSpeech
from store.outbox import Message


class SparkplugOptions(BrokerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`edge` may hold {node} and {bundle}; an edge node is one connection, so two bundles are two of them."""

    group: str
    edge: str = "{node}-{bundle}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.group or not self.edge or any(sign in self.group + self.edge for sign in "+#/"):
            raise ValueError("'group' and 'edge' are words without + # and /")

    def __repr__(self) -> str:
        return f"SparkplugOptions({self.url} {self.group} {self.edge} qos={self.qos})"


OPTIONS = SparkplugOptions


class Sparkplug(BrokerSink):
    """The sink: outcomes as metrics of an edge node."""

    def __init__(self, options: SparkplugOptions, context: SinkContext) -> None:
        self.edge = options.edge.replace("{node}", context.node_id).replace("{bundle}", context.bundle)
        beats = options.heartbeat is not None
        self._births = SparkplugSpeech(options.group, self.edge, context.pipeline, context.clock, beats=beats)
        place = f"{options.group}/{self.edge}"
        super().__init__("sparkplug", options, context, place=place, client=self.edge, speech=self._births)

    def offer(self, outcome: Outcome) -> None:
        fields = fields_of(outcome, self._context)
        self._births.saw(fields)
        if self._wanted.wants(outcome):
            self._bag.put(Message(self.edge, msgspec.json.encode(fields)))


def create(section: Section, context: SinkContext) -> Sparkplug:
    """The sink of a section."""
    assert isinstance(section.options, SparkplugOptions)
    return Sparkplug(section.options, context)
