"""/v2 of a worker: the Open Inference Protocol over the models that it holds, as Triton's and KServe's clients use it.

`fast` answers infer requests without a coroutine each; `handle` answers the rest. Both go to an HttpServer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from nodeagent.http.message import HttpError, Reply, Request, Response, error_response, json_response
from nodeagent.model.batch_probe import Profile
from nodeagent.model.batcher import Batcher, Done, QueueFull
from nodeagent.model.inference import DeadlineExceeded, Model, RunFailed
from nodeagent.model.tensors import Array, TensorSpec
from nodeagent.serving.oip import Requests
from nodeagent.serving.oip_answers import Answers
from nodeagent.serving.statistics import Statistics
from nodeagent.serving.v2_index import SERVER, index_row

_HEADER_LENGTH = "inference-header-content-length"


class Prediction(NamedTuple):
    """One run that was answered over HTTP: the rows of all its requests, column by column.

    `rows` is the length of the first dimension of every array, or 0 where the model's tensors have no rows.
    `latency_us` is of the request that waited longest.
    """

    model: str
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    rows: int
    requests: int
    latency_us: int
    wall_us: int


OnPrediction = Callable[[Prediction], None]


class Served:
    """One model being served under a version."""

    def __init__(
        self, model: Model, version: str, profile: Profile, *, on_prediction: OnPrediction | None = None
    ) -> None:
        self.model = model
        self.name = model.name
        self.version = version
        self.profile = profile
        self.statistics = Statistics()
        self._requests = Requests(model.inputs, model.outputs)
        self._answers = Answers(model.name, version, model.outputs)
        self.batcher = Batcher(model, profile, self._done)
        self._on_prediction = on_prediction
        self._path = f"/v2/models/{self.name}"

    def infer(self, request: Request, reply: Reply) -> None:
        """Answers by `reply`, later or, where the request is wrong, at once."""
        try:
            self.batcher.submit(self._requests.decode(request.body, request.head.headers.get(_HEADER_LENGTH), reply))
        except HttpError as error:
            self.statistics.failed(1, 0, refused=True)
            reply(error_response(self._path, error))
        except QueueFull as error:
            self.statistics.rejected_count += 1
            reply(error_response(self._path, HttpError("LIMIT.BUSY", str(error))))

    def _done(self, done: Done) -> None:
        calls = done.calls
        if done.outputs is None:
            response = error_response(self._path, _as_http(done.error))
            refused = done.error is not None and done.error.by_input
            self.statistics.failed(len(calls), done.run_ns * len(calls), refused=refused)
            for call in calls:
                call.reply(response)
            return
        start_ns = time.perf_counter_ns()
        if len(calls) == 1:
            plan, rows = calls[0].plan, calls[0].plan.rows
            calls[0].reply(self._answers.encode(plan, done.outputs))
        else:
            plans = [call.plan for call in calls]
            rows = sum([plan.rows for plan in plans])
            for call, response in zip(calls, self._answers.encode_rows(plans, done.outputs), strict=True):
                call.reply(response)
        end_ns = time.perf_counter_ns()
        queued_ns = [call.queued_ns for call in calls]
        self.statistics.ran(queued_ns, rows or len(calls), start_ns - done.run_ns, done.run_ns, end_ns)
        if self._on_prediction is not None:
            inputs = {spec.name: array for spec, array in zip(self.model.inputs, done.feeds, strict=True)}
            outputs = {spec.name: array for spec, array in zip(self.model.outputs, done.outputs, strict=True)}
            latency_us = (end_ns - min(queued_ns)) // 1_000
            wall_us = time.time_ns() // 1_000
            self._on_prediction(Prediction(self.name, inputs, outputs, rows, len(calls), latency_us, wall_us))

    # ------------------------------------------------------------ what it is

    def metadata(self) -> dict[str, Any]:
        """The answer to GET /v2/models/NAME."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "onnxruntime_onnx",
            "inputs": [_tensor(spec) for spec in self.model.inputs],
            "outputs": [_tensor(spec) for spec in self.model.outputs],
        }

    def config(self) -> dict[str, Any]:
        """The answer to GET /v2/models/NAME/config. `dims` leave the batch out where rows are batched."""
        batched = self.profile.batch_rows_max > 1
        out: dict[str, Any] = {
            "name": self.name,
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": self.profile.batch_rows_max if batched else 0,
            "input": [_config_tensor(spec, batched) for spec in self.model.inputs],
            "output": [_config_tensor(spec, batched) for spec in self.model.outputs],
            "instance_group": [{"name": self.name, "kind": "KIND_CPU", "count": 1}],
        }
        return {**out, "dynamic_batching": {}} if batched else out

    async def close(self) -> None:
        """Answers what is queued, then lets the model go."""
        await self.batcher.close()
        self.model.close()


