"""`bundle new --context`: from data of several products to a node that compares each with its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nodeagent.authoring.new_bundle import main
from nodeagent.frame import good
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline import drift
from nodeagent.pipeline.context import Context, ContextOptions
from nodeagent.pipeline.outcome import Outcome

ROWS = 800


def model(path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["score"], keepdims=1)],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    graph.node[0].input.append("axes")
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"))
    path.write_bytes(helper.make_model(graph, opset_imports=made.opset_import, ir_version=8).SerializeToString())
    return path


def data(path: Path, products: tuple[float, ...] = (4.0, 5.5), rows: int = ROWS) -> Path:
    """Of product 4 the level is 10, of 5.5 it is 50: together neither would be odd."""
    random = np.random.default_rng(3)
    lines = ["level,flow,Product No"]
    for product in products:
        level = 10.0 if product == 4.0 else 50.0
        lines += [f"{level + random.normal()},{random.normal()},{product}" for _ in range(rows)]
    path.write_text("\n".join(lines))
    return path


def begun(tmp_path: Path, *more: str, **of: object) -> int:
    files = ["--model", str(model(tmp_path / "m.onnx")), "--data", str(data(tmp_path / "d.csv", **of))]  # type: ignore[arg-type]
    return main([str(tmp_path / "wear"), *files, *more])


def test_each_product_of_the_data_is_compared_with_its_own_and_another_has_no_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begun(tmp_path, "--context", "Product No") == 0
    assert "a baseline of its own for Product_No=4, Product_No=5.5" in capsys.readouterr().out
    config = pipeline_config.load((tmp_path / "wear/pipeline.toml").read_text(), bindings=None)
    assert config.context is not None
    assert isinstance(config.context.options, ContextOptions)
    reader = Context(config.context.options)
    names = ("level", "flow", "Product No")
    reader.bind(names)
    watch = drift.of_bundle((tmp_path / "wear/baseline.json").read_bytes(), ["level", "flow"])
    random = np.random.default_rng(4)

    def seen(product: float, level: float) -> str:
        for _ in range(ROWS):
            row = np.array([level + random.normal(), random.normal()], np.float32)
            about = reader.of(good(names, [*row.tolist(), product], source_us=0, received_us=0))
            score = float(row.sum())
            watch.saw([Outcome(0, 0, 0, score, "", "normal", 0, "", row, None, False, about)])
        return watch.verdict

    assert seen(4.0, 10.0) == "ok"
    assert seen(5.5, 50.0) == "ok"
    assert seen(6.0, 10.0) == "no baseline for Product_No=6"
    assert seen(4.0, 50.0).startswith("drift: level")


@pytest.mark.parametrize(
    ("column", "of", "said"),
    [
        ("level", {}, "different values, and a baseline tells 64 apart"),
        ("Product No", {"rows": 150}, "has 150 rows, fewer than the 200"),
        ("batch", {}, "no column 'batch'"),
    ],
)
def test_what_tells_no_products_apart_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, of: dict[str, object], said: str
) -> None:
    more = ("--context", column) if column != "level" else ("--context", column, "--tags", "flow,Product No")
    assert begun(tmp_path, *more, **of) == 1
    assert said in capsys.readouterr().err
