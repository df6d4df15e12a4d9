"""ssh_config as OpenSSH itself reads it, for what the operator names when adding a node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from console.link.endpoint import Endpoint, parse_endpoint
from console.link.resolve import ResolveError, arguments_for, resolve

CONFIG = """
Host press
  HostName 10.1.2.3
  Port 2222
  User plant
  ProxyJump gate
  IdentityFile {key}
  IdentityFile /nowhere/key
Host gate
  HostName 192.0.2.7
  User jumper
  ProxyJump outer:2200
Host outer
  HostName 198.51.100.1
  User root
Host radio
  HostName 10.9.9.9
  ProxyCommand nc -X 5 %h %p
Host lax
  HostName 10.8.8.8
  StrictHostKeyChecking no
  RevokedHostKeys /etc/ssh/revoked
  UserKnownHostsFile none
Host loop
  ProxyJump loop2
Host loop2
  ProxyJump loop
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("x")
    path = tmp_path / "config"
    path.write_text(CONFIG.format(key=tmp_path / "key"))
    return path


def test_an_alias_gives_address_user_port_and_existing_keys(config: Path) -> None:
    found = asyncio.run(resolve("press", config=config))
    assert found.endpoint == Endpoint("10.1.2.3", 2222, "plant")
    assert found.identity_files == (str(config.parent / "key"),)


def test_jumps_come_outermost_first_and_follow_the_first_ones_own_jump(config: Path) -> None:
    found = asyncio.run(resolve("press", config=config))
    assert found.jumps == ("root@198.51.100.1:2200", "jumper@192.0.2.7:22")


def test_what_the_operator_writes_wins_over_the_file(config: Path) -> None:
    found = asyncio.run(resolve("eve@press:99", config=config))
    assert found.endpoint == Endpoint("10.1.2.3", 99, "eve")


def test_a_proxy_command_is_told_and_never_run(config: Path) -> None:
    found = asyncio.run(resolve("radio", config=config))
    assert found.proxy_command == "nc -X 5 %h %p"


def test_security_options_that_are_not_honoured_are_said(config: Path) -> None:
    notes = " ".join(asyncio.run(resolve("lax", config=config)).notes)
    assert "RevokedHostKeys" in notes
    assert "StrictHostKeyChecking is always on" in notes


def test_a_plain_host_has_no_notes_no_jumps_and_no_keys_of_its_own(config: Path) -> None:
    found = asyncio.run(resolve("10.0.0.1", config=config))
    assert (found.jumps, found.identity_files, found.proxy_command, found.notes) == ((), (), "", ())


def test_jumps_that_go_in_a_circle_end(config: Path) -> None:
    with pytest.raises(ResolveError, match="jump hosts"):
        asyncio.run(resolve("loop", config=config))


def test_a_broken_ssh_config_is_told_in_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Port many\n")
    with pytest.raises(ResolveError, match="line 1"):
        asyncio.run(resolve("press", config=path))


def test_without_ssh_the_name_is_taken_as_it_is_and_that_is_said() -> None:
    found = asyncio.run(resolve("plant@press:2222", program="no-such-ssh"))
    assert found.endpoint == Endpoint("press", 2222, "plant")
    assert "was not read" in found.notes[0]


@pytest.mark.parametrize("name", ["-oProxyCommand=reboot", "a b", "user@-host", "h$(x)", "host:99999", "", "[::1"])
def test_a_name_that_could_be_an_option_or_a_command_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        arguments_for(name)


def test_addresses_are_read_in_every_usual_form() -> None:
    assert parse_endpoint("ssh://a@[fe80::1]:2200") == Endpoint("fe80::1", 2200, "a")
    assert parse_endpoint("a@10.0.0.1") == Endpoint("10.0.0.1", 22, "a")
    assert parse_endpoint("fe80::1", user="b") == Endpoint("fe80::1", 22, "b")
    assert parse_endpoint("h:2", user="b").known_name == "[h]:2"
