"""The models of a pipeline as one: constants and carried state of the first, and those that are asked after it.

`[model] state` names, for an input, the output that is its value at the next sweep; it begins with zeros, and begins
anew after a silence of `state_reset`. `[[then]]` asks another model of the bundle about the same sweep: its inputs are
outputs of models before it, inputs of the first one, or a part of its picture.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.inputs import DTYPES, Feeds, Tensor, split
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.section import Section
from nodeagent.pipeline.steps.crop import CropOptions, cropped

RunModel = Callable[[Feeds], Mapping[str, npt.NDArray[Any]]]
Row = dict[str, npt.NDArray[Any]]
Number = float | list[float]
_MODEL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
INPUT: Final = "input:"
_WHEN: Final = re.compile(r"([^\s:<>=]+)(?::(\d+))?\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


class ThenOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model`: its name under `[files] models` of the bundle. `inputs`: input -> `output`, `other.output`, `input:x`.

    `when`: `output >= 0.5`, `output:1 < 3`. Where it does not hold, or there is nothing to crop, its outputs are those
    of `otherwise`.
    """

    model: str
    inputs: dict[str, str] = msgspec.field(default_factory=dict)
    crop: CropOptions | None = None
    when: str = ""
    otherwise: dict[str, Number] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _MODEL.fullmatch(self.model):
            raise ValueError("'model' is a name of small letters, digits, _ and -")
        if not self.inputs and self.crop is None:
            raise ValueError("say what the model is given: 'inputs', or 'crop'")
        if self.when and not _WHEN.fullmatch(self.when):
            raise ValueError("'when' reads: output >= 0.5, or output:1 < 3")
        if (self.when or self.crop is not None) and not self.otherwise:
            raise ValueError("'otherwise' says what its outputs are where it is not asked")


class Loaded(NamedTuple):
    """A model that can be asked."""

    run: RunModel
    inputs: Sequence[Tensor]
    outputs: Sequence[str]


