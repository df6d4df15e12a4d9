"""Outputs of text in a batch: each caller gets its own rows as text, whatever the neighbours asked for."""

from __future__ import annotations

import numpy as np

from nodeagent.model.tensors import TensorSpec
from nodeagent.serving.oip import Requests
from nodeagent.serving.oip_answers import Answers
from nodeagent.serving.oip_call import Plan

HEAD = b'{"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","parameters":{"binary_data_size":%d}}],%s}'
BINARY = b'"parameters":{"binary_data_output":true}'


def asked(requests: Requests, rows: int, more: bytes = BINARY) -> Plan:
    head = HEAD % (rows, rows * 8, more)
    return requests.decode(head + bytes(rows * 8), str(len(head)), lambda response: None).plan


def test_rows_of_text_and_of_numbers_go_to_those_who_asked() -> None:
    outputs = [TensorSpec("y", "FP32", (-1,)), TensorSpec("t", "BYTES", (-1,))]
    requests, answers = Requests([TensorSpec("x", "FP32", (-1, 2))], outputs), Answers("m", "1", outputs)
    plans = [
        asked(requests, 1),
        asked(requests, 2),
        asked(requests, 1, b'"outputs":[{"name":"y","parameters":{"binary_data":true}}]'),
    ]
    numbers, texts = np.arange(4, dtype="f4"), np.array(["a", "bc", "def", "g"], dtype=object)
    first, second, third = (response.body for response in answers.encode_rows(plans, [numbers, texts]))
    assert first.endswith(numbers[:1].tobytes() + b"\x01\0\0\0a")
    assert second.endswith(numbers[1:3].tobytes() + b"\x02\0\0\0bc\x03\0\0\0def")
    assert b'"binary_data_size":13' in second
    assert third.endswith(numbers[3:].tobytes())


def test_callers_of_one_header_get_the_same_head_and_their_own_rows() -> None:
    outputs = [TensorSpec("y", "FP32", (-1, 3))]
    requests, answers = Requests([TensorSpec("x", "FP32", (-1, 2))], outputs), Answers("m", "1", outputs)
    plan = asked(requests, 2)
    assert asked(requests, 2) is plan
    numbers = np.arange(12, dtype="f4").reshape(4, 3)
    first, second = (response.body for response in answers.encode_rows([plan, plan], [numbers]))
    assert first.endswith(numbers[:2].tobytes())
    assert second.endswith(numbers[2:].tobytes())
    assert first[:-24] == second[:-24]
    assert b'"shape":[2,3]' in first
