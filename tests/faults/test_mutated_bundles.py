"""Bundles with something changed in them: a few hundred here, ten thousand in `make faults`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faults import mutations


def test_i17_no_mutation_counts_unless_its_content_is_what_was_signed(workshop: Any, tmp_path: Path) -> None:
    result = mutations.run(workshop.bundle(1), workshop.signers.read_text(), tmp_path, 300)
    assert result.wrong == []
    assert (result.tried, result.taken < 60) == (300, True)
    assert set(result.refused) >= {"BundleMalformed", "OtherContent"}
    assert result.grown_bytes < 32 << 20


def test_a_reader_that_asks_for_no_signature_is_found(workshop: Any, tmp_path: Path) -> None:
    assert mutations.run(workshop.bundle(1), "", tmp_path, 60, judge=mutations.read).wrong
