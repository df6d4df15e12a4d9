"""docs/promises.md names the tests that hold each promise; all are there, none with a number is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "promises.md").read_text("utf-8")
SECTIONS = {int(number): text for number, text in re.findall(r"^## I(\d+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)}
COUNT = 19


def numbers_of(name: str) -> set[int]:
    """`test_i1_i4_hold` carries 1 and 4: numbers stand at the beginning, one after the other."""
    return {int(number) for number in re.findall(r"i(\d+)_", re.match(r"test_((?:i\d+_)*)", name)[1])}  # type: ignore[index]


def numbered() -> dict[int, set[str]]:
    found: dict[int, set[str]] = {number: set() for number in range(1, COUNT + 1)}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in numbers_of(node.name):
                    found[number].add(f"{path.relative_to(ROOT)}::{node.name}")
    return found


HELD = numbered()


def test_every_promise_of_the_design_is_in_the_document() -> None:
    assert set(SECTIONS) == set(range(1, COUNT + 1))


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_a_promise_names_exactly_the_tests_that_carry_its_number(number: int) -> None:
    named = set(re.findall(r"`(tests/\S+::\w+)`", SECTIONS[number]))
    assert HELD[number], f"no test holds I{number}"
    assert named == HELD[number]


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_a_promise_has_its_sentence_and_its_command(number: int) -> None:
    lines = [line for line in SECTIONS[number].splitlines() if line]
    assert lines[0].endswith(".")
    assert lines[-1] == f"`.venv/bin/python -m pytest tests -k i{number}_`"
