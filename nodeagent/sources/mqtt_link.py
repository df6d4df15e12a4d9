"""One connection to an MQTT broker that listens: the border to aiomqtt for sources."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, NamedTuple

import aiomqtt

from nodeagent.sinks.broker import CONNECT_S_MAX, Login, endpoint

MESSAGES_MAX: Final = 10_000
PAYLOAD_BYTES_MAX: Final = 1 << 20
CANCEL_AGAIN_S: Final = 0.1
VERSIONS: Final = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}
Version = Literal["3.1.1", "5"]
_LOGGER: Final = logging.getLogger("outstation.mqtt")


class LinkLost(Exception):
    """The connection is gone or was never there; the text says why."""


class Heard(NamedTuple):
    """One message. `retained`: the broker kept it from an unknown time before."""

    topic: str
    payload: bytes
    retained: bool


class Listener:
    """An open connection with its subscriptions."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

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
    ) -> Listener:
        """Connects and subscribes; a topic that the broker refuses is an error. Raises LinkLost."""
        where = endpoint(url)
        client = aiomqtt.Client(
            where.host,
            where.port,
            identifier=login.client_id,
            username=login.username,
            password=login.password,
            protocol=VERSIONS[version],
            keepalive=keepalive_s,
            timeout=timeout_s,
            max_queued_incoming_messages=MESSAGES_MAX,
            tls_context=ssl.create_default_context(cafile=login.ca_file) if where.tls else None,
            logger=_LOGGER,
        )
        link = cls(client)
        try:
            async with asyncio.timeout(timeout_s + CONNECT_S_MAX):
                await client.__aenter__()
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            raise LinkLost(f"{where.host}:{where.port}: {error or 'timeout'}") from error
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
        for topic, code in zip(topics, granted, strict=False):
            value = code if isinstance(code, int) else code.value
            if value >= 0x80:
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
        with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._client.__aexit__(None, None, None)
