"""One connection to an MQTT broker: the border to aiomqtt, whose client raises for good once it lost its connection.

Only a PUBACK proves delivery: a publish with QoS 0 to a frozen broker returns at once, as if all were well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiomqtt

PORT: Final = 1883
TLS_PORT: Final = 8883
CONNECT_S_MAX: Final = 6.0  # paho gives a socket five seconds, in a thread that nobody can stop
_LOGGER: Final = logging.getLogger("outstation.mqtt")


class BrokerLost(Exception):
    """The connection is gone or was never there; make a new Broker."""


class BrokerRefused(Exception):
    """This message will never be taken: a topic or payload that MQTT does not carry."""


class Endpoint(NamedTuple):
    """Where a broker is and how to speak to it."""

    host: str
    port: int
    tls: bool


def endpoint(url: str) -> Endpoint:
    """mqtt://HOST[:PORT] or mqtts://HOST[:PORT]. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/") or parts.username:
        raise ValueError(f"{url!r} is not an address like mqtt://10.0.0.9:1883 or mqtts://broker:8883")
    tls = parts.scheme == "mqtts"
    return Endpoint(parts.hostname, parts.port or (TLS_PORT if tls else PORT), tls)


class Login(NamedTuple):
    """Who connects: one client id at a time a broker, since two of the same id put each other out."""

    client_id: str
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None


class Will(NamedTuple):
    """What the broker publishes with QoS 1 when we vanish without a goodbye."""

    topic: str
    payload: bytes
    retain: bool = True


class Broker:
    """An open connection. `open`, `publish`, `subscribe`, `lost`, `close`."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    @classmethod
    async def open(
        cls,
        url: str,
        login: Login,
        *,
        will: Will,
        keepalive_s: int,
        timeout_s: float,
        in_flight_max: int,
    ) -> Broker:
        """Connects. Raises BrokerLost."""
        client = await connected(
            url,
            login,
            timeout_s=timeout_s,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain),
            keepalive=keepalive_s,
            max_inflight_messages=in_flight_max,
            logger=_LOGGER,
        )
        client.pending_calls_threshold = in_flight_max + 2
        return cls(client)

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> None:
        """With QoS 1: returns when the broker has acknowledged. Raises BrokerLost or BrokerRefused."""
        try:
            await self._client.publish(topic, payload, qos=qos, retain=retain)
        except ValueError as error:
            raise BrokerRefused(str(error)) from error
        except (aiomqtt.MqttError, OSError) as error:
            raise BrokerLost(f"not acknowledged: {error}") from error

    async def subscribe(self, topic: str) -> None:
        """Asks for what others publish there; `lost` hands it on. Raises BrokerLost."""
        try:
            await self._client.subscribe(topic, qos=1)
        except (aiomqtt.MqttError, OSError) as error:
            raise BrokerLost(f"not subscribed to {topic}: {error}") from error

    async def lost(self, heard: Callable[[bytes], None]) -> str:
        """Waits until the connection is gone; why. `heard` gets the payload of what was subscribed to."""
        try:
            async for message in self._client.messages:
                if isinstance(message.payload, bytes):
                    heard(message.payload)
        except aiomqtt.MqttError as error:
            return str(error)
        return "disconnected"

    async def close(self, timeout_s: float = 1.0) -> None:
        """Says goodbye, for at most `timeout_s`, so that the will is not published."""
        await goodbye(self._client, timeout_s)


async def connected(url: str, login: Login, *, timeout_s: float, **options: Any) -> aiomqtt.Client:
    """A client of aiomqtt with an open connection; `options` are its own. Raises BrokerLost."""
    where = endpoint(url)
    client = aiomqtt.Client(
        where.host,
        where.port,
        identifier=login.client_id,
        username=login.username,
        password=login.password,
        timeout=timeout_s,
        tls_context=ssl.create_default_context(cafile=login.ca_file) if where.tls else None,
        **options,
    )
    try:
        async with asyncio.timeout(timeout_s + CONNECT_S_MAX):
            await client.__aenter__()
    except (aiomqtt.MqttError, OSError, TimeoutError) as error:
        raise BrokerLost(f"{where.host}:{where.port}: {error or 'timeout'}") from error
    return client


async def goodbye(client: aiomqtt.Client, timeout_s: float) -> None:
    """Ends a connection in order where it can within `timeout_s`."""
    with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            await client.__aexit__(None, None, None)
