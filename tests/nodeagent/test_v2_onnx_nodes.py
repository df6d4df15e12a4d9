"""ONNX's own node tests through a worker's socket: the answers are bit-equal to onnxruntime called directly."""

from __future__ import annotations

import asyncio
import json
import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodeagent.http.server import HttpServer
from nodeagent.model.batch_probe import Profile
from nodeagent.model.inference import Model, ModelRefused, RunFailed
from nodeagent.model.tensors import Array, to_binary
from nodeagent.serving.v2 import V2, Served

EVERY = 6  # one case of so many, spread over the operators
PASSED_MIN = 240
ALONE = Profile(batch_rows_max=1, run_us=0.0, batch_run_us=0.0, reason="not probed")


def cases() -> list[tuple[str, bytes, list[Any]]]:
    """(name, model, inputs) of a spread of onnx's node tests."""
    with warnings.catch_warnings():  # the cases divide by zero and overflow on purpose
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_node_model_tests

        loaded = load_node_model_tests()
    chosen = [case for number, case in enumerate(loaded) if number % EVERY == 0 and case.data_sets]
    return [(case.name, case.model.SerializeToString(), list(case.data_sets[0][0])) for case in chosen]


def feeds_of(model: Model, given: list[Any]) -> list[Array] | None:
    """The case's inputs as the protocol can carry them; None where it cannot."""
    if len(given) != len(model.inputs) or not all(isinstance(array, np.ndarray) for array in given):
        return None
    return [np.asarray(array) for array in given]


def bodies(model: Model, feeds: list[Array]) -> list[tuple[bytes, int]]:
    """The request in binary, and in JSON where every value has a JSON form: (body, header length or -1)."""
    tensors: list[dict[str, Any]] = [
        {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
        for spec, array in zip(model.inputs, feeds, strict=True)
    ]
    raws = [to_binary(array) for array in feeds]
    sized = [{**t, "parameters": {"binary_data_size": len(raw)}} for t, raw in zip(tensors, raws, strict=True)]
    head = json.dumps({"inputs": sized, "parameters": {"binary_data_output": True}}).encode()
    out = [(head + b"".join(raws), len(head))]
    plain = all(a.dtype.kind not in "f" or (a.dtype != np.float16 and np.isfinite(a).all()) for a in feeds)
    if plain:
        full = [{**t, "data": array.ravel().tolist()} for t, array in zip(tensors, feeds, strict=True)]
        out.append((json.dumps({"inputs": full, "parameters": {"binary_data_output": True}}).encode(), -1))
    return out


async def ask(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], body: bytes, length: int
) -> tuple[bytes, int]:
    """(body, header length) of the answer."""
    reader, writer = streams
    own = f"Inference-Header-Content-Length: {length}\r\n" if length >= 0 else ""
    writer.write(f"POST /v2/models/m/infer HTTP/1.1\r\nHost: n\r\n{own}Content-Length: {len(body)}\r\n\r\n".encode())
    writer.write(body)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()

    def number(name: bytes) -> int:
        return int(head.partition(name + b": ")[2].partition(b"\r\n")[0])

    data = await reader.readexactly(number(b"\r\ncontent-length"))
    assert head.startswith(b"http/1.1 200"), data
    return data, number(b"inference-header-content-length")


async def run_all(folder: Path) -> tuple[int, list[str]]:
    v2, errors, wrong, passed = V2(), list[BaseException](), list[str](), 0
    server = HttpServer(v2.handle, fast=v2.fast, report=errors.append)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    listener.listen(4)
    await server.serve(listener)
    streams = await asyncio.open_unix_connection(str(folder / "s"))
    for name, raw, given in cases():
        (folder / "m.onnx").write_bytes(raw)
        try:
            model = Model.load(folder / "m.onnx")
        except ModelRefused:
            continue
        feeds = feeds_of(model, given)
        try:
            wanted = model.run_list(feeds, deadline_s=5) if feeds is not None else None
        except RunFailed:
            wanted = None
        if feeds is not None and wanted is not None:
            served = Served(model, "1", ALONE)
            v2.add(served)
            for body, length in bodies(model, feeds):
                data, end = await ask(streams, body, length)
                if data[end:] != b"".join(to_binary(array) for array in wanted):
                    wrong.append(name)
                shapes = [tuple(output["shape"]) for output in json.loads(data[:end])["outputs"]]
                assert shapes == [array.shape for array in wanted]
            passed += 1
        model.close()
    streams[1].close()
    await server.close()
    assert not errors
    return passed, wrong


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_onnx_node_cases_are_bit_equal_through_the_server(tmp_path: Path) -> None:
    passed, wrong = asyncio.run(run_all(tmp_path))
    nondeterministic = {name for name in wrong if any(part in name for part in ("random", "bernoulli", "dropout"))}
    assert set(wrong) == nondeterministic
    assert passed >= PASSED_MIN
