"""What is on the shelf ends by itself: by CLOCK_BOOTTIME, and with the boot."""

from __future__ import annotations

from pathlib import Path

from store import db, migrations
from store.ledger import Stamp
from store.node import shelves


def test_a_shelf_ends_with_its_time_or_with_the_boot_whatever_the_wall_clock_says(tmp_path: Path) -> None:
    migrations.migrate_node(tmp_path / "node.db")
    connection = db.open_writer(tmp_path / "node.db")
    stamp = Stamp("boot-a", 1_000_000, 5, "alice")
    shelf = shelves.put(connection, stamp, "PUMP.HOT", "press", note="known", until_us=61_000_000)
    assert shelf.seconds_left("boot-a", 1_000_000) == 60.0
    assert shelf.seconds_left("boot-a", 61_000_000) <= 0
    assert shelf.seconds_left("boot-b", 1_000_000) <= 0
    assert shelves.all_(connection) == [shelf]
    shelves.take_off(connection, stamp, "PUMP.HOT", "press", "done")
    shelves.take_off(connection, stamp, "PUMP.HOT", "press", "again")
    assert shelves.all_(connection) == []
    actions = [action for (action,) in connection.execute("SELECT action FROM ledger ORDER BY seq")]
    assert actions == ["alert.shelf", "alert.unshelve"]
    connection.close()
