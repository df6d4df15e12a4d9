"""Site files between two consoles, and the verbs that take lists."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from console.__main__ import main
from console.fleet.view import NodeAddress
from console.home import Home, row_of

Run = Callable[..., tuple[int, str, str]]
NODE = NodeAddress(
    name="press-07",
    host="10.0.0.7",
    user="plant",
    jumps=("ops@gate",),
    site="graz",
    labels=(("redundancy", "a"),),
    node_id="node-1",
    identity_files=("/home/alice/.ssh/secret_key_file",),
    proxy_command="nc --password hunter2",
)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(console: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--home", str(tmp_path / console), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def keep(tmp_path: Path, console: str, *addresses: NodeAddress) -> Home:
    home = Home(tmp_path / console)
    with home.open_catalog() as catalog:
        for address in addresses:
            catalog.put_node(row_of(address))
    return home


def host_key(tmp_path: Path, name: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    return " ".join((tmp_path / f"{name}.pub").read_text().split()[:2])


def nodes_of(cli: Run, console: str) -> dict[str, dict[str, object]]:
    return {node["name"]: node for node in json.loads(cli(console, "node", "list", "--json")[1])}


def test_a_site_file_brings_nodes_and_host_keys_to_another_console_and_nothing_secret(tmp_path: Path, cli: Run) -> None:
    home = keep(tmp_path, "a", NODE)
    home.known_hosts.write_text(f"10.0.0.7 {host_key(tmp_path, 'k1')}\ngate {host_key(tmp_path, 'k2')}\n")
    file = tmp_path / "graz.json"
    assert cli("a", "site", "export", "-o", str(file)) == (0, f"1 nodes and 2 host keys in {file}\n", "")
    assert "hunter2" not in file.read_text()
    assert "secret_key_file" not in file.read_text()
    code, out, err = cli("b", "site", "import", str(file), "--yes")
    assert (code, err) == (0, "")
    assert "host key 10.0.0.7  ssh-ed25519  SHA256:" in out
    node = nodes_of(cli, "b")["press-07"]
    assert (node["host"], node["node_id"], node["site"]) == ("10.0.0.7", "node-1", "graz")
    pinned = (tmp_path / "b" / "known_hosts").read_text().splitlines()
    assert sorted(pinned) == sorted(home.known_hosts.read_text().splitlines())
    code, out, _ = cli("b", "site", "import", str(file))
    assert (code, out.splitlines()[-1]) == (0, "0 nodes taken")


def test_two_consoles_merge_what_each_knows(tmp_path: Path, cli: Run) -> None:
    keep(tmp_path, "a", NODE)
    keep(tmp_path, "b", NodeAddress(name="press-08", host="10.0.0.8"))
    cli("a", "site", "export", "-o", str(tmp_path / "a.json"))
    cli("b", "site", "export", "-o", str(tmp_path / "b.json"))
    assert cli("a", "site", "import", str(tmp_path / "b.json"), "--yes")[0] == 0
    assert cli("b", "site", "import", str(tmp_path / "a.json"), "--yes")[0] == 0
    assert nodes_of(cli, "a").keys() == nodes_of(cli, "b").keys() == {"press-07", "press-08"}


def test_another_host_key_than_the_pinned_one_stops_the_whole_import(tmp_path: Path, cli: Run) -> None:
    home = keep(tmp_path, "a", NODE)
    home.known_hosts.write_text(f"10.0.0.7 {host_key(tmp_path, 'k1')}\n")
    cli("a", "site", "export", "-o", str(tmp_path / "a.json"))
    other = keep(tmp_path, "b")
    other.known_hosts.write_text(f"10.0.0.7 {host_key(tmp_path, 'k2')}\n")
    code, _, err = cli("b", "site", "import", str(tmp_path / "a.json"), "--yes")
    assert code == 1
    assert "HOST KEY DIFFERS" in err
    assert nodes_of(cli, "b") == {}


def test_another_node_id_than_the_known_one_stops_the_whole_import(tmp_path: Path, cli: Run) -> None:
    keep(tmp_path, "a", NODE, NodeAddress(name="press-09", host="10.0.0.9"))
    cli("a", "site", "export", "-o", str(tmp_path / "a.json"))
    keep(tmp_path, "b", NodeAddress(name="press-07", host="10.0.0.7", node_id="node-2"))
    code, out, err = cli("b", "site", "import", str(tmp_path / "a.json"), "--yes", "--update")
    assert code == 1
    assert "node-2 -> node-1" in out
    assert "another node id for press-07" in err
    assert nodes_of(cli, "b").keys() == {"press-07"}


def test_a_changed_node_stays_until_an_update_is_asked_for(tmp_path: Path, cli: Run) -> None:
    keep(tmp_path, "a", NODE)
    (tmp_path / "n.csv").write_text("name,host,line\npress-07,10.9.9.9,press\npress-10,10.0.0.10,press\n")
    code, out, _ = cli("a", "node", "import", str(tmp_path / "n.csv"), "--yes")
    assert code == 0
    assert "press-07 host: 10.0.0.7 -> 10.9.9.9" in out
    assert nodes_of(cli, "a")["press-07"]["host"] == "10.0.0.7"
    assert cli("a", "node", "import", str(tmp_path / "n.csv"), "--yes", "--update")[0] == 0
    after = nodes_of(cli, "a")["press-07"]
    assert (after["host"], after["node_id"], after["user"]) == ("10.9.9.9", "node-1", "plant")


def test_a_dry_run_and_a_list_without_a_yes_take_nothing(tmp_path: Path, cli: Run) -> None:
    (tmp_path / "n.csv").write_text("name,host\npress-10,10.0.0.10\n")
    assert cli("a", "node", "import", str(tmp_path / "n.csv"), "--dry-run")[0] == 0
    code, _, err = cli("a", "node", "import", str(tmp_path / "n.csv"))
    assert code == 1
    assert "--yes" in err
    assert nodes_of(cli, "a") == {}


def test_a_node_behind_a_proxy_command_is_left_out_where_nobody_accepts_it(tmp_path: Path, cli: Run) -> None:
    trace = tmp_path / "ran"
    config = tmp_path / "config"
    config.write_text(
        f"Host radio\n  HostName 10.9.9.9\n  ProxyCommand touch {trace}\nHost plain\n  HostName 10.1.1.1\n"
    )
    code, out, _ = cli("a", "node", "import", str(config), "--yes")
    assert code == 0
    assert "radio is left out" in out
    assert nodes_of(cli, "a").keys() == {"plain"}
    assert not trace.exists()


def test_a_file_that_is_no_site_file_is_refused(tmp_path: Path, cli: Run) -> None:
    (tmp_path / "x.json").write_text('{"format": 1, "nodes": [{"name": "a", "host": "b", "password": "x"}]}')
    code, _, err = cli("a", "site", "import", str(tmp_path / "x.json"), "--yes")
    assert code == 1
    assert "password" in err
