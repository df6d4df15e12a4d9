"""Each check of the machine tells well from ill, by what is written below its root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nodeagent.checks import access, disk, machine
from nodeagent.checks import time as times
from nodeagent.checks.all import ON_THE_HOST, without_agent
from nodeagent.checks.finding import Finding, ask, ok
from nodeagent.checks.host import Host
from nodeagent.settings import Settings, parse

NOW_S = 1_790_000_000.0


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Host]:
    """`host({"etc/ssh/sshd_config": "..."}, toml="...")`: a machine with these files."""

    def make(files: dict[str, str] | None = None, *, toml: str = "", wall_s: float = NOW_S, watched: str = "") -> Host:
        for name, text in (files or {}).items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "state").mkdir(exist_ok=True)
        settings = parse(toml) if toml else Settings()
        return Host(tmp_path / "state", settings, wall_s, root=tmp_path / "root", watchdog_usec=watched)

    return make


def verdict(finding: Finding) -> str:
    assert bool(finding.advice) or finding.verdict in ("ok", "unknown"), finding
    return finding.verdict


def test_a_clock_of_1970_cannot_be_right(host: Callable[..., Host]) -> None:
    assert verdict(times.clock(host(wall_s=86_400.0))) == "warn"
    assert verdict(times.clock(host())) == "ok"


def test_a_zone_that_the_machine_does_not_know_is_told(host: Callable[..., Host]) -> None:
    assert verdict(times.time_zone(host())) == "ok"
    assert times.time_zone(host({"etc/timezone": "Europe/Vienna\n"})).text == "Europe/Vienna"
    zones = {"usr/share/zoneinfo/Europe/Vienna": "", "etc/timezone": "Europe/Wien\n"}
    assert verdict(times.time_zone(host(zones))) == "warn"


def test_a_disk_below_what_deployments_need_is_bad(host: Callable[..., Host]) -> None:
    assert verdict(disk.disk(host(toml="[disk]\nbytes_free_min = 1\n"))) == "ok"
    assert verdict(disk.disk(host(toml=f"[disk]\nbytes_free_min = {1 << 60}\n"))) == "bad"
    assert verdict(disk.inodes(host())) == "ok"


def test_durable_writes_are_timed_and_leave_nothing(host: Callable[..., Host]) -> None:
    looked = host()
    assert verdict(disk.writes(looked)) in ("ok", "warn", "bad")
    assert list(looked.state.iterdir()) == []


def test_a_ballast_that_was_given_up_is_told(host: Callable[..., Host]) -> None:
    looked = host()
    assert verdict(disk.ballast(looked)) == "warn"
    (looked.state / "ballast").write_bytes(b"\0" * 1_000_000)
    assert disk.ballast(looked) == ok("1 MB held back")
    assert verdict(disk.ballast(host(toml="[disk]\nballast_bytes = 0\n"))) == "warn"


@pytest.mark.parametrize(("word", "found"), [("0x0", "ok"), ("0x50000", "warn"), ("0x5", "bad")])
def test_a_board_that_was_slowed_down_is_told(host: Callable[..., Host], word: str, found: str) -> None:
    assert verdict(machine.throttling(host({machine._PI: word}))) == found


def test_a_processor_that_counts_its_throttling_is_read(host: Callable[..., Host]) -> None:
    assert verdict(machine.throttling(host())) == "unknown"
    file = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    assert verdict(machine.throttling(host({file: "0"}))) == "ok"
    assert verdict(machine.throttling(host({file: "7"}))) == "warn"


def test_what_the_kernel_ended_is_counted(host: Callable[..., Host]) -> None:
    assert verdict(machine.kernel_kills(host({"proc/vmstat": "nr_free 1\noom_kill 0\n"}))) == "ok"
    assert machine.kernel_kills(host({"proc/vmstat": "oom_kill 3\n"})).text == "3 since the boot"


def test_an_agent_that_nobody_watches_is_told(host: Callable[..., Host]) -> None:
    assert verdict(machine.watchdog(host())) == "warn"
    watched = machine.watchdog(host({"sys/class/watchdog/watchdog0/state": "active"}, watched="30000000"))
    assert watched == ok("systemd watches the agent every 30 s; the machine's is active")


def test_sshd_takes_the_first_value_and_what_it_includes(host: Callable[..., Host]) -> None:
    files = {
        "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\nUseDNS=no\n"
        "Match User old\nUseDNS yes\n",
        "etc/ssh/sshd_config.d/10.conf": "passwordauthentication no # keys only\nAllowTcpForwarding no\n",
    }
    assert access.sshd(host(files)) == ok("forwarding is off, so the slower bridge is used")
    slow = access.sshd(host({"etc/ssh/sshd_config": "UseDNS yes\nPasswordAuthentication no\n"}))
    assert verdict(slow) == "warn"
    assert "UseDNS no" in slow.advice
    assert verdict(access.sshd(host({"etc/ssh/sshd_config": "\n"}))) == "warn"


def test_an_sshd_config_that_includes_itself_is_no_trap(host: Callable[..., Host]) -> None:
    looked = host({"etc/ssh/sshd_config": "Include sshd_config\n"})
    assert ask([access.sshd], looked)[0].verdict == "unknown"


def test_a_socket_that_everybody_may_use_is_bad(host: Callable[..., Host]) -> None:
    looked = host()
    assert verdict(access.sockets(looked)) == "bad"
    path = looked.state / "run" / "agent.sock"
    path.parent.mkdir()
    path.touch(0o660)
    path.chmod(0o660)
    assert verdict(access.sockets(looked)) == "ok"
    path.chmod(0o666)
    assert verdict(access.sockets(looked)) == "bad"


def test_old_and_weak_host_keys_are_told(host: Callable[..., Host]) -> None:
    assert verdict(access.host_keys(host())) == "unknown"
    looked = host({"etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAA"})
    key = looked.root / "etc/ssh/ssh_host_ed25519_key.pub"
    os.utime(key, (NOW_S - 86_400, NOW_S - 86_400))
    assert access.host_keys(looked) == ok("1 key(s), the oldest 1 days old")
    os.utime(key, (1e9, 1e9))
    assert verdict(access.host_keys(looked)) == "warn"
    assert verdict(access.host_keys(host({"etc/ssh/ssh_host_dsa_key.pub": "ssh-dss AAAA"}))) == "warn"


def test_signers_that_others_may_write_are_bad(host: Callable[..., Host]) -> None:
    looked = host()
    assert verdict(access.trust(looked)) == "warn"
    path = looked.state / "allowed_signers"
    path.write_text('release namespaces="outstation-bundle",valid-before="20301231" ssh-ed25519 AAAA\n')
    path.chmod(0o644)
    assert access.trust(looked).text.endswith("the first key ends 20301231")
    path.chmod(0o664)
    assert verdict(access.trust(looked)) == "bad"


def test_a_check_that_cannot_look_never_reads_as_well(host: Callable[..., Host]) -> None:
    looked = host({"proc/vmstat": "oom_kill 0\n"})
    (looked.root / "proc/vmstat").unlink()
    (row,) = ask([machine.kernel_kills], looked)
    assert (row.name, row.verdict) == ("kernel-kills", "unknown")


def test_without_an_agent_the_machine_is_looked_at_all_the_same(tmp_path: Path) -> None:
    found = without_agent(tmp_path, Settings(), "no agent answers")
    assert (found[0].name, found[0].verdict, found[0].text) == ("agent", "bad", "no agent answers")
    assert len(found) == len(ON_THE_HOST) + 1
