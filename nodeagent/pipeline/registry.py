"""Which file answers for which word of a pipeline. Another connector or step family is one file and one line here.

Only the files of words that are used are imported: a node without MQTT never loads its library.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

from nodeagent.pipeline.options import Options

STEP_FAMILIES: Final = {
    "validate": ("nodeagent.pipeline.steps.validate", "nodeagent.pipeline.steps.kind"),
    "clean": ("nodeagent.pipeline.steps.clean", "nodeagent.pipeline.steps.mend", "nodeagent.pipeline.steps.thin"),
    "gate": ("nodeagent.pipeline.steps.gate",),
    "transform": (
        "nodeagent.pipeline.steps.transform",
        "nodeagent.pipeline.steps.codes",
        "nodeagent.pipeline.steps.past",
    ),
    "derive": ("nodeagent.pipeline.steps.derive",),
    "window": ("nodeagent.pipeline.steps.window",),
    "feature": ("nodeagent.pipeline.steps.feature", "nodeagent.pipeline.steps.waveform"),
    "image": ("nodeagent.pipeline.steps.image",),
}
DECISIONS: Final = "nodeagent.pipeline.decide"
SOURCES: Final = {
    "modbus": "nodeagent.sources.modbus",
    "mqtt": "nodeagent.sources.mqtt",
    "sparkplug": "nodeagent.sources.sparkplug",
    "opcua": "nodeagent.sources.opcua",
    "s7": "nodeagent.sources.s7",
    "eip": "nodeagent.sources.eip",
    "records": "nodeagent.sources.recorded",
    "tail": "nodeagent.sources.tail",
    "push": "nodeagent.sources.push",
    "folder": "nodeagent.sources.folder",
    "replay": "nodeagent.sources.replay",
    "simulate": "nodeagent.sources.simulate",
}
SINKS: Final = {
    "record": "nodeagent.sinks.record",
    "mqtt": "nodeagent.sinks.mqtt",
    "sparkplug": "nodeagent.sinks.sparkplug",
    "http": "nodeagent.sinks.http",
    "file": "nodeagent.sinks.file",
    "modbus.write": "nodeagent.sinks.modbus_write",
    "opcua.write": "nodeagent.sinks.opcua_write",
}
# Library that a connector needs beyond the agent's own -> the extra that brings it.
EXTRAS: Final = {
    "aiomqtt": "mqtt",
    "pymodbus": "modbus",
    "serial": "modbus",
    "asyncua": "opcua",
    "snap7": "s7",
    "pylogix": "eip",
    "PIL": "image",
}
_LIBRARIES: Final = {
    "nodeagent.sources.modbus": "pymodbus",
    "nodeagent.sources.mqtt": "aiomqtt",
    "nodeagent.sources.sparkplug": "aiomqtt",
    "nodeagent.sources.opcua": "asyncua",
    "nodeagent.sources.s7": "snap7",
    "nodeagent.sources.eip": "pylogix",
    "nodeagent.sinks.mqtt": "aiomqtt",
    "nodeagent.sinks.modbus_write": "pymodbus",
    "nodeagent.sinks.opcua_write": "asyncua",
}


class NotInstalled(Exception):
    """A connector whose library this environment does not have; the text says what to install."""


class UnknownWord(Exception):
    """A `use` or `type` that nothing answers for; `allowed` is what there is."""

    def __init__(self, allowed: list[str]) -> None:
        super().__init__("unknown word")
        self.allowed = allowed


def step(use: str) -> tuple[type[Options], Any]:
    """Options and class of a step; raises UnknownWord."""
    family = use.partition(".")[0]
    if family not in STEP_FAMILIES:
        raise UnknownWord([word for name in STEP_FAMILIES for word in _steps(name)])
    steps = _steps(family)
    if use not in steps:
        raise UnknownWord(list(steps))
    return steps[use]


def decision(use: str) -> tuple[type[Options], Any]:
    """Options and class of a decision; raises UnknownWord."""
    decisions: dict[str, tuple[type[Options], Any]] = importlib.import_module(DECISIONS).DECISIONS
    if use not in decisions:
        raise UnknownWord(list(decisions))
    return decisions[use]


def source(word: str) -> tuple[type[Options], Any]:
    """Options of a source and the function that makes one; raises UnknownWord or NotInstalled."""
    return _connector(SOURCES, word)


def sink(word: str) -> tuple[type[Options], Any]:
    """Options of a sink and the function that makes one; raises UnknownWord or NotInstalled."""
    return _connector(SINKS, word)


def _steps(family: str) -> dict[str, tuple[type[Options], Any]]:
    steps: dict[str, tuple[type[Options], Any]] = {}
    for module in STEP_FAMILIES[family]:
        steps |= importlib.import_module(module).STEPS
    return steps


def _connector(modules: dict[str, str], word: str) -> tuple[type[Options], Any]:
    if word not in modules:
        raise UnknownWord(list(modules))
    require(_LIBRARIES.get(modules[word], ""))
    module = importlib.import_module(modules[word])
    return module.OPTIONS, module.create


def require(library: str) -> None:
    """Raises NotInstalled where `library` is not there, without importing it. "" is always there."""
    if library and importlib.util.find_spec(library) is None:
        extra = EXTRAS[library]
        raise NotInstalled(f"needs the library {library}: install outstation[{extra}] on this machine")
