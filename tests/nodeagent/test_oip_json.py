"""A JSON request whose text is known is read as if it were new, and refused in the same words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nodeagent.http.message import HttpError, Response
from nodeagent.model.tensors import DTYPES, TensorSpec
from nodeagent.serving.oip import Requests
from nodeagent.serving.oip_answers import Answers
from nodeagent.serving.oip_call import Call, join

X, OUTPUTS = TensorSpec("x", "FP32", (-1, 4)), [TensorSpec("y", "FP32", (-1, 3)), TensorSpec("n", "INT64", (-1,))]


def read(requests: Requests, body: bytes) -> Call | str:
    try:
        return requests.decode(body, None, lambda response: None)
    except HttpError as error:
        return str(error)


def request(data: str, datatype: str = "FP32", more: str = "", rows: int = 1) -> bytes:
    return f'{{"inputs":[{{"name":"x","shape":[{rows},4],"datatype":"{datatype}","data":{data}}}]{more}}}'.encode()


def same(requests: Requests, body: bytes, datatype: str = "FP32") -> Call | str:
    """What a reader that knows the text makes of a request, when a reader that knows nothing makes the same of it."""
    got, new = read(requests, body), read(Requests([TensorSpec("x", datatype, (-1, 4))], OUTPUTS), body)
    if isinstance(got, str) or isinstance(new, str):
        assert got == new
        return got
    (ours,), (wanted,) = got.feeds(), new.feeds()
    assert (ours.dtype, ours.shape, ours.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
    assert (got.plan.rows, got.plan.signature, got.plan.outputs) == (
        new.plan.rows,
        new.plan.signature,
        new.plan.outputs,
    )
    return got


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT8", "INT32", "INT64", "UINT8", "UINT64"])
def test_numbers_of_every_type_are_read_alike(datatype: str) -> None:
    random, dtype = np.random.default_rng(5), DTYPES[datatype]
    requests = Requests([TensorSpec("x", datatype, (-1, 4))], OUTPUTS)
    first = same(requests, request("[1,2,3,4]", datatype), datatype)
    assert isinstance(first, Call)
    for _ in range(50):
        raw = random.bytes(4 * dtype.itemsize)
        values = np.nan_to_num(np.frombuffer(raw, dtype)).tolist()
        call = same(requests, request(json.dumps(values), datatype), datatype)
        assert isinstance(call, Call)
        assert call.plan is first.plan


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "UINT64"])
@pytest.mark.parametrize(
    "data",
    [
        *(
            "[1,2,3]",
            "[1,2,3,4,5]",
            "[]",
            "[[1,2,3,4]]",
            "[[1,2],[3,4]]",
            "[1,2,3,null]",
            '["1",2,3,4]',
            "[1,2,3,true]",
        ),
        *("[1,2,3,4", "1,2,3,4]", "[1,2,3,4]]", "[1 2 3 4]", "[1,,3,4]", "[1,2,3,NaN]", "[1,2,3,1e999]", "[1,2,3,3.5]"),
        *("[1,2,3,1e39]", "[1,2,3,3.4028235e38]", "[1,2,3,3.40282356e38]", "[1,2,3,-129]", "[1,2,3,-128]"),
        *("[1,2,3,256]", "[1,2,3,18446744073709551615]", "[1,2,3,18446744073709551616]", "[ 1,2,3,4 ]", " [1,2,3,4]"),
        *('{"data":[1,2,3,4]}', "[1,2,3,\xff]", "[1.0,2,3,4]", '[1,2,3,4],"data":[5,6,7,8]'),
    ],
)
def test_wrong_data_in_a_known_text_are_refused_as_ever(data: str, datatype: str) -> None:
    requests = Requests([TensorSpec("x", datatype, (-1, 4))], OUTPUTS)
    for known in ("[1,2,3,4]", " [1,2,3,4]"):
        assert isinstance(same(requests, request(known, datatype), datatype), Call)
    for _ in range(2):
        same(requests, request(data, datatype), datatype)


@pytest.mark.parametrize(
    "text",
    [
        '{"parameters":{"x\\"data":[9,9,9,9]},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","d\\u0061ta":%s}]}',
        '{"parameters":{"data":[9,9,9,9]},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":%s}]}',
        '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":%s}],"id":"a"}',
        '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":%s}],"parameters":{"timeout":70000}}',
        '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":%s,"data":[9,9,9,9]}]}',
        '{"parameters":{"data":[1,2,3,4]},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","d\\u0061ta":%s}]}',
    ],
)
def test_a_text_that_says_data_in_two_ways_is_read_whole_each_time(text: str) -> None:
    requests = Requests([X], OUTPUTS)
    for data in ("[1,2,3,4]", "[9,9,9,9]", "[5,6,7,8]"):
        body = (text % data).encode()
        assert isinstance(same(requests, body), Call)
        assert isinstance(same(requests, body.replace(b"[9,9,9,9]", b"[8,8,8,8]", 1)), Call)


def test_calls_of_one_text_become_one_array() -> None:
    requests = Requests([X], OUTPUTS)
    bodies = [request(f"[{n},{n},{n},{n}]") for n in range(5)] + [request("[5,5,5,5,6,6,6,6]", rows=2)]
    calls = [requests.decode(body, None, lambda response: None) for body in bodies for _ in range(2)]
    for some in (calls, calls[1::2], calls[3:4]):
        (array,) = join(some)
        wanted = np.concatenate([call.feeds()[0] for call in some])
        assert (array.dtype, array.shape, array.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())


def answer(response: Response) -> dict[str, Any]:
    got = json.loads(response.body)
    assert isinstance(got, dict)
    return got


@pytest.mark.parametrize(
    "more", ["", ',"id":"seven"', ',"outputs":[{"name":"n"}]', ',"outputs":[{"name":"n"},{"name":"y"}]']
)
def test_numbers_in_answers_are_those_of_the_rows_that_were_asked(more: str) -> None:
    requests, answers = Requests([X], OUTPUTS), Answers("m", "1", OUTPUTS)
    y = np.arange(12, dtype="f4").reshape(4, 3) / np.float32(7)
    y[2, 1], n = np.nan, np.arange(4)
    plans = [
        requests.decode(request(f"[{[0] * 4 * rows}]"[1:-1], more=more, rows=rows), None, print).plan
        for rows in (1, 2, 1)
    ]
    at = 0
    for plan, response in zip(plans, answers.encode_rows(plans, [y, n]), strict=True):
        part = [y[at : at + plan.rows], n[at : at + plan.rows]]
        alone = answer(answers.encode(plan, part))
        assert answer(response) == alone
        assert alone.get("id") == (plan.id or None)
        assert alone["model_name"] == "m"
        for tensor in alone["outputs"]:
            array = part[0] if tensor["name"] == "y" else part[1]
            assert tensor["shape"] == list(array.shape)
            values = [np.nan if value is None else value for value in tensor["data"]]
            assert np.array(values, array.dtype).tobytes() == array.ravel().tobytes()
        at += plan.rows
