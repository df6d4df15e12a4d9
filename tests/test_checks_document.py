"""docs/checks.md has a section for each check, and for no other."""

from __future__ import annotations

import re
from pathlib import Path

from console.fleet.checks import NAMES as SEEN_BY_THE_CONSOLE
from nodeagent.checks.all import NAMES

TEXT = (Path(__file__).parents[1] / "docs" / "checks.md").read_text("utf-8")


def test_each_check_has_its_section_and_no_other_has() -> None:
    sections = re.findall(r"^### ([a-z-]+)\n\n\S", TEXT, re.MULTILINE)
    assert len(sections) == len(set(sections))
    assert set(sections) == {*NAMES, *SEEN_BY_THE_CONSOLE}
