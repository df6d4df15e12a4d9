"""One session with an OPC UA server: the border to asyncua, whose own reconnecting is off.

asyncua is LGPL-3.0-or-later and large: on a node this file alone imports it, for a pipeline that names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import math
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from asyncua import ua as _ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.sources.json_path import Missing, number
from nodeagent.sources.opcua_options import Security, split_node
from store.errors import StoreError

ua: Any = _ua  # its types are generated, and not all are exported
CLOSE_S_MAX: Final = 1.0
QUEUE: Final = 10
SHOWN: Final = 8
CURRENT_TIME: Final = "i=2258"  # Server_ServerStatus_CurrentTime: changes as long as the subscription lives
_BUILD_INFO: Final = {"product": "i=2261", "manufacturer": "i=2263", "version": "i=2264", "build": "i=2265"}
_NAMESPACES: Final = "i=2255"
_WHOLE: Final = {
    "SByte": (-(1 << 7), (1 << 7) - 1),
    "Byte": (0, (1 << 8) - 1),
    "Int16": (-(1 << 15), (1 << 15) - 1),
    "UInt16": (0, (1 << 16) - 1),
    "Int32": (-(1 << 31), (1 << 31) - 1),
    "UInt32": (0, (1 << 32) - 1),
    "Int64": (-(1 << 63), (1 << 63) - 1),
    "UInt64": (0, (1 << 64) - 1),
}
_KINDS: Final = dict(enumerate(("Boolean", *_WHOLE, "Float", "Double"), 1))  # OPC UA Part 6, 5.1.2
_FLOAT_MAX: Final = 3.4028234663852886e38
POLICIES: Final[dict[str, Any]] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}


class LinkLost(Exception):
    """The session is gone or was refused; make a new one. The text says why."""


class Refused(Exception):
    """The server does not write this; the session is fine. The text says why."""


class Sample(NamedTuple):
    """What the server has there, as its library reads it, with the quality that the server gave it."""

    raw: object
    quality: int
    reason: str
    source_us: int | None

    @property
    def value(self) -> float:
        """As a number; NaN where it is none."""
        try:
            return number(self.raw)
        except Missing:
            return math.nan


class OpcuaLink:
    """An open session."""

    def __init__(self, client: Client, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._namespaces: list[str] = []

    @classmethod
    async def open(cls, url: str, security: Security, work_dir: Path, *, timeout_s: float) -> OpcuaLink:
        """Connects, with our own certificate where the policy needs one. Raises LinkLost."""
        logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
        client = Client(url, timeout=timeout_s)
        link = cls(client, timeout_s)
        try:
            async with asyncio.timeout(timeout_s * 2):
                await _secure(client, security, work_dir)
                await client.connect()
                link._namespaces = [str(name) for name in await client.get_namespace_array()]
        except Exception as error:  # asyncua lets out whatever its parsers and its transport raise
            await link.close()
            raise LinkLost(f"{url}: {_why(error)}") from error
        except BaseException:
            await link.close()
            raise
        return link

    async def facts(self) -> dict[str, str]:
        """What the server tells of itself: product, maker, version, build, namespaces. Raises LinkLost."""
        values = await self._values(list(_BUILD_INFO.values()))
        told = {key: str(value.Value.Value) for key, value in zip(_BUILD_INFO, values, strict=True) if value.Value}
        return told | {"namespaces": " ".join(self._namespaces)}

    async def read(self, nodes: Sequence[str]) -> list[Sample]:
        """Their values now, in one request; a node that is not there is a Bad sample. Raises LinkLost."""
        return [sample(value) for value in await self._values(nodes)]

    async def kinds(self, nodes: Sequence[str]) -> list[str]:
        """The type that each is written in, such as Float; "" where the server has none for it. Raises LinkLost."""
        values, types = await self._values(nodes), await self._values(nodes, ua.AttributeIds.DataType)
        return [_kind(value.Value, told.Value) for value, told in zip(values, types, strict=True)]

    async def write(self, node: str, value: float, kind: str) -> None:
        """Writes the value as `kind`, without times: few servers let a client set them. Raises LinkLost, Refused."""
        there = ua.DataValue(ua.Variant(stored(value, kind), ua.VariantType[kind]))
        try:
            async with asyncio.timeout(self._timeout_s):
                (status,) = await self._client.uaclient.write_attributes(
                    [self._node(node)], [there], ua.AttributeIds.Value
                )
        except Exception as error:
            raise LinkLost(f"no answer: {_why(error)}") from error
        if not status.is_good():
            raise Refused(f"{node}: {status.name}")

    async def subscribe(
        self, nodes: Sequence[str], heard: Callable[[int, Sample], None], *, every_s: float
    ) -> dict[int, str]:
        """Lets `heard` have each change by index; which nodes the server refuses, and why. Raises LinkLost."""
        places = {str(self._node(node)): at for at, node in enumerate(nodes)}
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=every_s * 1000,
            RequestedLifetimeCount=600,
            RequestedMaxKeepAliveCount=10,
            MaxNotificationsPerPublish=10_000,
            PublishingEnabled=True,
        )
        try:
            async with asyncio.timeout(self._timeout_s * 2):
                subscription: Any = await self._client.create_subscription(parameters, _Handler(places, heard))
                answers: Any = await subscription.subscribe_data_change(
                    [self._client.get_node(self._node(node)) for node in nodes],
                    queuesize=QUEUE,
                    sampling_interval=every_s * 1000,
                )
        except Exception as error:
            raise LinkLost(f"subscribing: {_why(error)}") from error
        codes = answers if isinstance(answers, list) else [answers]
        return {at: str(getattr(code, "name", code)) for at, code in enumerate(codes) if not isinstance(code, int)}

    async def browse(self, node: str) -> list[tuple[str, str, bool]]:
        """Children of a node: id, name, whether it is a variable. Raises LinkLost."""
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._client.get_node(self._node(node)).get_children_descriptions()
        except Exception as error:
            raise LinkLost(f"browsing {node}: {_why(error)}") from error
        return [
            (each.NodeId.to_string(), str(each.BrowseName.Name), each.NodeClass == ua.NodeClass.Variable)
            for each in found
        ]

    async def raw(self, nodes: Sequence[str]) -> list[tuple[str, str, str]]:
        """Type, value and status of each, as text. Raises LinkLost."""
        return [
            (*_shown(value.Value), str(value.StatusCode.name) if value.StatusCode else "Good")
            for value in await self._values(nodes)
        ]

    async def close(self) -> None:
        """Says goodbye, for at most CLOSE_S_MAX; the socket is closed in any case."""
        try:
            with contextlib.suppress(Exception):  # of a session that is given up nothing is wanted any more
                async with asyncio.timeout(CLOSE_S_MAX):
                    await self._client.disconnect()
        finally:
            self._client.disconnect_socket()

    async def _values(self, nodes: Sequence[str], attribute: Any = ua.AttributeIds.Value) -> list[Any]:
        ids = [self._node(node) for node in nodes]
        try:
            async with asyncio.timeout(self._timeout_s):
                answers: list[Any] = await self._client.uaclient.read_attributes(ids, attribute)
        except Exception as error:
            raise LinkLost(f"no answer: {_why(error)}") from error
        if len(answers) != len(nodes):
            raise LinkLost(f"{len(answers)} values came for {len(nodes)}")
        return answers

    def _node(self, node: str) -> Any:
        uri, rest = split_node(node)
        if not uri:
            return ua.NodeId.from_string(node)
        if uri not in self._namespaces:
            return ua.NodeId.from_string(f"ns=65535;{rest}")  # the server answers BadNodeIdUnknown, for this node alone
        return ua.NodeId.from_string(f"ns={self._namespaces.index(uri)};{rest}")


class _Handler:
    """What asyncua calls with each change."""

    def __init__(self, places: dict[str, int], heard: Callable[[int, Sample], None]) -> None:
        self._places = places
        self._heard = heard

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self._heard(self._places[str(node.nodeid)], sample(data.monitored_item.Value))


def sample(told: Any) -> Sample:
    """A DataValue as a sample."""
    status = told.StatusCode
    quality, reason = GOOD, ""
    if status is not None and not status.is_good():
        quality = UNCERTAIN if status.is_uncertain() else BAD
        reason = str(status.name)
    moment = told.SourceTimestamp
    source_us = None
    if isinstance(moment, datetime.datetime):
        source_us = round(moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp() * 1e6)
    return Sample(told.Value.Value if told.Value is not None else None, quality, reason, source_us)


def counter_max(kind: str) -> int:
    """The highest number of a counter in a place of this type; 16 bits where it has more."""
    return int(min(_WHOLE.get(kind, (0, 0xFFFF))[1], 0xFFFF)) if kind != "Boolean" else 1


def stored(value: float, kind: str) -> bool | int | float:
    """`value` as it stands in a place of this type. Raises Refused where no such value can."""
    if kind == "Boolean" and value in (0, 1):
        return bool(value)
    if kind == "Double":
        return value
    if kind == "Float":
        return struct.unpack("<f", struct.pack("<f", value))[0] if abs(value) <= _FLOAT_MAX else _no(value, kind)
    low, high = _WHOLE.get(kind, (1, 0))
    return int(value) if low <= value <= high and value == int(value) else _no(value, kind)


def _no(value: float, kind: str) -> float:
    raise Refused(f"{value:g} is no value of {kind or 'a variable without a type'}")


def _shown(told: Any) -> tuple[str, str]:
    """Type and value; of an array how long it is, and how it begins."""
    if not told:
        return "", ""
    name, value = str(told.VariantType.name), told.Value
    if isinstance(value, list):
        return f"{name}[{len(value)}]", str(value[:SHOWN])
    return name, str(value)


def _kind(value: Any, told: Any) -> str:
    if value is not None and value.VariantType.name != "Null":
        return str(value.VariantType.name)
    known: Any = told.Value if told is not None else None
    if known is None or known.NamespaceIndex != 0:
        return ""
    return str(_KINDS.get(known.Identifier, ""))


async def _secure(client: Any, security: Security, work_dir: Path) -> None:
    if security.policy != "None":
        from nodeagent.sources.opcua_certificate import APPLICATION_URI, own_certificate

        certificate, key = security.certificate, security.private_key
        if certificate is None or key is None:
            try:
                certificate, key = await asyncio.to_thread(own_certificate, work_dir)
            except StoreError as error:
                raise LinkLost(f"our certificate could not be made: {error}") from error
        client.application_uri = APPLICATION_URI
        await client.set_security(
            POLICIES[security.policy],
            certificate=certificate,
            private_key=key,
            server_certificate=security.server_certificate,
            mode=ua.MessageSecurityMode[security.mode],
        )
    if security.username is not None:
        client.set_user(security.username)
        client.set_password(security.password or "")
    if security.user_certificate is not None and security.user_key is not None:
        await client.load_client_certificate(security.user_certificate)
        await client.load_private_key(security.user_key)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return (str(error) or type(error).__name__)[:200]
