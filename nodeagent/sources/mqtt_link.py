"""One connection to an MQTT broker that listens: the border to aiomqtt for sources."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import aiomqtt

from nodeagent.sinks.broker import BrokerLost, Login, connected, goodbye

MESSAGES_MAX: Final = 10_000
CANCEL_AGAIN_S: Final = 0.1
VERSIONS: Final = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}
Version = Literal["3.1.1", "5"]


class LinkLost(Exception):
    """The connection is gone or was never there; the text says why."""


class Heard(NamedTuple):
    """One message. `retained`: the broker kept it from an unknown time before."""

    topic: str
    payload: bytes
    retained: bool


class _Discarded(logging.Filter):
    """The library says only in its log that its queue was full; the lines are counted and not shown."""

    count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        self.count += "queue is full" in record.msg
        return False


class Listener:
    """An open connection with its subscriptions."""

    def __init__(self, client: aiomqtt.Client, discarded: _Discarded) -> None:
        self._client = client
        self._discarded = discarded

    @property
    def discarded(self) -> int:
        """Messages that came faster than they were taken, beyond what may wait."""
        return self._discarded.count

    @classmethod
    async def open(
        cls,
        url: str,
        login: Login,
        topics: Sequence[str],
        *,
        qos: int,
        version: Version,
        keepalive_s: int,
        timeout_s: float,
        waiting_max: int = MESSAGES_MAX,
    ) -> Listener:
        """Connects with a client id made unique, and subscribes. Raises LinkLost, for a refused topic as well."""
        discarded, logger = _Discarded(), logging.Logger("mqtt")
        logger.addFilter(discarded)
        try:
            client = await connected(
                url,
                login._replace(client_id=f"{login.client_id}-{secrets.token_hex(4)}"),
                timeout_s=timeout_s,
                protocol=VERSIONS[version],
                keepalive=keepalive_s,
                max_queued_incoming_messages=waiting_max,
                logger=logger,
            )
        except BrokerLost as lost:
            raise LinkLost(str(lost)) from lost
        link = cls(client, discarded)
        try:
            for at in range(0, len(topics), 100):
                await link._subscribe(topics[at : at + 100], qos)
        except BaseException:
            await link.close()
            raise
        return link

    async def _subscribe(self, topics: Sequence[str], qos: int) -> None:
        try:
            granted = await self._client.subscribe([(topic, qos) for topic in topics])
        except (aiomqtt.MqttError, OSError) as error:
            raise LinkLost(f"subscribing: {error}") from error
        codes: list[Any] = list(granted)  # of integers with MQTT 3.1.1, of ReasonCode with 5
        for topic, code in zip(topics, codes, strict=True):
            if getattr(code, "value", code) >= 0x80:
                raise LinkLost(f"the broker refuses the topic {topic}")

    async def messages(self) -> AsyncIterator[Heard]:
        """What comes, for as long as the connection lives. Raises LinkLost."""
        try:
            async for message in self._client.messages:
                payload = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
                yield Heard(str(message.topic), payload, bool(message.retain))
        except aiomqtt.MqttError as error:
            raise LinkLost(str(error)) from error

    async def publish(self, topic: str, payload: bytes) -> None:
        """One message with QoS 0. Raises LinkLost."""
        try:
            await self._client.publish(topic, payload, qos=0)
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            raise LinkLost(f"{topic}: {error}") from error

    async def close(self, timeout_s: float = 1.0) -> None:
        """Says goodbye, for at most `timeout_s`."""
        await goodbye(self._client, timeout_s)
