"""docs/sources.md is complete: every type, every key, and an example of each that `pipeline check` takes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
import pytest

from nodeagent.pipeline import registry
from nodeagent.pipeline.cli import main

TEXT = (Path(__file__).parents[3] / "docs" / "sources.md").read_text()
CHAPTERS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
REST = """
[model]
inputs = ["x"]

[decide]
use = "alarm"
score = "y"
high = 1.0
"""


def test_each_type_has_a_chapter_and_no_chapter_is_of_nothing() -> None:
    assert set(CHAPTERS) == set(registry.SOURCES)


@pytest.mark.parametrize("kind", registry.SOURCES)
def test_each_key_of_a_type_stands_in_its_chapter(kind: str) -> None:
    options, _ = registry.source(kind)
    named = set(re.findall(r"`([a-z_]+)`", CHAPTERS[kind]))
    assert {field.name for field in msgspec.structs.fields(options)} - named == set()


@pytest.mark.parametrize("kind", registry.SOURCES)
def test_the_example_of_a_type_is_a_source_that_the_check_takes(kind: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", CHAPTERS[kind], re.DOTALL)
    assert f'type = "{kind}"' in example
    file = tmp_path / "pipeline.toml"
    bindings = tmp_path / "bindings.toml"
    bindings.write_text('press_password = "secret"\n')
    tag = a_tag(example)
    file.write_text(f'schema = 1\nname = "n"\n{example}' + REST.replace('"x"', f'"{tag}"'))
    out = io.StringIO()
    assert main(["check", str(file), "--bindings", str(bindings)], out=out) == 0, out.getvalue()


def a_tag(example: str) -> str:
    """A tag of the example, for the model to take; a simulated pump has its own, a picture the source's id."""
    tags = re.findall(r'\{ name = "(\w+)"', example) or re.findall(r'tags = \["(\w+)"', example)
    if 'machine = "pump"' in example:
        return "power"
    return tags[0] if tags else re.findall(r'id = "(\w+)"', example)[0]
