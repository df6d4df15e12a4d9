"""An autoencoder whose scaling, residual and score lie inside the ONNX graph, so that a node needs none of them.

score = mean over features of the squared residual, each over its spread in training, over the 99.5 % quantile of the
training rows: 1.0 means "as odd as one training row in two hundred". `residual` says which feature is to blame.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

OPSET, IR_VERSION = 15, 8
Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """A trained one. `clip`: scaled values are cut off at so many standard deviations; 0: they are not."""

    mean: Floats
    scale: Floats
    weights: list[tuple[Floats, Floats]]
    spread: Floats
    limit: float
    clip: float

    def score(self, rows: Floats) -> npt.NDArray[np.float64]:
        """As the graph, in float64."""
        return _raw(self, rows) / self.limit

    def graph(self, name: str) -> onnx.ModelProto:
        """Input X [n, features]; outputs score [n] and residual [n, features]."""
        return _model(self, name)


def fit(
    rows: Floats, *, hidden: tuple[int, ...], epochs: int, clip: float = 0.0, whiten: bool = True, seed: int = 0
) -> Autoencoder:
    """Train on rows of normal operation. `whiten`: divide each residual by its spread over the training rows."""
    scaler = StandardScaler().fit(rows)
    mean, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    scaled = _scaled(rows, mean, scale, clip)
    # A fixed number of epochs: rounding, which differs between machines, must not decide when to stop.
    net = MLPRegressor(
        hidden_layer_sizes=hidden,
        activation="tanh",
        max_iter=epochs,
        n_iter_no_change=epochs,
        tol=0.0,
        random_state=seed,
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen
        net.fit(scaled, scaled)
    weights = [(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(net.coefs_, net.intercepts_, strict=True)]
    plain = Autoencoder(mean, scale, weights, np.ones(rows.shape[1], np.float32), 1.0, clip)
    residual = _residual(plain, rows)
    spread = (residual.std(axis=0) + 1e-6).astype(np.float32) if whiten else plain.spread
    whitened = dataclasses.replace(plain, spread=spread)
    return dataclasses.replace(whitened, limit=float(np.quantile(_raw(whitened, rows), 0.995)))


def _scaled(rows: Floats, mean: Floats, scale: Floats, clip: float) -> npt.NDArray[np.float64]:
    scaled = (rows.astype(np.float64) - mean) / scale
    return np.clip(scaled, -clip, clip) if clip else scaled


def _residual(model: Autoencoder, rows: Floats) -> npt.NDArray[np.float64]:
    scaled = _scaled(rows, model.mean, model.scale, model.clip)
    values = scaled
    for at, (weight, bias) in enumerate(model.weights):
        values = values @ weight + bias
        if at < len(model.weights) - 1:
            values = np.tanh(values)
    return values - scaled


def _raw(model: Autoencoder, rows: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(((_residual(model, rows) / model.spread) ** 2).mean(axis=1))


def _model(model: Autoencoder, name: str) -> onnx.ModelProto:
    features = len(model.mean)
    constants: dict[str, Any] = {"mean": model.mean, "scale": model.scale, "spread": model.spread}
    constants["limit"] = np.float32(model.limit)
    nodes = [helper.make_node("Sub", ["X", "mean"], ["centred"]), helper.make_node("Div", ["centred", "scale"], ["z"])]
    scaled = "z"
    if model.clip:
        constants |= {"low": np.float32(-model.clip), "high": np.float32(model.clip)}
        nodes.append(helper.make_node("Clip", ["z", "low", "high"], ["clipped"]))
        scaled = "clipped"
    value = scaled
    for at, (weight, bias) in enumerate(model.weights):
        constants |= {f"w{at}": weight, f"b{at}": bias}
        nodes.append(helper.make_node("Gemm", [value, f"w{at}", f"b{at}"], [f"g{at}"]))
        value = f"g{at}"
        if at < len(model.weights) - 1:
            nodes.append(helper.make_node("Tanh", [value], [f"t{at}"]))
            value = f"t{at}"
    nodes += [
        helper.make_node("Sub", [value, scaled], ["difference"]),
        helper.make_node("Div", ["difference", "spread"], ["residual"]),
        helper.make_node("Mul", ["residual", "residual"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean_square"], axes=[1], keepdims=0),
        helper.make_node("Div", ["mean_square", "limit"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, features])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [None]),
            helper.make_tensor_value_info("residual", TensorProto.FLOAT, [None, features]),
        ],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    return finished(graph)


def finished(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A checked model of this project's opset."""
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="outstation-examples"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
