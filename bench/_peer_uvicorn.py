"""The peer of bench/serving.py: uvicorn and starlette answering the same inference requests, one model, one process.

`MODEL=FILE uvicorn bench._peer_uvicorn:app`: run in the peers' environment, which has none of our packages. It does
what its users do: onnxruntime with one thread, called in the handler, JSON or binary tensors, nothing recorded.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import onnxruntime as ort
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def _session() -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


SESSION = _session()
NAME, OUT = SESSION.get_inputs()[0].name, SESSION.get_outputs()[0].name


async def infer(request: Request) -> Response:
    """One request of the Open Inference Protocol with one FP32 input."""
    body = await request.body()
    end = int(request.headers.get("inference-header-content-length", len(body)))
    tensor = json.loads(body[:end])["inputs"][0]
    binary = "data" not in tensor
    given = np.frombuffer(body, "<f4", offset=end) if binary else np.array(tensor["data"], "<f4")
    answer = SESSION.run([OUT], {NAME: given.reshape(tensor["shape"])})[0]
    described: dict[str, Any] = {"name": OUT, "datatype": "FP32", "shape": list(answer.shape)}
    if not binary:
        described["data"] = answer.ravel().tolist()
        return Response(_head(described), media_type="application/json")
    head = _head(described | {"parameters": {"binary_data_size": answer.nbytes}})
    return Response(
        head + answer.tobytes(),
        media_type="application/octet-stream",
        headers={"inference-header-content-length": str(len(head))},
    )


def _head(described: dict[str, Any]) -> bytes:
    return json.dumps({"model_name": "tiny", "outputs": [described]}, separators=(",", ":")).encode()


app = Starlette(routes=[Route("/v2/models/tiny/infer", infer, methods=["POST"])])
