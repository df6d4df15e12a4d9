"""Folders of reports and the console's database: takes what lies there, knows which folder is watched. Synchronous."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from console.diode.intake import Taken, found_in, take
from console.diode.watch import FOLDER_SETTING
from console.fleet.view import NodeAddress
from console.home import address_of
from store.catalog import Catalog
from store.histories import Histories
from store.oneway import Reports


def watched(catalog: Path) -> Path | None:
    """The folder that is watched. Raises StoreError kinds."""
    with Catalog(catalog) as kept:
        name = kept.setting(FOLDER_SETTING, "")
    return Path(name) if name else None


def one_way_nodes(catalog: Path) -> dict[str, NodeAddress]:
    """Nodes behind a diode, by their id. Raises StoreError kinds."""
    with Catalog(catalog) as kept:
        return {row.node_id: address_of(row) for row in kept.nodes() if row.one_way_key}


def take_folder(catalog: Path, paths: Sequence[Path]) -> list[Taken]:
    """Takes every report that lies there. Raises StoreError kinds."""
    nodes = one_way_nodes(catalog)
    files = [file for path in paths for file in found_in(path)]
    with Reports(catalog) as reports, Histories(catalog) as histories:
        return take(files, nodes, reports, histories, time.time())
