"""Triton's own client works against a worker's socket, unchanged but for the way it connects."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def client_of(path: Path) -> Any:
    """The client has no Unix sockets (triton-inference-server/client issues 244, 247): its resolver gives the path."""
    client = triton.InferenceServerClient("localhost:80", concurrency=4)
    client._client_stub._connection_pool._resolve = lambda: [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", str(path))]
    return client


def test_health_metadata_config_statistics_and_index(worker: Any) -> None:
    client = client_of(worker("tiny").path)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert not client.is_model_ready("nope")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("tiny")["inputs"][0]["datatype"] == "FP32"
    assert client.get_model_config("tiny", "1")["backend"] == "onnxruntime"
    assert client.get_inference_statistics("tiny")["model_stats"][0]["version"] == "1"
    assert client.get_model_repository_index()[0]["state"] == "READY"
    client.close()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer_in_every_form(worker: Any, binary_in: bool, binary_out: bool | None, compression: str | None) -> None:
    client = client_of(worker("pair").path)
    a, b = np.arange(6, dtype="f4").reshape(2, 3), np.full((2, 3), 2.5, "f4")
    inputs = []
    for name, array in (("a", a), ("b", b)):
        inputs.append(triton.InferInput(name, [2, 3], "FP32"))
        inputs[-1].set_data_from_numpy(array, binary_data=binary_in)
    names = ("sum", "more")
    outputs = (
        [triton.InferRequestedOutput(n, binary_data=binary_out) for n in names] if binary_out is not None else None
    )
    result = client.infer("pair", inputs, outputs=outputs, request_id="r1", request_compression_algorithm=compression)
    assert result.get_response()["id"] == "r1"
    assert np.array_equal(result.as_numpy("sum"), a + b)
    assert np.array_equal(result.as_numpy("more"), a > b)
    client.close()


def test_strings_and_half_floats(worker: Any) -> None:
    client = client_of(worker("kinds").path)
    inputs = []
    for kind in client.get_model_metadata("kinds")["inputs"]:
        inputs.append(triton.InferInput(kind["name"], [1, 2], kind["datatype"]))
        values = ["a", "\u00e9"] if kind["datatype"] == "BYTES" else [0, 1]
        array = np.array([values], dtype=triton_to_np_dtype(kind["datatype"]))
        inputs[-1].set_data_from_numpy(array, binary_data=True)
    result = client.infer("kinds", inputs)
    assert result.as_numpy("out_FP16").tolist() == [[0.0, 1.0]]
    assert [text.decode() for text in result.as_numpy("out_BYTES")[0]] == ["a", "\u00e9"]
    client.close()


def test_many_at_once_and_errors_in_its_own_exception(worker: Any) -> None:
    client = client_of(worker("tiny").path)
    x = triton.InferInput("x", [1, 16], "FP32")
    x.set_data_from_numpy(np.zeros((1, 16), "f4"))
    waiting = [client.async_infer("tiny", [x]) for _ in range(16)]
    assert all(each.get_result().as_numpy("y").shape == (1, 4) for each in waiting)
    with pytest.raises(InferenceServerException, match="'nope' is not served here"):
        client.infer("nope", [x])
    client.close()
