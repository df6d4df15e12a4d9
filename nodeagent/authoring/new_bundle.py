"""`outstation-agent bundle-new FOLDER --model FILE`: everything that a bundle needs, from a model and perhaps its data.

With the data that the model was trained on, the folder also holds a baseline for drift, limits for the inputs, and an
alarm limit: one half for a class's probability, else above 99.5 % of what the model says to the data. Without data
those are left out, and said to be.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.authoring import starter, vectors
from nodeagent.authoring.baseline import baseline
from nodeagent.authoring.by_context import contexts_of
from nodeagent.authoring.table import ROWS_LEAST, TableRefused, spread, table
from nodeagent.model.inference import Model, ModelRefused, RunFailed
from nodeagent.model.tensors import DTYPES, TensorSpec
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline.errors import ConfigError
from store import durable
from store.bundle import Name, Version, digest_of
from store.errors import StoreError

SHARE: Final = 0.995
ROWS_MAX: Final = 50_000
WINDOW_MAX: Final = 3_600
Floats = npt.NDArray[np.float64]


class Refused(Exception):
    """No bundle can be begun; the text names what and the remedy."""


def main(argv: Sequence[str]) -> int:
    """0: the folder is there; 1: refused, and why; 2: the call is wrong."""
    options = _parser().parse_args(argv)
    try:
        print("\n".join(begin(options)))
    except (Refused, TableRefused, ModelRefused, RunFailed, ConfigError, StoreError, ValueError, OSError) as error:
        print(f"bundle new: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outstation bundle new", description=__doc__)
    parser.add_argument("folder", type=Path, help="is made; its name is the bundle's unless --name says another")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the .onnx")
    parser.add_argument("--data", type=Path, metavar="FILE", help="a .csv of its training data, a header and numbers")
    parser.add_argument("--tags", default="", metavar="A,B", help="columns in the model's order (all that are numbers)")
    parser.add_argument(
        "--context", default="", metavar="A,B", help="columns that say the product and the like: each its own baseline"
    )
    parser.add_argument("--score", default="", metavar="OUTPUT", help="output or OUTPUT:COLUMN that the alarm looks at")
    parser.add_argument("--source", default="push", choices=tuple(starter.SOURCES), help="where data will come from")
    parser.add_argument("--name", default="", help="of the bundle and its model")
    parser.add_argument("--version", default="1.0")
    return parser


def begin(options: argparse.Namespace) -> list[str]:
    """Writes the folder; says what is in it and what comes next. Raises Refused and what `main` tells."""
    folder: Path = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} is there already: name a new folder")
    name = (options.name or folder.resolve().name).lower()
    try:
        msgspec.convert(name, Name), msgspec.convert(options.version, Version)
    except msgspec.ValidationError as error:
        raise Refused(f"no name or version of a bundle: {error}; give --name, --version") from error
    model = Model.load(options.model)
    try:
        files, said = _content(options, model, name)
    finally:
        model.close()
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, data in files.items():
        durable.write_file(folder / file_name, data, mode=0o644)
    return [f"{folder}: {', '.join(sorted(files))}", *said, *_next(folder, options, "pipeline.toml" in files)]


def _content(options: argparse.Namespace, model: Model, name: str) -> tuple[dict[str, bytes], list[str]]:
    data = options.model.read_bytes()
    files = {"model.onnx": data}
    said: list[str] = []
    lineage = {"model": digest_of(data)}
    tensor = _tabular(model.inputs)
    rows = None
    if tensor is None:
        if options.data is not None:
            raise Refused("the model does not take one row of numbers, so no table can be its data: leave out --data")
        said.append("no pipeline.toml: the model takes no single row of numbers. It answers over HTTP;")
        said.append("  docs/steps.md shows how pictures and waveforms become its inputs")
        files["golden.npz"] = vectors.answered(vectors.noise(model.inputs), model.run)
    else:
        rows = _tabular_files(options, model, tensor, name, files, said)
    if options.data is not None:
        lineage |= {"data": options.data.name, "data_digest": digest_of(options.data.read_bytes())}
    text = starter.bundle_text(
        name, options.version, pipeline=tensor is not None, baseline="baseline.json" in files, lineage=lineage
    )
    files["bundle.toml"] = text.encode()
    if rows is None:
        said.append("golden.npz holds zeros and noise: real inputs, by --data, prove more")
    return files, said


def _tabular_files(
    options: argparse.Namespace, model: Model, tensor: TensorSpec, name: str, files: dict[str, bytes], said: list[str]
) -> Floats | None:
    width = (tensor.shape or (0,))[-1]
    asked = [tag.strip() for tag in options.tags.split(",")] if options.tags else None
    score = options.score or _score(model)
    rows, scores, high, contexts = None, None, None, list[str]()
    beside = [column.strip() for column in options.context.split(",")] if options.context else []
    if beside and options.data is None:
        raise Refused("--context names columns of the data: give it, with --data")
    if options.data is not None:
        tags, rows, said_of = table(options.data, asked, width, beside)
        contexts = contexts_of(beside, spread(said_of, ROWS_MAX))
        rows = spread(rows, ROWS_MAX)
        cases = [{tensor.name: _row(tensor, row)} for row in spread(rows, vectors.CASES)]
        scores = _scores(model, tensor, rows, score)
        high = _high(scores, score)
    else:
        tags = asked or [f"x{at + 1}" for at in range(width)]
        if len(tags) != width:
            raise Refused(f"--tags names {len(tags)}, and the model takes {width} values")
        cases = vectors.noise(model.inputs)
    files["golden.npz"] = vectors.answered(cases, model.run)
    text = starter.pipeline_text(name, options.source, tags, score, high, rows, beside)
    pipeline_config.load(text, bindings=None, file="pipeline.toml")
    files["pipeline.toml"] = text.encode()
    if rows is None or scores is None or high is None:
        said.append("no baseline.json: without --data it is not known what normal looks like")
    elif len(rows) < ROWS_LEAST:
        said.append(f"no baseline.json: {len(rows)} rows are fewer than the {ROWS_LEAST} that tell what is normal")
    else:
        files["baseline.json"] = _baseline(tags, rows, scores, score, high, contexts)
        said.append(f"baseline and limits from {len(rows)} rows; alarm at {score} over {high:.4g}")
        if contexts:
            said.append(f"a baseline of its own for {', '.join(sorted(set(contexts))[:12])}")
    return rows


def _tabular(inputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The one input that takes a row of numbers, or None."""
    if len(inputs) != 1 or DTYPES[inputs[0].datatype].kind not in "fiu":
        return None
    shape = inputs[0].shape or ()
    return inputs[0] if len(shape) == 2 and shape[0] in (-1, 1) and shape[1] > 0 else None


