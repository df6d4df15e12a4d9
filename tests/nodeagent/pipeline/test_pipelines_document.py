"""docs/pipelines.md is complete: every table of a pipeline file, every key, every figure, and examples that work."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from nodeagent.health.measures import MEASURES
from nodeagent.health.rules import RuleOptions
from nodeagent.pipeline import registry
from nodeagent.pipeline.config import _TOP_KEYS, ModelOptions, load
from nodeagent.pipeline.context import ContextOptions
from nodeagent.pipeline.decide import DECISIONS
from nodeagent.pipeline.deploy import DeployOptions
from nodeagent.pipeline.models import ThenOptions
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.steps.crop import CropOptions
from nodeagent.sinks.write_guard import Guard

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "pipelines.md").read_text("utf-8")
CHAPTERS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PARTS = {
    f"{name} {part}": text
    for name, whole in CHAPTERS.items()
    for part, text in re.findall(r"^### `([^`]+)`\n(.*?)(?=^### |\Z)", whole, re.MULTILINE | re.DOTALL)
}
OPTIONS: dict[str, list[type[Options]]] = {
    "model": [ModelOptions],
    "then": [ThenOptions, CropOptions],
    "alert": [RuleOptions],
    "context": [ContextOptions],
    "deploy": [DeployOptions],
    **{f"decide {word}": [options] for word, (options, _) in DECISIONS.items()},
    **{f"sink {word}": [registry.sink(word)[0]] for word in registry.SINKS},
}
for _word in ("sink modbus.write", "sink opcua.write"):
    OPTIONS[_word].append(Guard)
HEAD = 'schema = 1\nname = "n"\n[[source]]\nid = "s"\ntype = "push"\ntags = ["camera", "sound", "x"]\n'
MODEL, DECIDE = '[model]\ninputs = ["x"]\n', '[decide]\nuse = "alarm"\nscore = "y"\nhigh = 1.0\n'


def keys(text: str) -> set[str]:
    """The words in the first column of the tables."""
    rows = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_every_table_of_a_pipeline_file_stands_in_it() -> None:
    assert keys(CHAPTERS["Top of the file"]) == set(_TOP_KEYS)
    assert {name.removeprefix("sink ") for name in PARTS if name.startswith("sink")} == set(registry.SINKS)
    assert {name.removeprefix("decide ") for name in PARTS if name.startswith("decide")} == set(DECISIONS)


@pytest.mark.parametrize("place", OPTIONS)
def test_every_key_of_a_table_stands_in_it_and_no_other(place: str) -> None:
    text = PARTS.get(place) or CHAPTERS[place].partition("| figure |")[0]
    assert keys(text) == {field.name for options in OPTIONS[place] for field in msgspec.structs.fields(options)}


def test_every_figure_of_an_alert_stands_in_it() -> None:
    assert keys(CHAPTERS["alert"].partition("| figure |")[2]) == set(MEASURES)


EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.splitlines()[0] for example in EXAMPLES])
def test_every_example_is_a_part_of_a_file_that_is_in_order(example: str) -> None:
    model = "" if "[model]" in example else MODEL
    decide = "" if "[decide]" in example else DECIDE
    assert load(HEAD + model + example + decide, bindings={}).bound


def test_what_it_refers_to_is_there() -> None:
    for name in re.findall(r"\]\((\w+\.md)", TEXT):
        assert (DOCS / name).is_file()
