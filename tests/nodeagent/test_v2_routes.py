"""/v2 of a worker over a real socket: what clients of the Open Inference Protocol send and get."""

from __future__ import annotations

import json
import struct
import threading
from typing import Any

import numpy as np
import pytest

from nodeagent.model.inference import Model, RunPolicy

DTYPES = {
    "UINT8": "u1",
    "UINT16": "u2",
    "UINT32": "u4",
    "UINT64": "u8",
    "INT8": "i1",
    "INT16": "i2",
    "INT32": "i4",
    "INT64": "i8",
    "FP16": "f2",
    "FP32": "f4",
    "FP64": "f8",
    "BOOL": "?",
}
TINY = "/v2/models/tiny/infer"


def tensor(name: str, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def binary(inputs: list[tuple[str, str, list[int], bytes]], **more: Any) -> tuple[bytes, int]:
    """(body, header length) of a request whose tensors are all binary."""
    tensors = [
        tensor(name, datatype, shape, parameters={"binary_data_size": len(raw)})
        for name, datatype, shape, raw in inputs
    ]
    head = json.dumps({"inputs": tensors, **more}).encode()
    return head + b"".join(raw for *_, raw in inputs), len(head)


def test_server_model_config_and_index_say_what_is_there(worker: Any) -> None:
    node = worker("tiny", "pair")
    assert node.ask("GET", "/v2")[1]["name"] == "outstation"
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"):
        assert node.ask("GET", path) == (200, None)
    shape = {"name": "x", "datatype": "FP32", "shape": [-1, 16]}
    assert node.ask("GET", "/v2/models/tiny/versions/1")[1]["inputs"] == [shape]
    assert node.ask("GET", "/v2/models/pair")[1]["outputs"][1] == {"name": "more", "datatype": "BOOL", "shape": [-1, 3]}
    config = node.ask("GET", "/v2/models/tiny/config")[1]
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (64, [16])
    index = node.ask("POST", "/v2/repository/index", {})[1]
    assert [(row["name"], row["state"]) for row in index] == [("tiny", "READY"), ("pair", "READY")]
    assert node.ask("GET", "/v2/models")[1] == {"models": ["pair", "tiny"]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nope", 404),
        ("POST", "/v2/models/nope/infer", 404),
        ("GET", "/v2/models/tiny/versions/9/ready", 404),
        ("GET", "/v2/models/tiny/what/else", 404),
        ("GET", TINY, 405),
        ("DELETE", "/v2/models/tiny", 405),
        ("POST", "/v2/repository/models/tiny/unload", 400),
        ("GET", "/v2/elsewhere", 404),
        ("GET", "/metrics", 404),
    ],
)
def test_what_is_not_there_is_said_in_words(worker: Any, method: str, path: str, status: int) -> None:
    got, body = worker("tiny").ask(method, path)
    assert got == status
    assert body["error"]


@pytest.mark.parametrize("kind", [*DTYPES, "BYTES"])
def test_every_datatype_comes_back_as_it_went_in_binary_and_json(worker: Any, kind: str) -> None:
    node = worker("kinds")
    raws: dict[str, bytes] = {}
    for name, code in DTYPES.items():
        wide = np.arange(6) % 2 if name == "BOOL" else np.array([0, 1, 2, 100, 101, 127])
        raws[name] = wide.astype(code).tobytes()
    texts = ["", "a", "é", "two words", "x" * 300, "\u20ac"]
    raws["BYTES"] = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    inputs = [(f"in_{name}", name, [2, 3], raw) for name, raw in raws.items()]
    body, length = binary(inputs, outputs=[{"name": f"out_{kind}", "parameters": {"binary_data": True}}])
    status, (head, raw) = node.ask("POST", "/v2/models/kinds/infer", body, length)
    assert status == 200
    assert (head["outputs"][0]["datatype"], head["outputs"][0]["shape"]) == (kind, [2, 3])
    assert raw == raws[kind]
    if kind == "FP16":
        return
    body, length = binary(inputs, outputs=[{"name": f"out_{kind}"}])
    status, answer = node.ask("POST", "/v2/models/kinds/infer", body, length)
    values = texts if kind == "BYTES" else np.frombuffer(raws[kind], DTYPES[kind]).tolist()
    assert (status, answer["outputs"][0]["data"]) == (200, values)


def test_json_data_may_be_flat_or_nested(worker: Any) -> None:
    node = worker("pair")
    flat = tensor("a", "FP32", [2, 3], data=[1, 2, 3, 4, 5, 6])
    nested = tensor("b", "FP32", [2, 3], data=[[1, 1, 1], [9, 9, 9.5]])
    status, answer = node.ask("POST", "/v2/models/pair/infer", {"id": "7", "inputs": [nested, flat]})
    assert (status, answer["id"]) == (200, "7")
    assert answer["outputs"][0]["data"] == [2, 3, 4, 13, 14, 15.5]
    assert answer["outputs"][1]["data"] == [False, True, True, False, False, False]


def test_outputs_may_mix_binary_and_json(worker: Any) -> None:
    node = worker("pair")
    inputs = [tensor(name, "FP32", [1, 3], data=[1, 2, 3]) for name in ("a", "b")]
    outputs = [{"name": "more"}, {"name": "sum", "parameters": {"binary_data": True}}]
    _, (head, raw) = node.ask("POST", "/v2/models/pair/infer", {"inputs": inputs, "outputs": outputs})
    assert head["outputs"][0]["data"] == [False, False, False]
    assert np.frombuffer(raw, "f4").tolist() == [2, 4, 6]


