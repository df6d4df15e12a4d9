"""HTTP inference on the model's own socket: /v2 while the worker is active, and a record for every prediction."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from nodeagent.http.message import HttpError, Request, Response, json_response
from nodeagent.http.server import HttpServer
from nodeagent.model.tensors import Array
from nodeagent.serving.v2 import V2, Prediction, Served
from nodeagent.sources.doors import Doors, NotTaken
from nodeagent.spec import Activation
from nodeagent.worker.loading import Loaded
from nodeagent.worker.stats import WorkerStats
from store.segment import Row

VALUE_BYTES_MAX: Final = 64 << 10
HTTP_DECISION: Final = ""

Record = Callable[[Iterable[Row]], None]


class ModelService:
    """Serves one model. `record` gets the rows of every answer; `report` what a handler let out, which is a bug."""

    def __init__(
        self,
        activation: Activation,
        loaded: Loaded,
        stats: WorkerStats,
        *,
        doors: Doors,
        record: Record,
        report: Callable[[BaseException], None],
    ) -> None:
        self._stats = stats
        self._record = record
        self._report = report
        self._served = Served(loaded.model, activation.version, loaded.profile, on_prediction=self._predicted)
        self._doors = doors
        self._routes = V2()
        self._routes.add(self._served)
        self._server: HttpServer | None = None

    async def open(self, listening: socket.socket, connections: Iterable[tuple[socket.socket, bytes]]) -> None:
        """Goes on with the connections and accepts new ones. Owns `listening` from here on, and each connection."""
        server = HttpServer(self._handle, fast=self._routes.fast, report=self._report, path_of_unreadable="/v2")
        self._server = server
        for sock, leftover in connections:
            await server.adopt(sock.dup(), leftover)
        await server.serve(listening)

    async def release(self, drain_s: float) -> list[tuple[socket.socket, bytes]]:
        """Finishes what is under way and gives up the open connections with what arrived on them."""
        server, self._server = self._server, None
        if server is None:
            return []
        released = await server.release(drain_s)
        await server.close(drain_s=0.5)
        return released

    async def close(self, drain_s: float) -> None:
        """Finishes what is under way and closes every connection."""
        server, self._server = self._server, None
        if server is not None:
            await server.close(drain_s)

    def counts(self) -> tuple[int, int]:
        """(errors, rejects) since the start: the model's failures, and requests that were not fit or found no place."""
        statistics = self._served.statistics
        return statistics.fail_count - statistics.refused_count, statistics.refused_count + statistics.rejected_count

    def _handle(self, request: Request) -> Response:
        """/v2, and what is posted to the sources of the pipeline. Raises HttpError."""
        parts = request.path.split("/")[1:]
        if parts[:2] != ["v2", "models"] or len(parts) != 5 or parts[3] != "sources":
            return self._routes.handle(request)
        door = self._doors.find(parts[4]) if parts[2] == self._served.name else None
        if door is None:
            raise HttpError("REQUEST.UNKNOWN_PATH", f"no source {parts[4][:80]!r} of type push runs here")
        if request.method != "POST":
            raise HttpError("REQUEST.METHOD", "sweeps are posted")
        try:
            return json_response({"taken": door(request.body)})
        except NotTaken as error:
            raise HttpError("MODEL.INPUT", str(error)) from error

    def _predicted(self, prediction: Prediction) -> None:
        self._stats.predicted(prediction.latency_us, prediction.rows or prediction.requests)
        self._record(rows_of(prediction))


def rows_of(prediction: Prediction) -> Iterator[Row]:
    """The records of one answered run: one a row of the model, or one for the whole where it has no rows.

    Inputs and outputs are what went in and came out, flat; text and values past VALUE_BYTES_MAX are left out. The score
    is the first floating output where that is one value a row. There is no decision: the asker decides.
    """
    inputs = _columns(prediction.inputs, prediction.rows)
    outputs = _columns(prediction.outputs, prediction.rows)
    scores = _scores(prediction)
    for at in range(prediction.rows or 1):
        yield Row(
            wall_us=prediction.wall_us,
            source_us=None,
            latency_us=prediction.latency_us,
            score=scores[at] if scores is not None else None,
            label="",
            decision=HTTP_DECISION,
            quality=0,
            reason="",
            inputs=None if inputs is None else inputs[at].tobytes(),
            outputs=None if outputs is None else outputs[at].tobytes(),
        )


def _columns(arrays: dict[str, Array], rows: int) -> Array | None:
    """One row of float32 for each record; None where they are too long to keep, or none is a number."""
    numbers = [array.reshape(rows or 1, -1) for array in arrays.values() if array.dtype.kind in "biuf"]
    if not numbers or sum(part.shape[1] for part in numbers) * 4 > VALUE_BYTES_MAX:
        return None
    joined: Array = numbers[0] if len(numbers) == 1 else np.concatenate(numbers, axis=1)
    return np.ascontiguousarray(joined, "<f4")


def _scores(prediction: Prediction) -> list[Any] | None:
    for array in prediction.outputs.values():
        if array.dtype.kind == "f":
            rows = prediction.rows or 1
            return array.reshape(rows).astype(float).tolist() if array.size == rows else None
    return None
