"""A node behind a data diode, from the agent's folder of reports to the console's table, and no way back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.__main__ import main
from store.catalog import Catalog
from store.histories import Histories


def export(agent: Any, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodeagent", "export", "--state", str(agent.state), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_one_way_node_is_watched_by_its_signed_files_deployed_by_stick_and_never_ok_past_its_age(
    make_agent: Callable[..., Any], workshop: Any, eventually: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def console(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--home", str(tmp_path / "home"), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    node = make_agent()
    out = node.state.parent / "out"
    with (node.state / "node.toml").open("a") as file:
        file.write(f'[one_way]\nfolder = "{out}"\nevery_s = 1\nkeep = 2\n')
    node.start()
    eventually(lambda: out.is_dir() and len(list(out.glob("*.status"))) == 2, "reports, and no more than it keeps")
    node.commit(workshop.bundle(4), "four")
    node.stop()  # Nothing of it can be asked now, as behind a diode.
    newest = sorted(out.glob("*.status"))[-1]
    number = int(newest.stem.rpartition("-")[2])
    assert json.loads((node.state / "one_way.json").read_text())["sequence"] == number

    key = tmp_path / "press-07.pub"
    key.write_text(export(node, "--public-key").stdout)
    code, told, err = console("diode", "add", "press-07", "--key", str(key), "--age", "10m", "--yes")
    assert (code, err) == (0, ""), told
    code, told, _ = console("status")
    assert code == 3
    assert "no report came from it yet" in told

    stick = tmp_path / "stick"
    shutil.copytree(out, stick)
    code, told, err = console("diode", "import", str(stick))
    assert (code, err) == (0, ""), told
    assert "press-07: 2 new" in told
    code, told, _ = console("status", "--json")
    (shown,) = json.loads(told)
    assert (code, shown["reached"], shown["known"], shown["report"], shown["lost"]) == (0, False, True, number, 0)
    assert shown["as_of"].startswith("as of ")
    assert shown["status"]["node_id"] == node.node_id
    assert "diode, as of " in console("status")[1]
    with Histories(tmp_path / "home" / "catalog.db") as histories:
        assert histories.head(node.node_id).seq > 0

    for words in (("records", "press-07", "press"), ("hold", "press-07", "--yes"), ("check", "press-07")):
        code, told, err = console(*words)
        assert code != 0, words
        assert "it is one-way, behind a data diode: nothing can be sent to it" in told + err
    code, told, err = console("deploy", str(workshop.bundle(5)), "press-07", "--yes")
    assert (code, "outstation-agent import FILE.ostn" in err) == (1, True)

    with Catalog(tmp_path / "home" / "catalog.db") as catalog:
        (row,) = catalog.nodes()
        catalog.put_node(type(row)(**{name: getattr(row, name) for name in row.__slots__} | {"one_way_age_s": 0.001}))
    code, told, _ = console("status", "--json")
    (shown,) = json.loads(told)
    assert (code, shown["known"], shown["condition"], shown["status"]) == (3, False, "UNKNOWN", None)
    assert "says nothing past" in shown["reason"]


def test_the_number_of_a_report_outlives_its_folder_and_is_never_used_twice(
    make_agent: Callable[..., Any], tmp_path: Path
) -> None:
    node = make_agent().start()
    first, second = (Path(export(node, "--to", str(tmp_path / "out")).stdout.strip()) for _ in range(2))
    assert (first.name, second.name) == (f"{node.node_id}-000000000001.status", f"{node.node_id}-000000000002.status")
    shutil.rmtree(tmp_path / "out")
    third = export(node, "--to", str(tmp_path / "out"))
    assert third.stdout.strip().endswith("-000000000003.status")
    assert (node.state / "one_way_key").stat().st_mode & 0o777 == 0o600
    (node.state / "one_way.json").write_text("{")
    refused = export(node, "--to", str(tmp_path / "out"))
    assert refused.returncode == 1
    assert "does not tell the last report's number" in refused.stderr
    node.stop()
    assert "does the agent run?" in export(node, "--to", str(tmp_path / "out")).stderr