X = [0.5] * 16


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"inputs": []}, "input 'x' is missing"),
        ({"inputs": [tensor("z", "FP32", [1, 16], data=X)]}, "input 'z' is unknown; the model takes 'x'"),
        ({"inputs": [tensor("x", "FP64", [1, 16], data=X)]}, "input 'x' is FP32, not 'FP64'"),
        ({"inputs": [tensor("x", "FP32", [16], data=X)]}, "input 'x' has shape [-1, 16], not [16]"),
        ({"inputs": [tensor("x", "FP32", [1, 17], data=X)]}, "input 'x' has shape [-1, 16], not [1, 17]"),
        ({"inputs": [tensor("x", "FP32", [-1, 16], data=X)]}, "is not possible"),
        ({"inputs": [tensor("x", "FP32", [1 << 40, 16], data=X)]}, "is not possible"),
        ({"inputs": [tensor("x", "FP32", [2, 16], data=X)]}, "16 elements do not make shape [2, 16]"),
        ({"inputs": [tensor("x", "FP32", [1, 16], data=["a"] * 16)]}, "neither a flat nor a nested list of FP32"),
        ({"inputs": [tensor("x", "FP32", [1, 16], data=[1e300] * 16)]}, "out of range"),
        ({"inputs": [tensor("x", "FP32", [1, 16])]}, "has no data"),
        ({"inputs": [tensor("x", "FP32", [1, 16], data=X)] * 2}, "given twice"),
        ({"inputs": [tensor("x", "FP32", [1, 16], data=X)], "outputs": [{"name": "q"}]}, "output 'q' is unknown"),
        ({"inputs": [tensor("x", "FP32", [1, 16], parameters={"binary_data_size": 64})]}, "past the end"),
        ({"inputs": [tensor("x", "FP32", [1, 16], parameters={"binary_data_size": -1})]}, "not a length"),
        ({"inputs": [tensor("x", "FP32", [1, 16], data=X)], "parameters": {"timeout": "soon"}}, "timeout"),
        ({"x": 1}, "not an infer request"),
        (b"{", "not an infer request"),
        (b"", "not an infer request"),
        (b"\xff\xfe", "not an infer request"),
    ],
)
def test_a_wrong_request_is_400_and_says_what_is_wrong(worker: Any, request_: Any, text: str) -> None:
    node = worker("tiny")
    status, body = node.ask("POST", TINY, request_)
    assert status == 400
    assert text in body["error"]
    good = {"inputs": [tensor("x", "FP32", [1, 16], data=X)]}
    assert node.ask("POST", TINY, good)[0] == 200


def test_binary_sizes_are_checked_against_shape_and_body(worker: Any) -> None:
    node = worker("tiny")
    body, length = binary([("x", "FP32", [1, 16], bytes(64))])
    assert node.ask("POST", TINY, body, length)[0] == 200
    for wrong_body, wrong_length in ((body + b"x", length), (body[:-1], length), (body, length + 999), (body, 0)):
        assert node.ask("POST", TINY, wrong_body, wrong_length)[0] == 400
    short, length = binary([("x", "FP32", [1, 16], bytes(60))])
    assert "60 bytes given, shape [1, 16] needs 64" in node.ask("POST", TINY, short, length)[1]["error"]


def test_fp16_has_no_json_form(worker: Any, models: Any) -> None:
    node = worker("kinds")
    inputs = [tensor("in_FP16", "FP16", [1, 1], data=[1.0])]
    status, body = node.ask("POST", "/v2/models/kinds/infer", {"inputs": inputs})
    assert status == 400
    assert "FP16" in body["error"]


def test_concurrent_requests_share_runs_and_each_gets_its_own_rows(worker: Any, models: Any) -> None:
    node = worker("tiny")
    model = Model.load(models["tiny"])
    failures: list[str] = []

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(40):
            rows = int(random.integers(1, 5))
            x = random.standard_normal((rows, 16)).astype("f4")
            body, length = binary([("x", "FP32", [rows, 16], x.tobytes())], parameters={"binary_data_output": True})
            _, (_, raw) = node.ask("POST", TINY, body, length)
            want = model.run({"x": x})["y"]
            got = np.frombuffer(raw, "f4").reshape(rows, 4)
            if not np.allclose(got, want, rtol=1e-5, atol=1e-6):
                failures.append(f"{seed}: {got} {want}")

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.close()
    assert not failures
    stats = node.ask("GET", "/v2/models/tiny/stats")[1]["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] == 320
    assert stats["inference_count"] == sum(
        row["batch_size"] * row["compute_infer"]["count"] for row in stats["batch_stats"]
    )
    assert sum(each.requests for each in node.predictions) == 320
    assert all(len(each.inputs["x"]) == len(each.outputs["y"]) == each.rows for each in node.predictions)


def test_a_run_past_its_deadline_is_504_and_the_model_serves_on(worker: Any) -> None:
    node = worker("endless", "tiny", policy=RunPolicy(deadline_s=0.3))
    status, body = node.ask("POST", "/v2/models/endless/infer", {"inputs": [tensor("x", "FP32", [], data=[1.0])]})
    assert (status, body) == (504, {"error": "the model took longer than it may"})
    assert node.ask("POST", TINY, {"inputs": [tensor("x", "FP32", [1, 16], data=X)]})[0] == 200


def test_a_long_model_runs_in_its_thread_and_leaves_the_loop_free(worker: Any) -> None:
    node = worker("slow")
    served = node.v2.models[0]
    assert served.profile.in_thread
    x = tensor("x", "FP32", [1, 512], data=[0.1] * 512)
    assert node.ask("POST", "/v2/models/slow/infer", {"inputs": [x]})[0] == 200
