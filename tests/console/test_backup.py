"""A backup says what to bind on a new box and never holds a secret; its age is a check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from console import backup as backups
from console.backup import Backup, to_bind
from console.fleet.checks import backup_check
from nodeagent.protocol import Bindings
from store.errors import Corrupt

DAY_S = 86_400.0


def kept(**more: Any) -> Backup:
    plain: dict[str, Any] = {
        "node": "press-07",
        "node_id": "id-press-07",
        "taken_wall_s": 1_000 * DAY_S,
        "agent_version": "0.1.0",
        "bindings": {"plc": {"url": "tcp://10.0.0.5:502"}, "broker": {"password": "***"}, "keys": ["***"], "seed": 7},
        "revisions": [],
        "signers": [],
    }
    return Backup(**plain | more)


def test_what_holds_a_secret_is_named_and_not_bound_and_what_is_there_is_left() -> None:
    changes, secret = to_bind(kept(), Bindings(revision=1, values={"seed": 7}))
    assert changes == {"plc": {"url": "tcp://10.0.0.5:502"}}
    assert secret == ["broker", "keys"]


def test_a_backup_is_read_as_it_was_written_and_only_by_its_owner(tmp_path: Path) -> None:
    assert backups.read(tmp_path, "press-07") is None
    path = backups.write(tmp_path, kept())
    assert path.stat().st_mode & 0o777 == 0o600
    assert backups.read(tmp_path, "press-07") == kept()
    path.write_bytes(b"\xff{")
    with pytest.raises(Corrupt):
        backups.read(tmp_path, "press-07")


@pytest.mark.parametrize("name", ["../x", "", "a/b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a node's name"):
        backups.path_of(tmp_path, name)


def test_the_check_tells_none_old_foreign_and_outdated_backups_apart(tiny_agent: Any) -> None:
    status = tiny_agent(node_id="id-press-07").status()
    bundle = status.telemetry.bundles[0]
    assert backup_check("press-07", status, None, 0.0).text == "none on this console"
    now_s = 1_001 * DAY_S
    assert backup_check("press-07", status, kept(), now_s).verdict == "warn"
    from nodeagent.protocol import Revision

    same = Revision(
        bundle=bundle.bundle, revision=1, version="1", digest=bundle.digest, binding_revision=1, since_us=1, active=True
    )
    assert backup_check("press-07", status, kept(revisions=[same]), now_s).verdict == "ok"
    assert backup_check("press-07", status, kept(revisions=[same]), now_s + 40 * DAY_S).verdict == "warn"
    assert "before this one" in backup_check("press-07", status, kept(node_id="other"), now_s).text
