"""The first pipeline.toml of a model: a source of its tags, limits seen in the data, an alarm on its score.

It is text for a person to go on with. Each source stands with an address to replace or a `${binding}` to bind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.context import named

WIDENED: Final = 0.5  # of what was seen, on both sides: outside it a value is no measurement


def pipeline_text(
    name: str,
    source: str,
    tags: Sequence[str],
    score: str,
    high: float | None,
    rows: npt.NDArray[Any] | None,
    beside: Sequence[str] = (),
) -> str:
    """The file. `high`: where the alarm is raised, known from data; None: to be set by the person.

    `beside`: tags that say what the machine is busy with.
    """
    parts = [
        f"schema = 1\nname = {_text(name)}\n",
        SOURCES[source]([*tags, *(each for each in beside if each not in tags)]),
        _context(beside) if beside else "",
        "" if rows is None else _limits(tags, rows),
        _model(tags),
        _decide(score, high),
        '[[sink]]\ntype = "record"\nkeep_inputs = "all"\n',
    ]
    return "\n".join(part for part in parts if part)


def bundle_text(name: str, version: str, *, pipeline: bool, baseline: bool, lineage: dict[str, str]) -> str:
    """The bundle.toml."""
    lines = [
        f"name = {_text(name)}",
        f"version = {_text(version)}",
        "epoch = 1",
        "sequence = 1                    # raise it with every build: a node refuses an older one",
        "",
        "[files]",
        'model = "model.onnx"',
        f"pipeline = {_text('pipeline.toml' if pipeline else '')}"
        + ("" if pipeline else "                   # none: the model only answers over HTTP"),
        f"baseline = {_text('baseline.json' if baseline else '')}"
        + ("" if baseline else "                   # none: drift is not watched"),
        'golden = "golden.npz"',
        "",
        "[lineage]",
        *(f"{key} = {_text(value)}" for key, value in lineage.items()),
    ]
    return "\n".join(lines) + "\n"


def _push(tags: Sequence[str]) -> str:
    return (
        f'# POST /v2/models/MODEL/sources/plant with {{"values": {{{_text(tags[0])}: 1.5, ...}}}}\n'
        f'[[source]]\nid = "plant"\ntype = "push"\ntags = {_list(tags)}\n'
    )


def _replay(tags: Sequence[str]) -> str:
    return (
        "# A recording on the node: outstation node bind NODE data=/path/on/the/node.csv\n"
        f'[[source]]\nid = "plant"\ntype = "replay"\npath = "${{data}}"\nrate = "1s"\nloop = true\n'
        f"tags = {_list(tags)}\n"
    )


def _modbus(tags: Sequence[str]) -> str:
    lines = [
        f'  {{ name = {_text(tag)}, register = "holding:{2 * at}", type = "float32" }},' for at, tag in _each(tags)
    ]
    return (
        "# The registers are a guess: outstation source probe shows what a device has, in every word order.\n"
        "# outstation node bind NODE plc=tcp://10.0.0.5:502\n"
        '[[source]]\nid = "plant"\ntype = "modbus"\nurl = "${plc}"\npoll = "1s"\norder = "ABCD"\ntags = [\n'
        + "\n".join(lines)
        + "\n]\n"
    )


def _mqtt(tags: Sequence[str]) -> str:
    lines = [f"  {{ name = {_text(tag)}, topic = {_text(f'plant/{_topic(tag)}')} }}," for _, tag in _each(tags)]
    return (
        "# The topics are a guess. outstation node bind NODE broker=mqtt://10.0.0.9:1883\n"
        '[[source]]\nid = "plant"\ntype = "mqtt"\nurl = "${broker}"\nevery = "1s"\nmax_age = "10s"\ntags = [\n'
        + "\n".join(lines)
        + "\n]\n"
    )


SOURCES: Final[dict[str, Callable[[Sequence[str]], str]]] = {
    "push": _push,
    "replay": _replay,
    "modbus": _modbus,
    "mqtt": _mqtt,
}


def _limits(tags: Sequence[str], rows: npt.NDArray[Any]) -> str:
    low, high = rows.min(axis=0), rows.max(axis=0)
    room = WIDENED * np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    lines = [
        f"{_text(tag)} = [{_number(low[at] - room[at])}, {_number(high[at] + room[at])}]" for at, tag in _each(tags)
    ]
    return (
        "# What was seen in the data, half as wide again on both sides: write the sensors' own ranges here.\n"
        '[[step]]\nuse = "validate.range"\n\n[step.limits]\n' + "\n".join(lines) + "\n"
    )


def _context(tags: Sequence[str]) -> str:
    said = ", ".join(f"{_text(named(tag))} = {_text(tag)}" for tag in tags)
    return (
        "# Product and the like: drift, records and gates compare like with like.\n"
        "# The baseline knows these by their numbers: words of [context] would make others of them.\n"
        f"[context]\ntags = {{ {said} }}\n"
    )


def _model(tags: Sequence[str]) -> str:
    return f'[model]\npackage = "model.onnx"\ninputs = {_list(tags)}\non_bad_input = "skip"\n'


def _decide(score: str, high: float | None) -> str:
    seen = "from the data: look at it" if high is not None else "set it: no data told what is normal"
    value = _number(0.5 if high is None else high)
    return (
        f'[decide]\nuse = "alarm"\nscore = {_text(score)}\nhigh = {value}  # {seen}\n'
        "on_count = 3                    # in a row, before it is an alarm\noff_count = 3\n"
    )


def _topic(tag: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in tag)


def _each(tags: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(tags))


def _list(tags: Sequence[str]) -> str:
    return "[" + ", ".join(_text(tag) for tag in tags) + "]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    return repr(float(f"{float(value):.6g}"))