class Recurrence:
    """Inputs that come from no tag: constants, and what an output said the sweep before. Raises ValueError."""

    def __init__(self, state: Mapping[str, str], constants: Mapping[str, Number], reset_s: float | None) -> None:
        self._state = dict(state)
        self._constants = dict(constants)
        self._reset_us = None if reset_s is None else round(reset_s * 1e6)
        self._fixed: Feeds = {}
        self._zeros: Feeds = {}
        self._carried: Feeds = {}
        self._at_us: int | None = None
        self.asked = 0

    @property
    def names(self) -> frozenset[str]:
        """The inputs that this gives."""
        return frozenset(self._state) | frozenset(self._constants)

    @property
    def carries(self) -> bool:
        return bool(self._state)

    def bind(self, model: Loaded) -> None:
        """Gets ready for the model's own tensors."""
        by_name = {tensor.name: tensor for tensor in model.inputs}
        for name in self.names:
            if name not in by_name:
                raise ValueError(f"the model has no input {name!r}; it has: {', '.join(by_name)}")
        for name, output in self._state.items():
            if model.outputs and output not in model.outputs:
                raise ValueError(f"the model has no output {output!r}; it has: {', '.join(model.outputs)}")
            shape = [size if size is not None and size > 0 else 1 for size in by_name[name].shape]
            self._zeros[name] = np.zeros(shape, DTYPES[by_name[name].datatype])
        for name, value in self._constants.items():
            self._fixed[name] = np.array(value, DTYPES[by_name[name].datatype])

    def ask(self, run: RunModel, feeds: Feeds, at_us: int) -> Mapping[str, npt.NDArray[Any]]:
        """Asks with what is carried, and carries on what the model says. A run that fails changes nothing."""
        if self._at_us is not None and self._reset_us is not None and at_us - self._at_us > self._reset_us:
            self._carried, self.asked = {}, 0
        said = run({**feeds, **self._fixed, **self._zeros, **self._carried})
        for name, output in self._state.items():
            value = np.asarray(said[output])
            if value.shape != self._zeros[name].shape or not np.all(np.isfinite(value)):
                self._carried, self.asked = {}, 0
                raise ModelFailed(f"the state {output!r} is {list(value.shape)}, or not finite; it begins anew")
            self._carried[name] = value
        self._at_us = at_us
        self.asked += 1
        return {name: value for name, value in said.items() if name not in self._state.values()}

    def state(self) -> dict[str, Any]:
        """What a successor with the same model needs."""
        return {"arrays": dict(self._carried), "at_us": self._at_us, "asked": self.asked}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`; raises ValueError or KeyError where it does not fit."""
        arrays, at_us, asked = dict(state["arrays"]), state["at_us"], int(state["asked"])
        if any(name not in self._zeros or array.shape != self._zeros[name].shape for name, array in arrays.items()):
            raise ValueError("the state of another model")
        self._carried, self._at_us, self.asked = arrays, None if at_us is None else int(at_us), asked


class Models:
    """All of a pipeline's models, asked about one row. Raises ConfigError where they do not fit one another."""

    def __init__(
        self, section: Section, then: Sequence[Section], first: Loaded, more: Mapping[str, Loaded], *, key: str = ""
    ) -> None:
        options: Any = section.options
        self.key = f"{key} {options.state!r} {options.constants!r}"
        self._first = first
        self.recurrence = Recurrence(options.state, options.constants, options.state_reset)
        try:
            self.recurrence.bind(first)
        except (ValueError, KeyError) as error:
            raise section.error("state" if options.state else "constants", str(error)) from error
        self._then: list[tuple[ThenOptions, Loaded]] = []
        self.outputs = [name for name in first.outputs if name not in options.state.values()]
        for each in then:
            self._add(each, more)
        self.plain = not self.recurrence.names and not self._then

    @property
    def tensors(self) -> list[Tensor]:
        """Inputs of the first model that tags make up."""
        return [tensor for tensor in self._first.inputs if tensor.name not in self.recurrence.names]

    @property
    def run(self) -> RunModel:
        return self._first.run

    def ask(self, feeds: Feeds, at_us: int) -> Row:
        """What all of them say to one row, by `output` and `model.output`. Raises ModelFailed."""
        said = split(self.recurrence.ask(self._first.run, feeds, at_us), 1)[0]
        for options, model in self._then:
            said |= self._further(options, model, feeds, said)
        return said

    def _add(self, section: Section, more: Mapping[str, Loaded]) -> None:
        options = section.options
        assert isinstance(options, ThenOptions)
        model = more.get(options.model)
        if model is None:
            raise section.error("model", f"the bundle has no model {options.model!r}", sorted(more))
        known = [*self.outputs, *(f"{INPUT}{tensor.name}" for tensor in self._first.inputs)]
        given = set(options.inputs) | ({options.crop.input} if options.crop is not None else set())
        if given != {tensor.name for tensor in model.inputs}:
            names = [tensor.name for tensor in model.inputs]
            raise section.error("inputs", f"the inputs of {options.model} are {', '.join(names)}")
        needs = [*options.inputs.values()]
        if options.crop is not None:
            needs += [options.crop.of and f"{INPUT}{options.crop.of}", options.crop.map or options.crop.boxes]
        if options.when and (found := _WHEN.fullmatch(options.when)):
            needs.append(found[1])
        for name in needs:
            if name and self._first.outputs and name not in known:
                raise section.error("", f"nothing before it is called {name!r}", known)
        for name in options.otherwise:
            if name not in model.outputs:
                raise section.error("otherwise", f"{options.model} has no output {name!r}", model.outputs)
        self._then.append((options, model))
        self.outputs += [f"{options.model}.{name}" for name in model.outputs]

    def _further(self, options: ThenOptions, model: Loaded, feeds: Feeds, said: Row) -> Row:
        fed = self._fed(options, model, feeds, said)
        if fed is None:
            found = {name: np.atleast_1d(np.array(value, np.float32)) for name, value in options.otherwise.items()}
        else:
            found = split(model.run(fed), 1)[0]
        return {f"{options.model}.{name}": value for name, value in found.items()}

    def _fed(self, options: ThenOptions, model: Loaded, feeds: Feeds, said: Row) -> Feeds | None:
        """Its inputs; None where it is not to be asked."""
        if options.when and not _holds(options.when, said):
            return None
        types = {tensor.name: DTYPES[tensor.datatype] for tensor in model.inputs}
        fed: Feeds = {}
        for name, origin in options.inputs.items():
            is_input = origin.startswith(INPUT)
            value = feeds[origin.removeprefix(INPUT)] if is_input else _value(said, origin)[None]
            fed[name] = value.astype(types[name])
        if options.crop is not None:
            picture = feeds[options.crop.of or next(iter(feeds))]
            part = cropped(picture, said, options.crop)
            if part is None:
                return None
            fed[options.crop.input] = part.astype(types[options.crop.input])
        return fed


def _holds(when: str, said: Row) -> bool:
    found = _WHEN.fullmatch(when)
    assert found is not None
    values = _value(said, found[1]).reshape(-1)
    at = int(found[2] or 0)
    if at >= values.size:
        raise ModelFailed(f"the output {found[1]!r} has {values.size} values, and no column {at}")
    return _COMPARE[found[3]](float(values[at]), float(found[4]))


def _value(said: Row, name: str) -> npt.NDArray[Any]:
    if name not in said:
        raise ModelFailed(f"no model before it has said {name!r}; there is: {', '.join(said)}")
    return said[name]