def _score(model: Model) -> str:
    """The output that looks most like a score: a single real number, else the last column of several."""
    real = [spec for spec in model.outputs if DTYPES[spec.datatype].kind == "f"] or model.outputs
    single = [spec.name for spec in real if (spec.shape or ())[1:] in ((), (1,))]
    if single:
        return single[0]
    wide = [spec for spec in real if len(spec.shape or ()) == 2 and (spec.shape or ())[1] > 1]
    if not wide:
        raise Refused(
            "no output of the model is plainly a score: name one with --score OUTPUT or --score OUTPUT:COLUMN"
        )
    return f"{wide[0].name}:{(wide[0].shape or ())[1] - 1}"


def _scores(model: Model, tensor: TensorSpec, rows: Floats, score: str) -> Floats:
    name, _, column = score.partition(":")
    if name not in [spec.name for spec in model.outputs]:
        raise Refused(f"the model has no output {name!r}; it has: {', '.join(spec.name for spec in model.outputs)}")
    found = [np.asarray(model.run({tensor.name: _row(tensor, row)})[name]).reshape(-1) for row in rows]
    at = int(column) if column.isdigit() else 0
    if any(at >= len(values) for values in found) or (not column and any(len(values) != 1 for values in found)):
        raise Refused(f"output {name!r} has {len(found[0])} values: say which is the score, as --score {name}:0")
    scores = np.array([values[at] for values in found], np.float64)
    if not np.isfinite(scores).all():
        raise Refused(f"the model says {score} = {scores[~np.isfinite(scores)][0]} to a row of the data")
    return scores


def _high(scores: Floats, score: str) -> float:
    """Over most of the data; of a class's probability the half, since the data may be full of that class."""
    is_probability = ":" in score and scores.min() >= 0.0 and scores.max() <= 1.0
    return 0.5 if is_probability else float(np.quantile(scores, SHARE))


def _row(tensor: TensorSpec, row: Floats) -> npt.NDArray[Any]:
    return row[None, :].astype(DTYPES[tensor.datatype])


def _baseline(
    tags: Sequence[str], rows: Floats, scores: Floats, score: str, high: float, contexts: Sequence[str]
) -> bytes:
    columns = {tag: rows[:, at] for at, tag in enumerate(tags)}
    least = min(Counter(contexts).values(), default=len(rows))
    made = baseline(
        columns, scores, output=score, windows=[min(WINDOW_MAX, least // 4)], limit=high, contexts=contexts or None
    )
    return msgspec.json.encode(made, order="sorted")


def _next(folder: Path, options: argparse.Namespace, has_pipeline: bool) -> list[str]:
    data = options.data if options.data is not None else "DATA.csv"
    lines = ["next:"]
    if has_pipeline:
        lines.append(f"  outstation pipeline try {folder}/pipeline.toml --input {data}")
    return [*lines, f"  outstation bundle build {folder}", "  outstation bundle sign FILE.ostn --key ~/.ssh/key"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
