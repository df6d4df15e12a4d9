"""What the documents name is there: each test, each file of the tree, each page that they link to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    for file, name in re.findall(r"`(tests/\S+?\.py)::(\w+)`", document.read_text("utf-8")):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), f"{file}::{name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_page_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    named = [ROOT / path for path in re.findall(r"`((?:nodeagent|console|store|widgets|tests)/[\w./]+)`", text)]
    linked = [document.parent / path for path in re.findall(r"\]\(([\w./-]+)\)", text)]
    missing = [str(path) for path in named + linked if not path.exists()]
    assert not missing
