"""`type = "opcua.write"`: a decision into a variable of an OPC UA server, inside the guard that the binding sets."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sinks.sink import SinkContext
from nodeagent.sinks.writable import Writable, WriteLost, WriteRefused
from nodeagent.sinks.write_back import WriteBack, WriteOptions
from nodeagent.sinks.write_guard import Guard
from nodeagent.sources.opcua_options import Security, split_node

if TYPE_CHECKING:
    from nodeagent.sources.opcua_link import OpcuaLink

T = TypeVar("T")
_NOT_THERE: Final = ("BadNodeIdUnknown", "BadNodeIdInvalid")


class OpcuaWriteOptions(WriteOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`node` is written in the type that the server has for it; `security` as of the source."""

    url: str
    node: str
    security: Security = Security()
    timeout: Seconds = Seconds(4.0)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "opc.tcp" or not parts.hostname or parts.username:
            raise ValueError(f"{self.url!r} is not an address like opc.tcp://10.0.0.7:4840")
        self.check_limits()
        split_node(self.node)
        for beside in (self.guard.heartbeat, self.guard.state):
            if beside:
                split_node(beside)

    @property
    def place(self) -> str:
        return self.node


OPTIONS = OpcuaWriteOptions


class Variable:
    """A variable over an open session."""

    def __init__(self, link: OpcuaLink, kinds: dict[str, str], node: str, guard: Guard) -> None:
        self._link = link
        self._kinds = kinds
        self._node = node
        self._heartbeat = guard.heartbeat
        self._state = guard.state

    @classmethod
    async def open(cls, link: OpcuaLink, node: str, guard: Guard) -> Variable:
        """With the types that the server has for its places. Raises WriteLost."""
        nodes = [each for each in (node, guard.heartbeat, guard.state) if each]
        return cls(link, dict(zip(nodes, await _asked(link.kinds(nodes)), strict=True)), node, guard)

    async def read(self) -> float:
        (sample,) = await _asked(self._link.read([self._node]))
        if sample.reason in _NOT_THERE:
            raise WriteRefused(f"{self._node}: {sample.reason}")
        return sample.value

    async def write(self, value: float) -> None:
        if not self._kinds[self._node]:
            await self.read()  # says where it is not there
        await _asked(self._link.write(self._node, value, self._kinds[self._node]))

    def reads_as(self, value: float) -> float:
        from nodeagent.sources.opcua_link import Refused, stored

        try:
            return float(stored(value, self._kinds[self._node]))
        except Refused:
            return math.nan  # no such value can stand there: writing it says why

    async def beat(self, count: int) -> None:
        from nodeagent.sources.opcua_link import counter_max

        kind = self._kinds[self._heartbeat]
        await _asked(self._link.write(self._heartbeat, count % (counter_max(kind) + 1), kind))

    async def tell(self, code: int) -> None:
        await _asked(self._link.write(self._state, code, self._kinds[self._state]))

    async def close(self) -> None:
        await self._link.close()


async def _asked(work: Awaitable[T]) -> T:
    from nodeagent.sources.opcua_link import LinkLost, Refused

    try:
        return await work
    except LinkLost as error:
        raise WriteLost(str(error)) from error
    except Refused as error:
        raise WriteRefused(str(error)) from error


def create(section: Section, context: SinkContext) -> WriteBack:
    """The sink of a section."""
    assert isinstance(section.options, OpcuaWriteOptions)
    return sink(section.options, context, allow_is_bound=section.is_bound("guard", "allow"))


def sink(options: OpcuaWriteOptions, context: SinkContext, *, allow_is_bound: bool) -> WriteBack:
    """Writes by `options`. `allow_is_bound`: the allow-list stands in the node's binding."""

    async def connect() -> Writable:
        from nodeagent.sources.opcua_link import OpcuaLink

        o = options
        link = await _asked(OpcuaLink.open(o.url, o.security, context.work_dir, timeout_s=float(o.timeout)))
        try:
            return await Variable.open(link, o.node, o.guard)
        except BaseException:
            await link.close()
            raise

    return WriteBack("opcua.write", options, context, connect, allow_is_bound=allow_is_bound)
