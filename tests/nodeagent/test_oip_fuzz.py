"""No request body is refused otherwise than by a 400 in words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.http.message import HttpError
from nodeagent.model.tensors import TensorSpec
from nodeagent.serving.oip import Requests
from nodeagent.serving.oip_call import Call

INPUTS = [TensorSpec("a", "FP32", (-1, 3)), TensorSpec("b", "INT8", None), TensorSpec("s", "BYTES", (-1,))]
REQUESTS = Requests(INPUTS, [TensorSpec("y", "FP32", (-1, 3))])

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
_tensor = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "s", "z"]),
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES", "FP16", "", "X"]),
        "shape": st.lists(st.sampled_from([0, 1, 2, 3, -1, 1 << 31, 1 << 62, 1 << 80]), max_size=4) | _json,
    },
    optional={
        "data": _json | st.lists(st.integers(-200, 200), max_size=6) | st.lists(st.text(max_size=3), max_size=3),
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "binary_data"]), st.integers(-1, 12) | _json, max_size=2
        ),
    },
)
_request = st.fixed_dictionaries(
    {"inputs": st.lists(_tensor, max_size=4) | _json},
    optional={"outputs": _json, "id": _json, "parameters": _json},
)


def decode(body: bytes, length: str | None) -> None:
    with contextlib.suppress(HttpError):
        call = REQUESTS.decode(body, length, lambda response: None)
        assert isinstance(call, Call)
        assert all(isinstance(array, np.ndarray) for array in call.feeds())


@settings(max_examples=400, deadline=None)
@given(request=_request | _json, tail=st.binary(max_size=20), length=st.integers(-1, 300))
def test_any_json_and_any_bytes_are_a_call_or_a_400(request: Any, tail: bytes, length: int) -> None:
    head = json.dumps(request).encode()
    decode(head + tail, str(len(head)))
    decode(head + tail, str(length))
    decode(head, None)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=60), length=st.text(max_size=6))
def test_bytes_that_are_no_json_are_a_400(body: bytes, length: str) -> None:
    decode(body, length)
    decode(body, None)


@pytest.mark.parametrize(
    "data", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "9" * 10_000, '"' + "\\ud800" + '"', "[1e999,0,0]", "[null]"]
)
def test_json_made_to_hurt_is_a_400(data: str) -> None:
    body = '{"inputs":[{"name":"a","datatype":"FP32","shape":[1,3],"data":%s}]}' % data  # noqa: UP031
    with pytest.raises(HttpError):
        REQUESTS.decode(body.encode(), None, lambda response: None)


def test_a_kept_header_is_not_mistaken_for_one_of_another_length() -> None:
    requests = Requests([TensorSpec("x", "FP32", (-1,))], [TensorSpec("y", "FP32", (-1,))])
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [tensor]}).encode()
    for values in ([1, 2], [3, 4]):
        raw = np.array(values, "f4").tobytes()
        call = requests.decode(head + raw, str(len(head)), lambda response: None)
        assert call.feeds()[0].tolist() == values
    for wrong in (raw[:-1], raw + b"x", b""):
        with pytest.raises(HttpError):
            requests.decode(head + wrong, str(len(head)), lambda response: None)
