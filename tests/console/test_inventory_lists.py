"""Lists of nodes that people have: read strictly, without secrets, and compared before anything is taken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.fleet.view import NodeAddress
from console.inventory.ansible import read_ansible
from console.inventory.entry import Entry, InventoryRefused, as_text, compare, merged
from console.inventory.sheet import read_sheet
from console.inventory.sshconfig import names_in, read_ssh_config
from console.inventory.tree import read_tree

INI = """
# the plant
jump ansible_host=10.0.0.1
[presses]
press-[01:03] ansible_user=plant ansible_ssh_pass=hunter2
[presses:vars]
ansible_port=2222
line=press
ansible_ssh_common_args='-o ProxyJump=ops@10.0.0.1'
[graz:children]
presses
[graz:vars]
outstation_site=graz
line=none
"""
YAML = """
---
all:
  vars:
    ansible_user: plant   # everyone
  children:
    presses:
      hosts:
        press-07:
          ansible_host: 10.0.0.7
          redundancy_group: "a"
          ansible_become_pass: hunter2
        press-[08:09]:
      vars:
        site: graz
"""


def by_name(entries: list[Entry]) -> dict[str, NodeAddress]:
    return {entry.address.name: entry.address for entry in entries}


def test_an_ini_inventory_gives_ranges_groups_and_the_nearest_groups_variables() -> None:
    entries = read_ansible(INI, where="hosts")
    found = by_name(entries)
    assert sorted(found) == ["jump", "press-01", "press-02", "press-03"]
    press = found["press-02"]
    assert (press.host, press.port, press.user, press.jumps) == ("press-02", 2222, "plant", ("ops@10.0.0.1",))
    assert (press.site, press.line, press.labels) == ("graz", "press", (("group", "presses"),))
    assert (found["jump"].host, found["jump"].user) == ("10.0.0.1", "")


def test_a_yaml_inventory_gives_the_same_kind_of_nodes() -> None:
    found = by_name(read_ansible(YAML, where="hosts.yml"))
    assert sorted(found) == ["press-07", "press-08", "press-09"]
    assert (found["press-07"].host, found["press-07"].user, found["press-07"].site) == ("10.0.0.7", "plant", "graz")
    assert found["press-07"].labels == (("group", "presses"), ("redundancy", "a"))


@pytest.mark.parametrize("text", [INI, YAML])
def test_no_secret_of_an_inventory_is_taken_and_it_is_said(text: str) -> None:
    entries = read_ansible(text, where="hosts")
    assert "hunter2" not in repr(entries)
    assert any("is a secret and was not taken" in note for entry in entries for note in entry.notes)


@pytest.mark.parametrize(
    "text",
    [
        "all:\n  hosts: [a, b]\n",
        "all:\n  hosts:\n    a: &x\n",
        "all:\n  hosts:\n    - a\n",
        "all:\n  hosts:\n    a:\n      v: |\n        text\n",
        "all:\n  hosts:\n    a:\n    a:\n",
        "all:\n  hostz:\n    a:\n",
        'all:\n  hosts:\n    a:\n      v: "x\n',
        "all:\n\thosts:\n",
    ],
)
def test_yaml_beyond_what_is_read_here_is_refused_and_not_guessed(text: str) -> None:
    with pytest.raises(InventoryRefused, match=r"hosts\.yml"):
        read_ansible(text, where="hosts.yml")


def test_a_tree_keeps_its_levels_when_it_comes_back_from_a_deep_one() -> None:
    assert read_tree("a:\n  b:\n    c: 1\n  d: 'x # y'\ne: -5\n", where="t") == {
        "a": {"b": {"c": "1"}, "d": "x # y"},
        "e": "-5",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a]\nhost port\n", "not name=value"),
        ("[a]\nx[1:z]\n", "no range"),
        ("[a:children]\na\n", "child of itself"),
        ("[a]\nx ansible_host={{ ip }}\n", "not name=value"),
        ('[a]\nx ansible_host="{{ ip }}"\n', "templates"),
        ("[a]\n-evil\n", "not a node's name"),
        ("[a]\nx ansible_host=-oProxyCommand=evil\n", "not a host name"),
    ],
)
def test_an_inventory_that_cannot_be_read_says_where_and_why(text: str, reason: str) -> None:
    with pytest.raises(InventoryRefused, match=f"hosts.*{reason}"):
        read_ansible(text, where="hosts")


def test_other_ssh_arguments_are_named_and_not_obeyed() -> None:
    text = '[a]\nx ansible_ssh_common_args="-J me@jump -o StrictHostKeyChecking=no"\n'
    (entry,) = read_ansible(text, where="hosts")
    assert entry.address.jumps
    assert any("StrictHostKeyChecking" in note for note in entry.notes)


def test_a_table_names_its_columns_and_takes_labels_and_redundancy_groups() -> None:
    text = "\ufeffname;host;port;label.zone;redundancy\npress-01;10.0.0.1;2222;a;pair\npress-02;10.0.0.2;;;\n"
    first, second = read_sheet(text, where="n.csv")
    assert (first.address.port, first.address.labels) == (2222, (("redundancy", "pair"), ("zone", "a")))
    assert (second.address.port, second.address.labels) == (22, ())
    for bad, reason in (
        ("name,hots\na,b\n", "no column 'hots'"),
        ("name,host\na\n", "cells"),
        ("host\nb\n", "name"),
        ("name,port\na,99999\n", "not a port"),
    ):
        with pytest.raises(InventoryRefused, match=reason):
            read_sheet(bad, where="n.csv")


def test_a_list_changes_only_what_it_speaks_about() -> None:
    known = NodeAddress(name="a", host="old", port=2222, user="plant", site="graz", node_id="n1", labels=(("x", "y"),))
    (entry,) = read_sheet("name,host\na,new\n", where="n.csv")
    (change,) = compare([entry], {"a": known})
    assert (change.kind, change.differs) == ("changed", {"host": ("old", "new")})
    assert merged(change, known) == NodeAddress(
        name="a", host="new", port=2222, user="plant", site="graz", node_id="n1", labels=(("x", "y"),)
    )
    (entry,) = read_sheet("name,host,port\na,old,22\n", where="n.csv")
    assert compare([entry], {"a": known})[0].differs == {"port": ("2222", "22")}


def test_a_list_with_a_node_twice_is_refused() -> None:
    with pytest.raises(InventoryRefused, match="twice"):
        compare(read_sheet("name\na\na\n", where="n.csv"), {})


def test_names_in_ssh_config_are_plain_ones_and_included_ones_and_ssh_says_what_they_mean(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("Host press-02\n  HostName 10.0.0.2\n")
    config = tmp_path / "config"
    config.write_text(
        f"Include {tmp_path}/more/*.conf\nHost press-01 !bad *.plant\n  HostName 10.0.0.1\n  Port 2200\n"
        "  ProxyJump ops@gate\nHost *\n  User plant\n  StrictHostKeyChecking no\n"
    )
    assert list(names_in(config)) == ["press-02", "press-01"]
    entries = asyncio.run(read_ssh_config(config))
    found = by_name(entries)
    assert (found["press-01"].host, found["press-01"].port, found["press-01"].user) == ("10.0.0.1", 2200, "plant")
    assert found["press-01"].jumps == ("ops@gate:22",)
    assert any("StrictHostKeyChecking" in note for note in entries[0].notes)
    with pytest.raises(InventoryRefused, match="no Host press-09"):
        asyncio.run(read_ssh_config(config, ["press-09"]))


def test_an_error_of_any_list_names_its_line() -> None:
    for text, place in (
        ("[web]\nok\nbad/name\n", "hosts:3: bad/name"),
        ('[web]\nok\n\nx ansible_host="{{ ip }}"\n', "hosts:4: x: templates"),
        ("[web]\nx ansible_port=99999\n", "hosts:2: x: 99999 is not a port"),
        ("[web]\n[1:9000][1:9000]\n", "hosts:2: .* is more than 5000 hosts"),
        ("[web]\nweb[10:x1]\n", "hosts:2: .* is no range"),
        ('[web]\nx ansible_user="a\n', "hosts:2: No closing quotation"),
        ("all:\n  hosts:\n    ok:\n    bad/name:\n", "hosts:4: bad/name"),
        ("web:\n  hosts:\n    ok:\n  hostz:\n", "hosts:4: 'hostz'"),
    ):
        with pytest.raises(InventoryRefused, match=place.replace("[", "\\[")):
            read_ansible(text, where="hosts")
    for text, place in (
        ('name,host\na,1.2.3.4\nb,"x\n', "n.csv:3"),
        ("name,host\n\na,1.2.3.4\nb,-oProxyCommand=evil\n", "n.csv:4: b"),
        ("name;host;host\n", "n.csv:1: the column 'host' is there twice"),
        ("sep=;\nname;host\na;b;c\n", "n.csv:3: 3 cells and 2 columns"),
    ):
        with pytest.raises(InventoryRefused, match=place):
            read_sheet(text, where="n.csv")
    with pytest.raises(InventoryRefused, match=r"n\.csv:4: a is in the list twice, also in n\.csv:2"):
        compare(read_sheet("name\na\nb\na\n", where="n.csv"), {})


def test_ansible_lists_as_others_write_them() -> None:
    found = by_name(read_ansible("\ufeffweb[01:10].example:2222\n[db]\ndb-[a:c] ansible_host=10.0.0.1\n", where="h"))
    assert len(found) == 13
    assert (found["web07.example"].host, found["web07.example"].port) == ("web07.example", 2222)
    assert found["db-b"].labels == (("group", "db"),)
    yaml = by_name(read_ansible("presses:\n  hosts:\n    press-[1:2]:\n", where="h.yml"))
    assert sorted(yaml) == ["press-1", "press-2"]


def test_tables_as_spreadsheets_save_them() -> None:
    for data in (
        b"\xef\xbb\xbfname;site\r\npress-01;Gr\xc3\xa4z\r\n",
        b"sep=;\r\nname;site\r\npress-01;Gr\xc3\xa4z\r\n",
        "name\tsite\r\npress-01\tGräz\r\n\t\r\n".encode("utf-16"),
        'name,site\n"press-01","Gräz"\n'.encode(),
    ):
        (entry,) = read_sheet(as_text(data, where="n.csv"), where="n.csv")
        assert (entry.address.name, entry.address.site) == ("press-01", "Gräz")
    with pytest.raises(InventoryRefused, match=r"n\.csv:2: this is no UTF-8"):
        as_text("name,site\npress-01,Gräz\n".encode("cp1252"), where="n.csv")


def test_ssh_config_as_others_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".ssh" / "conf.d" / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / ".ssh" / "conf.d" / "deep" / "a.conf").write_bytes(b"# Gr\xe4z\nHost=press-02 # the second\n  Port 2202\n")
    (home / ".ssh" / "loop").write_text("Include loop\n")
    config = tmp_path / "config"
    config.write_text(
        'Include conf.d/*/*.conf conf.d\nMatch host press-01\n  User matched\nHost "press-01" press-03 *.plant\n'
        "  HostName 10.0.0.1\n  ProxyJump gate,ops@10.0.0.9:2222\nHost gate\n  HostName 10.0.0.8\n"
        "  ProxyJump outer\n"
    )
    names = names_in(config)
    assert list(names) == ["press-02", "press-01", "press-03", "gate"]
    assert names["press-01"] == f"{config}:4"
    found = by_name(asyncio.run(read_ssh_config(config, ["press-01"])))["press-01"]
    assert found.user == "matched"
    assert [jump.rpartition("@")[2] for jump in found.jumps] == ["outer:22", "10.0.0.8:22", "10.0.0.9:2222"]
    config.write_text('Host ok\nHost "open\n')
    with pytest.raises(InventoryRefused, match="config:2: No closing quotation"):
        names_in(config)
    config.write_text("Host ok\nHost bad/name\n")
    with pytest.raises(InventoryRefused, match="config:2: 'bad/name' is not a node's name"):
        asyncio.run(read_ssh_config(config))
    config.write_text("Include loop\n")
    with pytest.raises(InventoryRefused, match="files deep"):
        names_in(config)
