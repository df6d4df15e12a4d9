"""Copies of ledgers on the console: what extends them, what breaks them, what a person may do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.catalog import Catalog
from store.histories import Histories
from store.ledger import GENESIS, Break, Entry, Head, entry_hash, find_break


def chain(count: int, *, actor: str = "alice", before: list[Entry] | None = None) -> list[Entry]:
    """`before` and entries up to number `count`."""
    entries = list(before or [])
    previous = entries[-1].hash if entries else GENESIS
    for seq in range(len(entries) + 1, count + 1):
        entry = Entry(seq, "boot", seq, seq, actor, "hold.set", "node", {"reason": "é"}, previous, "")
        previous = entry_hash(entry)
        entries.append(entry._replace(hash=previous))
    return entries


def end(entries: list[Entry]) -> Head:
    return Head(entries[-1].seq, entries[-1].hash)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Histories]:
    with Histories(tmp_path / "catalog.db") as histories:
        yield histories


def test_i15_what_extends_the_copy_is_kept_and_moves_the_anchor(tmp_path: Path, kept: Histories) -> None:
    five = chain(5)
    assert kept.extend("n-1", five[:3], end=end(five[:3]), wall_s=1.0) is None
    assert kept.extend("n-1", five[3:], end=end(five), wall_s=2.0) is None
    assert kept.extend("n-1", [], end=end(five), wall_s=3.0) is None
    assert kept.entries("n-1") == five
    with Catalog(tmp_path / "catalog.db") as catalog:
        assert catalog.anchor("n-1") == end(five)


@pytest.mark.parametrize(
    ("entries", "head", "kind", "seq"),
    [
        ([], end(chain(2)), "shortened", 2),
        ([], end(chain(3, actor="mallory")), "forked", 3),
        (chain(5, actor="mallory")[3:], end(chain(5, actor="mallory")), "forked", 3),
        (chain(6)[4:], end(chain(6)), "gap", 4),
        ([], end(chain(6)), "gap", 4),
        ([chain(4)[3]._replace(actor="mallory")], end(chain(4)), "edited", 4),
    ],
    ids=["shortened", "last entry rewritten", "fork", "gap", "entries withheld", "edited"],
)
def test_i15_a_chain_that_does_not_extend_the_anchor_is_a_break_that_nothing_heals(
    kept: Histories, entries: list[Entry], head: Head, kind: str, seq: int
) -> None:
    three = chain(3)
    kept.extend("n-1", three, end=end(three), wall_s=1.0)
    found = kept.extend("n-1", entries, end=head, wall_s=2.0)
    assert found is not None
    assert (found.kind, found.seq) == (kind, seq)
    good = chain(4, before=three)
    assert kept.extend("n-1", good[3:], end=end(good), wall_s=3.0) == found
    assert kept.anchor("n-1") == end(three)
    assert [known.node_id for known in kept.breaks()] == ["n-1"]


def test_i15_an_anchor_of_before_the_copies_counts(tmp_path: Path, kept: Histories) -> None:
    with Catalog(tmp_path / "catalog.db") as catalog:
        catalog.set_anchor("n-1", end(chain(3)), wall_s=0.0)
    other = chain(4, actor="mallory")
    found = kept.extend("n-1", other, end=end(other), wall_s=1.0)
    assert found == Break("forked", 3, "entry 3 is not the one that had been verified")


def test_a_copy_of_another_console_extends_ours_or_says_nothing_new(kept: Histories) -> None:
    kept.extend("n-1", chain(3), wall_s=1.0)
    assert kept.merge("n-1", chain(5), source="bob.ledger", wall_s=2.0) == (2, None)
    assert kept.merge("n-1", chain(2), source="old.ledger", wall_s=3.0) == (0, None)
    assert kept.entries("n-1") == chain(5)


def test_i15_a_node_that_told_two_consoles_two_histories_is_found_when_they_merge(kept: Histories) -> None:
    kept.extend("n-1", chain(3), wall_s=1.0)
    forked = chain(5, actor="mallory", before=chain(1))
    new, found = kept.merge("n-1", forked, source="bob.ledger", wall_s=2.0)
    assert (new, found) == (
        0,
        Break("forked", 2, "entry 2 is another one in bob.ledger than here: the node showed two histories"),
    )
    assert str(kept.broken("n-1")).startswith("ledger FORKED: entry 2")


def test_a_file_that_is_damaged_in_itself_says_nothing_about_the_node(kept: Histories) -> None:
    damaged = chain(4)
    damaged[1] = damaged[1]._replace(actor="mallory")
    new, found = kept.merge("n-1", damaged, source="stick.ledger", wall_s=1.0)
    assert (new, found and found.kind) == (0, "edited")
    assert kept.breaks() == []


def test_a_person_ends_a_break_by_name_and_the_old_chain_is_kept(tmp_path: Path, kept: Histories) -> None:
    kept.extend("n-1", chain(3), wall_s=1.0)
    other = chain(2, actor="new-disk")
    kept.extend("n-1", [], end=end(other), wall_s=2.0)
    assert kept.accept("n-1", by="alice", why="the disk was replaced")
    assert not kept.accept("n-1", by="alice", why="twice")
    assert kept.extend("n-1", other, end=end(other), wall_s=3.0) is None
    assert kept.entries("n-1") == other
    with sqlite3.connect(tmp_path / "catalog.db") as raw:
        assert raw.execute("SELECT count(*) FROM history").fetchone() == (5,)
        assert raw.execute("SELECT accepted_by, accepted_why FROM history_break").fetchall() == [
            ("alice", "the disk was replaced")
        ]


def test_the_copy_refuses_to_be_edited_or_cut(tmp_path: Path, kept: Histories) -> None:
    kept.extend("n-1", chain(2), wall_s=1.0)
    with sqlite3.connect(tmp_path / "catalog.db") as raw:
        for statement in ("UPDATE history SET actor = 'x'", "DELETE FROM history"):
            with pytest.raises(sqlite3.IntegrityError, match="only grows"):
                raw.execute(statement)


def test_an_empty_chain_is_whole() -> None:
    assert find_break(Head(0, GENESIS), [], Head(0, GENESIS)) is None
