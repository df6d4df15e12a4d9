"""docs/operator.md has a line for each alert that a node can raise and each error that it can answer."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli.parser import add_verbs
from nodeagent.health import alerts
from nodeagent.protocol import ERRORS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "operator.md").read_text("utf-8")
ALERTS, REFUSALS = (TEXT.partition(head)[2].partition("\n## ")[0] for head in ("## Alerts\n", "## When something"))


def rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([A-Z_.]+)`(.*)\|$", text, re.MULTILINE))


def calls_of_condition(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Condition"):
            yield node


def codes_raised() -> set[str]:
    """The code of each Condition that the agent makes: by keyword, as its first value, or by a key named before."""
    found: set[str] = set(alerts.LATCHED)
    for path in (ROOT / "nodeagent").rglob("*.py"):
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        if not any(calls_of_condition(tree)):
            continue
        for call in calls_of_condition(tree):
            named = [keyword.value for keyword in call.keywords if keyword.arg == "code"] or call.args[:1]
            found.update(str(value.value) for value in named if isinstance(value, ast.Constant))
        found.update(re.findall(r'key = \("([A-Z_.]+)"', text))
    return found


def test_the_handbook_says_what_to_do_for_each_alert_and_for_no_other() -> None:
    assert set(rows(ALERTS)) == codes_raised()


def test_the_latched_alerts_are_marked() -> None:
    assert {code for code, rest in rows(ALERTS).items() if rest.startswith(" *")} == alerts.LATCHED


def test_the_handbook_says_what_to_do_for_each_error_and_for_no_other() -> None:
    assert set(rows(REFUSALS)) == set(ERRORS)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^\$ outstation (.+)$", TEXT, re.MULTILINE))))
def test_the_command_line_takes_what_the_handbook_shows(line: str) -> None:
    parser = argparse.ArgumentParser()
    add_verbs(parser)
    assert parser.parse_args(shlex.split(line)).group
