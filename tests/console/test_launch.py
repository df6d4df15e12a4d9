"""The app's core over a console's own folder: what is opened, what it may do at first, and what stops it."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from console.fleet.view import LinkState, NodeAddress
from console.home import Home, row_of
from console.seat.asking import SeatPrompter
from console.seat.launch import open_fleet, run_app
from console.seat.opening import OpeningFailed
from console.seat.operations import OperationFailed


def test_a_fleet_is_opened_unconnected_and_in_monitor(tmp_path: Path) -> None:
    with Home(tmp_path).open_catalog() as catalog:
        catalog.put_node(row_of(NodeAddress("press-07", "10.9.9.9", user="plant")))
    opened = open_fleet(str(tmp_path), "alice", SeatPrompter())
    try:
        assert opened.fleet.views()["press-07"].link is LinkState.CONNECTING
        assert opened.operations.operator == "alice"
        with pytest.raises(OperationFailed, match="MONITOR"):
            asyncio.run(opened.operations.release("press-07", ""))
        assert asyncio.run(opened.operations.bundles()) == []
    finally:
        opened.close()


def test_a_folder_that_cannot_be_used_is_told_and_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OpeningFailed):
        open_fleet(str(tmp_path / "file"), "alice", SeatPrompter())


def test_an_operators_name_that_no_ledger_takes_ends_before_anything_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_app(argparse.Namespace(operator="a b")) == 2
    assert "operator's name" in capsys.readouterr().err
