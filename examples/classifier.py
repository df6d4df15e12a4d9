"""A scaler and a small perceptron as one ONNX model, by skl2onnx."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from skl2onnx import to_onnx
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from examples.autoencoder import IR_VERSION, OPSET

Rows = npt.NDArray[np.float32]


def fit(rows: Rows, truth: npt.NDArray[np.int64], *, hidden: int, epochs: int, alpha: float = 1e-4) -> Pipeline:
    """A trained classifier of two classes.

    In float64 and for a fixed number of epochs: a rounding error that differs from run to run must not grow, nor
    decide when to stop.
    """
    net = MLPClassifier(
        hidden_layer_sizes=(hidden,), max_iter=epochs, n_iter_no_change=epochs, tol=0.0, alpha=alpha, random_state=0
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen
        return make_pipeline(StandardScaler(), net).fit(rows.astype(np.float64), truth)


def graph(fitted: Pipeline, features: int, name: str) -> onnx.ModelProto:
    """Input X [n, features]; outputs label [n] and probabilities [n, 2]."""
    model: Any = to_onnx(
        fitted,
        np.zeros((1, features), np.float32),
        options={id(fitted): {"zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
        name=name,
    )
    model.ir_version = IR_VERSION
    model.producer_version = model.doc_string = ""
    onnx.checker.check_model(model)
    return model


def figures(probability: npt.NDArray[Any], truth: npt.NDArray[np.int64], *, alarm_at: float) -> dict[str, float]:
    """AUC, share of faults at or over `alarm_at`, share of good ones there."""
    bad, good = probability[truth == 1], probability[truth == 0]
    auc = float(np.searchsorted(np.sort(good), bad).mean() / len(good))
    return {"auc": auc, "found": float((bad >= alarm_at).mean()), "false": float((good >= alarm_at).mean())}


def prepended(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], model: onnx.ModelProto,
              given: onnx.ValueInfoProto, leaving: str, outputs: list[str]) -> onnx.ModelProto:  # fmt: skip
    """`model` behind `nodes`, whose result `leaving` takes the place of its input; only `outputs` leave."""
    old = model.graph.input[0].name
    rest = []
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [leaving if name == old else name for name in node.input]
        rest.append(copy)
    kept = [value for value in model.graph.output if value.name in outputs]
    whole = helper.make_graph([*nodes, *rest], model.graph.name, [given], kept, [*constants, *model.graph.initializer])
    joined = helper.make_model(whole, opset_imports=model.opset_import, producer_name=model.producer_name)
    joined.ir_version = IR_VERSION
    onnx.checker.check_model(joined)
    return joined
