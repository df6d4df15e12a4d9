"""The static walk: facts as the onnx package sees them, and a refusal for whatever must not reach the runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nodeagent.model.onnx_walk import ModelFacts, WalkLimits, walk, walk_bytes
from nodeagent.model.wire import Refused, integers, text, varint


def value(name: str, shape: Any = (1,), kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [value("x")], [value("y")], list(weights))


def model(
    body: onnx.GraphProto, functions: tuple[onnx.FunctionProto, ...] = (), domains: tuple[str, ...] = ("",)
) -> bytes:
    opsets = [helper.make_opsetid(domain, 17) for domain in domains]
    made = helper.make_model(body, opset_imports=opsets, functions=list(functions), ir_version=9)
    return made.SerializeToString()


def external(location: str, *, mark: bool = True) -> bytes:
    tensor = TensorProto(name="w", data_type=1, dims=[16])
    if mark:
        tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return model(graph(helper.make_node("Add", ["x", "w"], ["y"]), weights=(tensor,)))


def function(name: str, calls: str, domain: str = "fn") -> onnx.FunctionProto:
    node = helper.make_node(calls, ["a"], ["b"], domain=domain if calls != "Identity" else "")
    return helper.make_function(domain, name, ["a"], ["b"], [node], [helper.make_opsetid("", 17)])


def chain(length: int) -> bytes:
    functions = [function(f"F{n}", f"F{n + 1}" if n + 1 < length else "Identity") for n in range(length)]
    return model(graph(helper.make_node("F0", ["x"], ["y"], domain="fn")), tuple(functions), ("", "fn"))


def nested(depth: int) -> bytes:
    body = graph(helper.make_node("Identity", ["x"], ["y"]))
    for _ in range(depth):
        body = graph(helper.make_node("If", ["x"], ["y"], then_branch=body))
    return model(body)


def weight(**fields: Any) -> bytes:
    tensor = TensorProto(name="w", **fields)
    return model(graph(helper.make_node("Add", ["x", "w"], ["y"]), weights=(tensor,)))


def attribute(operator: str, **attributes: Any) -> bytes:
    return model(graph(helper.make_node(operator, ["x"], ["y"], **attributes)))


def sparse() -> bytes:
    made = onnx.SparseTensorProto(dims=[1 << 30])
    made.values.CopyFrom(numpy_helper.from_array(np.ones(1, "f4"), "w"))
    made.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, "i8"), "i"))
    body = graph(helper.make_node("Identity", ["w"], ["y"]))
    body.sparse_initializer.append(made)
    return model(body)


def blocksize_without_value() -> bytes:
    node = helper.make_node("DepthToSpace", ["x"], ["y"])
    node.attribute.append(onnx.AttributeProto(name="blocksize", type=onnx.AttributeProto.INT))
    return model(graph(node))


PLAIN = model(graph(helper.make_node("Identity", ["x"], ["y"])))

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "external data that climbs": (lambda: external("../../etc/passwd"), "external data"),
    "external data by an absolute path": (lambda: external("/etc/passwd"), "external data"),
    "external data in the same folder": (lambda: external("w.bin"), "external data"),
    "external data as a memory address": (lambda: external("*/_ORT_MEM_ADDR_/*"), "external data"),
    "external data that is not marked": (lambda: external("w.bin", mark=False), "external data"),
    "a foreign domain": (
        lambda: model(graph(helper.make_node("Evil", ["x"], ["y"], domain="com.evil")), (), ("", "com.evil")),
        "com.evil",
    ),
    "an unlisted operator of com.microsoft": (
        lambda: model(graph(helper.make_node("MatMulNBits", ["x"], ["y"], domain="com.microsoft"))),
        "not on the list",
    ),
    "a deep chain of functions": (lambda: chain(200), "deeper than"),
    "too many functions": (lambda: chain(300), "functions"),
    "a function that calls itself": (
        lambda: model(graph(helper.make_node("F", ["x"], ["y"], domain="fn")), (function("F", "F"),), ("", "fn")),
        "deeper than",
    ),
    "graphs in graphs": (lambda: nested(20), "nested deeper"),
    "a sparse initializer": (sparse, "sparse"),
    "a stride of zero": (lambda: attribute("Conv", strides=[0, 1]), "strides"),
    "a huge block": (lambda: attribute("DepthToSpace", blocksize=1 << 32), "blocksize"),
    "a block without a value": (blocksize_without_value, "blocksize"),
    "weights shorter than their shape": (lambda: weight(data_type=1, dims=[1 << 20], raw_data=bytes(16)), "needs"),
    "weights without data": (lambda: weight(data_type=1, dims=[1 << 20]), "no data"),
    "too many elements": (lambda: weight(data_type=1, dims=[1 << 20, 1 << 20]), "more than"),
    "a negative dimension": (lambda: weight(data_type=1, dims=[-1]), "negative"),
    "an unknown type": (lambda: weight(data_type=99, dims=[1], raw_data=bytes(4)), "unknown type"),
    "half a file": (lambda: PLAIN[: len(PLAIN) // 2], ""),
    "nothing": (lambda: b"", ""),
    "not protobuf": (lambda: b"\x7fELF" + bytes(range(200)), ""),
    "a pickle": (lambda: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix", ""),
    "a fixed field past the end": (lambda: PLAIN + b"\xf9\x07\x01", "past the end"),
    "a group": (lambda: PLAIN + b"\xfb\x07", "wire type"),
    "a string where a number belongs": (lambda: b"\x0a\x01a" + PLAIN, "wire type"),
    "a number without end": (lambda: PLAIN + b"\x08" + b"\xff" * 12, "ten bytes"),
    "field zero": (lambda: PLAIN + b"\x00\x00", "field number"),
    "a second main graph": (lambda: PLAIN + model(graph(helper.make_node("Neg", ["x"], ["y"]))), "more than one"),
    "a name of a megabyte": (lambda: attribute("A" * (1 << 20)), "longer than"),
    "no operator sets": (lambda: PLAIN[: PLAIN.rfind(b"\x42")], ""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_model_that_must_not_be_loaded_is_refused_in_words(what: str) -> None:
    make, words = HOSTILE[what]
    with pytest.raises(Refused, match=words or "."):
        walk_bytes(make())


def test_the_facts_are_those_of_the_onnx_package(models: dict[str, Path]) -> None:
    for path in models.values():
        facts, truth = walk(path), onnx.load(str(path))
        assert facts.ir_version == truth.ir_version
        assert facts.opsets == {entry.domain: entry.version for entry in truth.opset_import}
        assert {node.op_type for node in truth.graph.node} <= set(facts.operators)
        weights = [numpy_helper.to_array(tensor) for tensor in truth.graph.initializer]
        initializers = sum(array.nbytes for array in weights)
        assert initializers <= facts.weight_bytes <= initializers + 64
        assert facts.memory_bytes >= facts.weight_bytes
        assert [each.name for each in facts.inputs] == [each.name for each in truth.graph.input]
        assert [each.name for each in facts.outputs] == [each.name for each in truth.graph.output]


def test_datatypes_and_shapes_are_in_the_words_of_the_protocol(models: dict[str, Path]) -> None:
    facts = walk(models["kinds"])
    assert {tensor.name: tensor.datatype for tensor in facts.inputs} == {
        f"in_{kind}": kind for kind in (tensor.datatype for tensor in facts.outputs)
    }
    assert all(tensor.shape == (-1, -1) for tensor in facts.inputs)
    assert walk(models["fixed"]).inputs[0].shape == (2, 3)


def test_functions_of_the_model_and_listed_operators_are_accepted() -> None:
    assert walk_bytes(chain(5)).functions == 5
    gelu = model(graph(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")), (), ("", "com.microsoft"))
    assert walk_bytes(gelu).operators == ["com.microsoft::Gelu"]


def test_a_symbolic_link_is_not_followed(tmp_path: Path, models: dict[str, Path]) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to(models["tiny"])
    with pytest.raises(OSError, match="symbolic"):
        walk(link)


def test_limits_are_the_callers(models: dict[str, Path]) -> None:
    for limits, words in (
        (WalkLimits(file_bytes_max=10), "bytes"),
        (WalkLimits(nodes_max=1), "nodes"),
        (WalkLimits(elements_max=8), "elements"),
        (WalkLimits(values_max=2), "tensors"),
    ):
        with pytest.raises(Refused, match=words):
            walk(models["tiny"], limits)


@pytest.fixture(scope="module")
def samples(models: dict[str, Path]) -> list[bytes]:
    return [models[name].read_bytes() for name in ("tiny", "kinds", "endless")] + [chain(5), nested(3)]


_edits = st.lists(
    st.tuples(
        st.sampled_from(("set", "delete", "insert", "repeat", "cut")),
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for how, place, raw in edits:
        at = place % (len(data) + 1)
        if how == "set":
            data = data[:at] + raw + data[at + len(raw) :]
        elif how == "delete":
            data = data[:at] + data[at + len(raw) :]
        elif how == "insert":
            data = data[:at] + raw + data[at:]
        elif how == "repeat":
            data = data[:at] + data[max(0, at - len(raw)) : at] * 3 + data[at:]
        else:
            data = data[:at]
    return data


@settings(max_examples=1_500, deadline=None)
@given(which=st.integers(0, 4), edits=_edits)
def test_a_damaged_model_is_walked_or_refused_and_nothing_else(
    samples: list[bytes], which: int, edits: list[tuple[str, int, bytes]]
) -> None:
    with contextlib.suppress(Refused):
        assert isinstance(walk_bytes(mutated(samples[which], edits)), ModelFacts)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60))
def test_no_bytes_make_the_reader_of_numbers_and_names_fail_otherwise(data: bytes) -> None:
    for read in (
        lambda: varint(data, 0, len(data)),
        lambda: integers(data, 2, 0, len(data)),
        lambda: text(data, 0, len(data)),
        lambda: walk_bytes(data),
    ):
        with contextlib.suppress(Refused):
            read()
