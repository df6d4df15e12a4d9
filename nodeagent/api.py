"""The management API's border: finds the route, decides who may, decodes strictly, encodes the answer.

Handlers take a Call and return a protocol value, a Stream of them, or a Response of their own. Who may do what is
decided here and nowhere else: the socket's role, node.toml's access, a worker as peer, the node's id in each write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from nodeagent import protocol
from nodeagent.http.message import HttpError, Peer, Request, Response, json_response
from nodeagent.http.preface import as_said
from nodeagent.runtime.runtime import Refused
from nodeagent.state.database import Condition, NotWritable
from nodeagent.state.standing import CHANGE_NUMBER
from store.errors import Busy
from store.node import lease as leases

NDJSON = {"content-type": "application/x-ndjson"}
HOLD = ("POST", f"{protocol.API}/hold")
RELEASE = ("POST", f"{protocol.API}/hold/release")


@dataclasses.dataclass(frozen=True)
class Call:
    """One request to one route: `path` holds the {x} segments, `body` the decoded request or None."""

    request: Request
    path: Mapping[str, str]
    body: Any

    @property
    def peer(self) -> Peer:
        return self.request.peer

    @property
    def actor(self) -> str:
        """The name that goes into the ledger."""
        return self.peer.actor

    def query_int(self, name: str, default: int, *, minimum: int = 0, maximum: int) -> int:
        """An integer of the query within its bounds; REQUEST.MALFORMED otherwise."""
        text = self.request.query.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.lstrip("-").isdigit() or not minimum <= int(text) <= maximum:
            raise HttpError("REQUEST.MALFORMED", f"{name} is an integer from {minimum} to {maximum}")
        return int(text)

    def query_text(self, name: str, chars_max: int = 64) -> str:
        """A text of the query, "" when it is not there."""
        text = self.request.query.get(name, "")
        if len(text) > chars_max:
            raise HttpError("REQUEST.MALFORMED", f"{name} has more than {chars_max} characters")
        return text


@dataclasses.dataclass(frozen=True)
class Stream:
    """An answer without end: one JSON line an item. Items may be encoded already."""

    items: AsyncGenerator[Any, None]


Endpoint = Callable[[Call], Awaitable[Any]]
Endpoints = Mapping[tuple[str, str], Endpoint]


@dataclasses.dataclass(frozen=True)
class Gate:
    """What decides whether a peer may write. `is_safe`: the node is in SAFE, where only a hold is taken."""

    node_id: str
    access: str
    is_worker: Callable[[int], bool]
    is_local: Callable[[int], bool]
    is_safe: Callable[[], bool]

    def admit_process(self, peer: Peer) -> None:
        """Raises where the process at the other end may not speak here, whatever it says of itself."""
        if peer.kind == "tcp":
            raise HttpError("REQUEST.UNKNOWN_PATH", "management is not served on TCP")
        if peer.role == "operate" and self.is_worker(peer.pid):
            raise HttpError("ACCESS.WORKER", "a worker may not speak to the operate socket")

    def admit(self, route: tuple[str, str], peer: Peer) -> None:
        """Raises ACCESS.*, NODE.SAFE where the peer may not use the route."""
        _, _, needs_operate = protocol.ROUTES[route]
        if route[0] != "GET" and route not in (HOLD, _PASSPORT):
            self._admit_write(route, peer, needs_operate=needs_operate)
        if route[0] != "GET" and route not in (HOLD, _PASSPORT) and self.is_safe():
            raise HttpError("NODE.SAFE", "the node's database cannot be used; nothing can be changed", _SAFE_HINT)

    def _admit_write(self, route: tuple[str, str], peer: Peer, *, needs_operate: bool) -> None:
        if needs_operate and peer.role != "operate":
            raise HttpError("ACCESS.MONITOR_ONLY", "this login may only watch, and hold", _ROLE_HINT)
        if route in protocol.RELEASE_ROUTES and not peer.releases:
            text = "this login may operate what is on the node, and bring nothing new to it"
            raise HttpError("ACCESS.RELEASE_ONLY", text, "Log in with a key whose role is release.")
        if self.access != "operate" and not (route == RELEASE and peer.kind == "unix" and self.is_local(peer.pid)):
            raise HttpError("ACCESS.MONITOR_ONLY", "node.toml says access = monitor", _ACCESS_HINT)


_CHANGE_NUMBER = re.compile(protocol.CHANGE_NUMBER_PATTERN)
_PASSPORT = ("POST", f"{protocol.API}/passport")
_LEASE = ("POST", f"{protocol.API}/lease")
# Asked again and again on the way to an order, and orders nothing by themselves.
_NOT_NOTED = (_PASSPORT, _LEASE, ("PUT", f"{protocol.API}/blobs/{{digest}}"))
_ROLE_HINT = "Log in with a key whose role is operate, or release."
_ACCESS_HINT = "Only hold is taken from afar; release it with outstation-agent release on the node."
_SAFE_HINT = "Run outstation-agent check on the node."


class Api:
    """Routes requests to endpoints. `endpoints` must answer every route of protocol.ROUTES.

    `note` is told of every order that was carried out, and by whom.
    """

    def __init__(self, endpoints: Endpoints, gate: Gate, note: Callable[[str], object]) -> None:
        if missing := set(protocol.ROUTES) - set(endpoints):
            raise ValueError(f"routes without an endpoint: {sorted(missing)}")
        self._endpoints = endpoints
        self._gate = gate
        self._note = note
        self._tree = [(path.split("/"), method, path) for method, path in protocol.ROUTES]
        self._decoders = {
            route: msgspec.json.Decoder(kind)
            for route, (kind, _, _) in protocol.ROUTES.items()
            if kind is not None and kind is not bytes
        }

    async def handle(self, request: Request) -> Response:
        """Answers one request below /agent/v1. Raises HttpError."""
        route, path = self._find(request)
        self._gate.admit_process(request.peer)
        request.peer = as_said(request.peer, request.headers)
        self._gate.admit(route, request.peer)
        call = Call(request, path, self._decode(route, request))
        number = CHANGE_NUMBER.set(change_number(call.body))
        try:
            answer = await self._endpoints[route](call)
        except _REFUSALS as error:
            raise _refusal(error) from error
        finally:
            CHANGE_NUMBER.reset(number)
        if route[0] != "GET" and route not in _NOT_NOTED:
            self._note(f"{request.path.removeprefix(f'{protocol.API}/')[:200]} by {request.peer.actor}")
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, Stream):
            return Response(200, headers=NDJSON, stream=_lines(answer.items))
        return json_response(answer)

    def _find(self, request: Request) -> tuple[tuple[str, str], dict[str, str]]:
        parts = request.path.split("/")
        allowed: list[str] = []
        for pattern, method, path in self._tree:
            if (values := _match(pattern, parts)) is not None:
                if method == request.method:
                    return (method, path), values
                allowed.append(method)
        if allowed:
            raise HttpError("REQUEST.METHOD", f"{request.path} takes {', '.join(sorted(allowed))}")
        raise HttpError("REQUEST.UNKNOWN_PATH", f"{request.path} is not part of the API")

    def _decode(self, route: tuple[str, str], request: Request) -> Any:
        decoder = self._decoders.get(route)
        if decoder is None:
            return None
        try:
            body = decoder.decode(request.body)
        except (msgspec.DecodeError, ValueError) as error:
            raise HttpError("REQUEST.MALFORMED", str(error)) from error
        if body.node_id != self._gate.node_id:
            hint = "The inventory's entry names another node; look at both ids before doing anything."
            raise HttpError("REQUEST.WRONG_NODE", f"this node is {self._gate.node_id}, not {body.node_id[:64]}", hint)
        return body


def change_number(body: Any) -> str:
    """The number that a write names, "" where it names none. Raises REQUEST.MALFORMED for what no book would take."""
    number = str(getattr(body, "change_number", ""))
    if number and not _CHANGE_NUMBER.fullmatch(number):
        raise HttpError("REQUEST.MALFORMED", f"a change number is {protocol.CHANGE_NUMBER_WORDS}")
    return number


def _match(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    values: dict[str, str] = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{") and part:
            values[expected[1:-1]] = part
        elif expected != part:
            return None
    return values


async def _lines(items: AsyncGenerator[Any, None]) -> AsyncIterator[bytes]:
    encode = msgspec.json.Encoder().encode
    async with contextlib.aclosing(items):
        async for item in items:
            yield (item if isinstance(item, bytes) else encode(item)) + b"\n"


def _refusal(error: Exception) -> HttpError:
    """What the store refuses, as the operator reads it."""
    if isinstance(error, NotWritable):
        code = {
            Condition.READ_ONLY: "DEPLOYMENT.READ_ONLY",
            Condition.DISK_FULL: "DEPLOYMENT.DISK_FULL",
        }.get(error.condition, "NODE.SAFE")
        return HttpError(code, str(error), "Serving goes on. Look at the node's disk.")
    if isinstance(error, leases.Held):
        return HttpError(
            "LEASE.HELD",
            str(error),
            "Talk to them, wait until it ends, or take it: --break-lease. Both names go into the ledger.",
        )
    if isinstance(error, leases.Fenced):
        holder = error.lease.holder if error.lease is not None else "nobody"
        return HttpError("LEASE.FENCED", f"the lease is not yours: {holder} had it last", "Take the lease again.")
    if isinstance(error, Refused):
        return HttpError(error.code, error.message, error.hint)
    return HttpError("LIMIT.BUSY", str(error), "Try again.")


_REFUSALS = (NotWritable, leases.Held, leases.Fenced, Refused, Busy)
