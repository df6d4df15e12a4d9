"""/v2 of the node: one address for every model. Requests go to the worker that holds the model, over its own socket.

`fast` relays what is about a model; `handle` answers for the node. Without a worker a request waits a second for one,
then gets 503 and the reason; so it does while an agent that has just started does not know all its models yet.
What a dying worker had taken is not sent again: it may be what killed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nodeagent.http.message import HttpError, Reply, Request, Response, error_response, json_response
from nodeagent.serving.upstream import Pending, Upstream
from nodeagent.serving.v2_index import SERVER, index_row, model_of

WAIT_S = 1.0
POLL_S = 0.05
ANSWER_S = 60.0
IDLE_S = 60.0  # less than the worker's own limit, so that no request meets a connection that is being closed
UNDER_WAY_MAX = 1_024
UNDER_WAY_BYTES_MAX = 256 << 20
HEADS_KEPT_MAX = 256
LANES_UNSETTLED_MAX = 64  # names that nobody vouches for yet
_RELAYED = ("content-type", "inference-header-content-length")

# (model, version, worker's state, reason), as Runtimes.models gives them.
Models = Callable[[], Sequence[tuple[str, str, str, str]]]


class Forwarder:
    """Relays to the sockets that `upstream(model)` names (None: there is no worker now).

    `unsettled()`: why `models()` does not hold every model of the node yet; empty once it does.
    """

    def __init__(
        self, upstream: Callable[[str], str | None], models: Models, unsettled: Callable[[], str] = lambda: ""
    ) -> None:
        self._upstream = upstream
        self._models = models
        self._unsettled = unsettled
        self._lanes: dict[str, _Lane] = {}
        self._heads: dict[bytes, tuple[str, bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def fast(self, request: Request, reply: Reply) -> bool:
        """The fast path of an HttpServer: takes every request that is about one model."""
        head = request.head
        kept = self._heads.get(head.raw)
        if kept is None:
            model = model_of(head.path)
            if not model:
                return False
            kept = self._keep(request, model)
        model, lines = kept
        lane = self._lanes.get(model) or self._open(model)
        if lane is None:
            reply(error_response(head.path, self._failure(model)))
            return True
        lane.send(lines + b"%d\r\n\r\n" % len(request.body), request.body, reply)
        return True

    async def handle(self, request: Request) -> Response:
        """What is about the node: /v2, health, the index, statistics of all models. Raises HttpError."""
        models = self._models()
        parts = request.path.rstrip("/").split("/")[1:]
        if request.method == "POST" and parts != ["v2", "repository", "index"]:
            raise HttpError("MODEL.INPUT", "models change by deployments of signed bundles, not by this call")
        match parts:
            case ["v2"]:
                return json_response(SERVER)
            case ["v2", "health", "live"]:
                return Response()
            case ["v2", "health", "ready"]:
                serving = bool(models) and all(state == "serving" for _, _, state, _ in models)
                return Response(200 if serving and not self._unsettled() else 400)
            case ["v2", "models"] | ["v2", "models", "stats"] | ["v2", "repository", "index"] if self._unsettled():
                raise HttpError("MODEL.UNAVAILABLE", self._unsettled())
            case ["v2", "models"]:
                return json_response({"models": sorted(name for name, _, _, _ in models)})
            case ["v2", "models", "stats"]:
                return json_response(
                    {"model_stats": await self._statistics([m[0] for m in models if m[2] == "serving"])}
                )
            case ["v2", "repository", "index"]:
                rows = [index_row(name, version, state == "serving", reason) for name, version, state, reason in models]
                return json_response(rows)
        raise HttpError("REQUEST.UNKNOWN_PATH", "there is nothing at this path")

    async def _statistics(self, names: Sequence[str]) -> list[Any]:
        answers = await asyncio.gather(*(self._fetch(name, f"/v2/models/{name}/stats") for name in names))
        out: list[Any] = []
        for answer in answers:
            if answer.status == 200:
                out += msgspec.json.decode(answer.body)["model_stats"]
        return out

    async def _fetch(self, model: str, path: str) -> Response:
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        lane = self._lanes.get(model) or self._open(model)
        if lane is None:
            return Response(404)
        head = f"GET {path} HTTP/1.1\r\nhost: node\r\ncontent-length: 0\r\n\r\n".encode("ascii")
        lane.send(head, b"", lambda response: None if future.done() else future.set_result(response))
        return await future

    def _keep(self, request: Request, model: str) -> tuple[str, bytes]:
        head = request.head
        target = head.raw.split(b" ", 2)[1]
        lines = [b"%s %s HTTP/1.1\r\nhost: node\r\n" % (request.method.encode("ascii"), target)]
        for name in _RELAYED:
            if name in head.headers:
                lines.append(f"{name}: {head.headers[name]}\r\n".encode("latin-1"))
        kept = (model, b"".join(lines) + b"content-length: ")
        if len(self._heads) >= HEADS_KEPT_MAX:
            self._heads.clear()
        self._heads[head.raw] = kept
        return kept

    def _open(self, model: str) -> _Lane | None:
        known = any(name == model for name, _, _, _ in self._models())
        if not known and (not self._unsettled() or len(self._lanes) >= LANES_UNSETTLED_MAX):
            return None
        lane = self._lanes[model] = _Lane(lambda: self._upstream(model), lambda: self._failure(model))
        if self._timer is None:
            self._sweep()
        return lane

    def _failure(self, model: str) -> HttpError:
        for name, _, state, reason in self._models():
            if name == model:
                return HttpError("MODEL.UNAVAILABLE", f"model {model!r} has no worker: {reason or state}")
        if unsettled := self._unsettled():
            return HttpError("MODEL.UNAVAILABLE", f"model {model[:80]!r} has no worker yet: {unsettled}")
        return HttpError("MODEL.UNKNOWN", f"model {model[:80]!r} is not on this node")

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for model, lane in list(self._lanes.items()):
            if lane.sweep(loop.time()):
                del self._lanes[model]
        self._timer = loop.call_later(1.0, self._sweep)

    async def close(self) -> None:
        """Ends the connections to the workers; what waits gets 503."""
        if self._timer is not None:
            self._timer.cancel()
        for lane in self._lanes.values():
            await lane.close()
        self._lanes.clear()


class _Lane:
    """The way to one model: its connection, and the requests of this turn."""

    def __init__(self, path: Callable[[], str | None], failure: Callable[[], HttpError]) -> None:
        self._path = path
        self._failure = failure
        self._loop = asyncio.get_running_loop()
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._unsent: list[Pending] = []
        self._due = False
        self._unsent_bytes = 0
        self._used_s = self._loop.time()

    def send(self, head: bytes, body: bytes, reply: Reply) -> None:
        """Queues a request for this turn's write."""
        upstream = self._upstream
        count, size = len(self._unsent), self._unsent_bytes
        if upstream is not None:
            count, size = count + len(upstream.waiting), size + upstream.waiting_bytes
        if count >= UNDER_WAY_MAX or size > UNDER_WAY_BYTES_MAX:
            reply(error_response("/v2", HttpError("LIMIT.BUSY", "too many requests wait for this model")))
            return
        self._used_s = self._loop.time()
        self._unsent.append(Pending(head, body, reply, self._used_s))
        self._unsent_bytes += len(body)
        if upstream is not None and self._due:
            return
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._upstream is None:
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())
        elif not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        if self._upstream is not None and self._unsent:
            requests, self._unsent, self._unsent_bytes = self._unsent, [], 0
            self._upstream.send(requests)

    async def _connect(self) -> None:
        until_s = self._loop.time() + WAIT_S
        try:
            while self._upstream is None:
                path = self._path()
                try:
                    if path is not None:
                        async with asyncio.timeout(WAIT_S):
                            _, self._upstream = await self._loop.create_unix_connection(
                                lambda: Upstream(self._ended), path
                            )
                        break
                except OSError:
                    pass  # no worker listens yet: as if there were no path
                if self._loop.time() >= until_s:
                    self._fail(self._unsent, self._failure())
                    return
                await asyncio.sleep(POLL_S)
        finally:
            self._connecting = None
        self._flush()

    def _ended(self, upstream: Upstream, left: list[Pending], refused: bool) -> None:
        if upstream is self._upstream:
            self._upstream = None
        if refused:
            self._unsent = left + self._unsent
            self._unsent_bytes += sum(len(request.body) for request in left)
        else:
            self._fail(left, HttpError("MODEL.UNAVAILABLE", "the worker ended while it had this request"))
        if self._unsent:
            self._flush_soon()

    def _fail(self, requests: list[Pending], error: HttpError) -> None:
        if requests is self._unsent:
            self._unsent, self._unsent_bytes = [], 0
        for request in requests:
            request.reply(error_response("/v2", error))

    def sweep(self, now_s: float) -> bool:
        """Ends a connection that does not answer, or idles. True: the lane is not needed any more."""
        upstream = self._upstream
        if upstream is not None and upstream.waiting and now_s - upstream.waiting[0].since_s > ANSWER_S:
            upstream.close()
        busy = bool(self._unsent) or (upstream is not None and bool(upstream.waiting))
        idle = not busy and now_s - self._used_s > IDLE_S
        if idle and upstream is not None:
            self._upstream = None
            upstream.close()
        return idle and self._connecting is None

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._upstream is not None:
            self._upstream.close()
        self._fail(self._unsent, HttpError("MODEL.UNAVAILABLE", "the agent is ending"))
        await asyncio.sleep(0)
