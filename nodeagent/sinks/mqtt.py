"""`type = "mqtt"`: every outcome to a broker. With QoS 1 it leaves the outbox on the broker's PUBACK and not before.

Live goes before history: after a time without the broker the newest is sent at once and the rest follows, slowly.
"""

from __future__ import annotations

from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.sinks.broker_sink import BrokerOptions, BrokerSink
from nodeagent.sinks.message import payload_of
from nodeagent.sinks.mqtt_courier import PlainSpeech
from nodeagent.sinks.sink import SinkContext
from store.outbox import Message


class MqttOptions(BrokerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`topic` may hold {asset}, {name} and {node}.

    The retained topic `state_topic` (left out: topic/state) says online, stopped, or by the will offline.
    """

    topic: str = "outstation/{asset}/{name}"
    state_topic: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(sign in self.topic + self.state_topic for sign in "+#"):
            raise ValueError("a topic to publish to holds no + or #")

    def __repr__(self) -> str:
        return f"MqttOptions({self.url} {self.topic} qos={self.qos})"


OPTIONS = MqttOptions


class Mqtt(BrokerSink):
    """The sink: JSON on one topic, and how it stands on another."""

    def __init__(self, options: MqttOptions, context: SinkContext, *, number: int = 0) -> None:
        words = {"asset": context.asset, "name": context.pipeline, "node": context.node_id}
        self.topic = _filled(options.topic, words)
        suffix = f"-{number}" if number else ""
        super().__init__(
            "mqtt",
            options,
            context,
            place=self.topic,
            client=f"{context.node_id}-{context.bundle}{suffix}",
            speech=PlainSpeech(_filled(options.state_topic, words) or f"{self.topic}/state"),
        )

    def offer(self, outcome: Outcome) -> None:
        if self._wanted.wants(outcome):
            self._bag.put(Message(self.topic, payload_of(outcome, self._context)))


def _filled(topic: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        topic = topic.replace(f"{{{word}}}", value)
    return topic


def create(section: Section, context: SinkContext) -> Mqtt:
    """The sink of a section."""
    assert isinstance(section.options, MqttOptions)
    number = section.path[1]
    assert isinstance(number, int)
    return Mqtt(section.options, context, number=number)
