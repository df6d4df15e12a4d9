from __future__ import annotations

import dataclasses
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.fleet.view import NodeAddress
from store.catalog import BundleRow, Catalog, DeploymentRow, NodeIdConflict, NodeRow
from store.ledger import Head

NODE = NodeRow(
    "press-07", "10.0.0.7", 2222, "ops", ("a@jump:22", "b"), "/run/x.sock", site="north", line="2", machine="press",
    labels=(("zone", "a"), ("power", "b")), identity_files=("~/.ssh/id",), proxy_command="nc %h %p",
)  # fmt: skip
BUNDLE = BundleRow("sha256:1", "bearing", "1.4.0", 1, 7, "/b/x.ostn", 10, "SHA256:k", {"inputs": [{"name": "x"}]}, 5.0)
DEPLOYMENT = DeploymentRow("d1", "press-07", "n-1", "sha256:1", "alice", 600.0, 1.0)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.db") as made:
        yield made


def test_a_node_is_kept_as_it_was_named_also_over_a_restart(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.db") as catalog:
        catalog.put_node(NODE)
    with Catalog(tmp_path / "c.db") as catalog:
        assert catalog.nodes() == [NODE]
        assert catalog.node("press-07") == NODE
        catalog.put_node(dataclasses.replace(NODE, host="10.0.0.8"))
        assert [node.host for node in catalog.nodes()] == ["10.0.0.8"]
        assert (catalog.remove_node("press-07"), catalog.remove_node("press-07")) == (True, False)
    assert stat.S_IMODE((tmp_path / "c.db").stat().st_mode) == 0o600


def test_a_row_has_the_fields_of_the_consoles_address() -> None:
    assert NodeAddress(**dataclasses.asdict(NODE)) == NodeAddress(
        **{field.name: getattr(NODE, field.name) for field in dataclasses.fields(NodeAddress)}
    )


def test_a_changed_or_doubled_node_id_is_refused_with_both(catalog: Catalog) -> None:
    catalog.put_node(NODE)
    catalog.put_node(NodeRow("press-08", "10.0.0.8"))
    catalog.learn_node_id("press-07", "n-1")
    catalog.learn_node_id("press-07", "n-1")
    with pytest.raises(NodeIdConflict, match="n-2, and was n-1"):
        catalog.learn_node_id("press-07", "n-2")
    with pytest.raises(NodeIdConflict, match="which press-07 has"):
        catalog.learn_node_id("press-08", "n-1")
    assert [node.node_id for node in catalog.nodes()] == ["n-1", ""]
    with pytest.raises(KeyError):
        catalog.learn_node_id("nobody", "n-3")


def test_i15_an_anchor_moves_forward_only_and_outlives_its_node(catalog: Catalog) -> None:
    assert catalog.anchor("n-1") is None
    catalog.set_anchor("n-1", Head(5, "aa"), wall_s=1.0)
    catalog.set_anchor("n-1", Head(9, "bb"), wall_s=2.0)
    with pytest.raises(sqlite3.IntegrityError, match="forward"):
        catalog.set_anchor("n-1", Head(8, "cc"), wall_s=3.0)
    assert catalog.anchor("n-1") == Head(9, "bb")


def test_bundles_are_kept_by_digest_and_come_newest_first(catalog: Catalog) -> None:
    newer = dataclasses.replace(BUNDLE, digest="sha256:2", sequence=8)
    for bundle in (BUNDLE, newer, BUNDLE):
        catalog.put_bundle(bundle)
    assert catalog.bundles() == [newer, BUNDLE]
    assert catalog.bundle("sha256:1") == BUNDLE
    catalog.remove_bundle("sha256:1")
    assert catalog.bundle("sha256:1") is None


def test_an_intent_is_written_once_and_stays_open_until_its_outcome(catalog: Catalog) -> None:
    catalog.start_deployment(DEPLOYMENT)
    catalog.start_deployment(dataclasses.replace(DEPLOYMENT, operator="eve"))
    assert catalog.deployments(open_only=True) == [DEPLOYMENT]
    catalog.set_deployment("d1", "TRIAL")
    assert [row.state for row in catalog.deployments(open_only=True)] == ["TRIAL"]
    catalog.set_deployment("d1", "COMMITTED", "by alice", ended_wall_s=9.0)
    assert catalog.deployments(open_only=True) == []
    assert catalog.deployments() == [
        dataclasses.replace(DEPLOYMENT, state="COMMITTED", detail="by alice", ended_wall_s=9.0)
    ]


def test_settings_are_json(catalog: Catalog) -> None:
    assert catalog.setting("theme", "dark") == "dark"
    catalog.set_setting("theme", {"name": "light"})
    catalog.set_setting("theme", {"name": "dim"})
    assert catalog.setting("theme") == {"name": "dim"}


def test_two_consoles_may_have_it_open(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.db") as first, Catalog(tmp_path / "c.db") as second:
        first.put_node(NODE)
        assert second.node("press-07") == NODE
        second.set_setting("a", 1)
        assert first.setting("a") == 1
