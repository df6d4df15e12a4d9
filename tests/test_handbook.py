"""docs/operator.md has a line for each alert that a node can raise and each error that it can answer."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

from console.cli.parser import add_verbs
from console.fleet import alertbook
from nodeagent.health import alerts, default_rules
from nodeagent.protocol import ERRORS
from nodeagent.settings import Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "operator.md").read_text("utf-8")
ALERTS, REFUSALS = (TEXT.partition(head)[2].partition("\n## ")[0] for head in ("## Alerts\n", "## When something"))


def rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([A-Z_.]+)`(.*)\|$", text, re.MULTILINE))


def codes_raised() -> set[str]:
    """Every code that stands as a text in a file of the agent that makes conditions: there they are all of alerts."""
    found: set[str] = set()
    for path in (ROOT / "nodeagent").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if not any(isinstance(made, ast.Name) and made.id.endswith("Condition") for made in calls):
            continue
        texts = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        codes = {text for text in texts if re.fullmatch(r"[A-Z_]+\.[A-Z_]+|HOLD", text)}
        found |= codes if path.name == "alerts.py" else codes - set(ERRORS)
    return found | {rule.options.code for rule in default_rules.defaults(Settings())}


def test_the_handbook_says_what_to_do_for_each_alert_and_for_no_other() -> None:
    assert set(rows(ALERTS)) == codes_raised()


def test_the_alert_screen_says_the_same_as_the_handbook() -> None:
    """`python -m console.fleet.alertbook` prints the table."""
    assert alertbook.table() in ALERTS


def test_the_latched_alerts_are_marked() -> None:
    assert {code for code, rest in rows(ALERTS).items() if rest.startswith(" *")} == alerts.LATCHED


def test_the_handbook_says_what_to_do_for_each_error_and_for_no_other() -> None:
    assert set(rows(REFUSALS)) == set(ERRORS)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^\$ outstation (.+)$", TEXT, re.MULTILINE))))
def test_the_command_line_takes_what_the_handbook_shows(line: str) -> None:
    parser = argparse.ArgumentParser()
    add_verbs(parser)
    assert parser.parse_args(shlex.split(line)).group