class V2:
    """The routes over any number of models."""

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        self._infer: dict[str, Served] = {}

    def add(self, served: Served) -> None:
        """Serves a model, in place of an earlier one of the same name (which the caller closes)."""
        self.remove(served.name)
        self._served[served.name] = served
        self._infer[f"/v2/models/{served.name}/infer"] = served
        self._infer[f"/v2/models/{served.name}/versions/{served.version}/infer"] = served

    def remove(self, name: str) -> Served | None:
        """Stops serving a model; calls under way are still answered."""
        served = self._served.pop(name, None)
        self._infer = {path: each for path, each in self._infer.items() if each is not served}
        return served

    @property
    def models(self) -> list[Served]:
        return list(self._served.values())

    def fast(self, request: Request, reply: Reply) -> bool:
        """The fast path of an HttpServer: infer requests to a known model."""
        head = request.head
        served = self._infer.get(head.path)
        if served is None or head.method != "POST":
            return False
        served.infer(request, reply)
        return True

    def handle(self, request: Request) -> Response:
        """Everything else below /v2. Raises HttpError."""
        parts = request.path.split("/")[1:]
        if parts[0] != "v2":
            raise HttpError("REQUEST.UNKNOWN_PATH", "only /v2 is answered here")
        if parts[1:2] == ["repository"]:
            return self._repository(request, parts[2:])
        if request.method != "GET":
            if parts[-1] == "infer" and parts[1:2] == ["models"]:
                self._find(parts[2:-1])
            raise HttpError("REQUEST.METHOD", f"{request.method} is not answered at this path")
        match parts[1:]:
            case []:
                return json_response(SERVER)
            case ["health", "live"]:
                return Response()
            case ["health", "ready"]:
                return Response(200 if self._served else 400)
            case ["models"]:
                return json_response({"models": sorted(self._served)})
            case ["models", "stats"]:
                return json_response({"model_stats": [_statistics(served) for served in self._served.values()]})
            case ["models", *rest]:
                return self._model(rest)
        raise HttpError("REQUEST.UNKNOWN_PATH", "there is nothing at this path")

    def _model(self, parts: list[str]) -> Response:
        what = parts[-1] if parts[-1] in ("ready", "config", "stats", "infer") and len(parts) > 1 else ""
        served = self._find(parts[:-1] if what else parts)
        if what == "ready":
            return Response()
        if what == "config":
            return json_response(served.config())
        if what == "stats":
            return json_response({"model_stats": [_statistics(served)]})
        if what == "infer":
            raise HttpError("REQUEST.METHOD", "infer is a POST")
        return json_response(served.metadata())

    def _find(self, parts: list[str]) -> Served:
        """The model of [NAME] or [NAME, "versions", VERSION]."""
        served = self._served.get(parts[0]) if parts else None
        if served is None:
            raise HttpError("MODEL.UNKNOWN", f"model {parts[0][:80] if parts else ''!r} is not served here")
        if len(parts) == 1 or (len(parts) == 3 and parts[1:] == ["versions", served.version]):
            return served
        if len(parts) == 3 and parts[1] == "versions":
            hint = f"it is version {served.version}"
            raise HttpError("MODEL.UNKNOWN", f"model {served.name!r} has no version {parts[2][:80]!r}", hint)
        raise HttpError("REQUEST.UNKNOWN_PATH", "there is nothing at this path")

    def _repository(self, request: Request, parts: list[str]) -> Response:
        if parts == ["index"] and request.method in ("GET", "POST"):
            return json_response([index_row(each.name, each.version, True, "") for each in self._served.values()])
        if parts[:1] == ["models"] and parts[-1:] in (["load"], ["unload"]):
            raise HttpError("MODEL.INPUT", "models change by deployments of signed bundles, not by load and unload")
        raise HttpError("REQUEST.UNKNOWN_PATH", "there is nothing at this path")


def _statistics(served: Served) -> dict[str, Any]:
    return served.statistics.triton(served.name, served.version)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape or ())}


def _config_tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    kind = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    dims = list(spec.shape or ())
    return {"name": spec.name, "data_type": kind, "dims": dims[1:] if batched else dims}


def _as_http(error: RunFailed | None) -> HttpError:
    if isinstance(error, DeadlineExceeded):
        return HttpError("MODEL.DEADLINE", str(error))
    if error is not None and error.by_input:
        return HttpError("MODEL.INPUT", str(error))
    return HttpError("MODEL.FAILED", f"the model failed: {error}")
