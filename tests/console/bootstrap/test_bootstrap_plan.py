"""Which nodes are taken and which get a clear no with its fix: the probe's own lines, changed one at a time."""

from __future__ import annotations

import subprocess
from importlib.resources import files

import pytest

from console.bootstrap.facts import NodeFacts, ProbeFailed, read_facts
from console.bootstrap.plan import Plan, Wish, make_plan
from console.kit.manifest import Manifest, Part, Runtime, Target, Wheel

HASHES = [f"{number:064x}" for number in range(9)]
PLAIN = {
    "kernel": "Linux",
    "machine": "x86_64",
    "bits": "64",
    "uid": "1000",
    "user": "plant",
    "home": "/home/plant",
    "glibc": "glibc 2.36",
    "prefix": "/home/plant/.outstation",
    "state": "/home/plant/.outstation/state",
    "prefix.near": "/home/plant",
    "prefix.writable": "yes",
    "prefix.disk": "/dev/sda1 10000000 1000000 8000000 12% /home",
    "prefix.inodes": "/dev/sda1 655360 1000 654360 1% /home",
    "state.near": "/home/plant",
    "state.writable": "yes",
    "state.disk": "/dev/sda1 10000000 1000000 8000000 12% /home",
    "state.inodes": "/dev/sda1 655360 1000 654360 1% /home",
    "mount": "/home ext4 rw,relatime",
    "init": "systemd",
    "python": "/usr/bin/python3.11 3.11 64 cpython 0 -",
    "crontab": "/usr/bin/crontab",
    "end": "yes",
}


def manifest(*, runtimes: list[Runtime] | None = None, pythons: tuple[str, ...] = ("3.11", "3.13")) -> Manifest:
    wheel = Wheel(file="a.whl", sha256=HASHES[1], size=60_000_000, name="a", version="1", unpacked=180_000_000)
    targets = [Target(platform="linux-x86_64", python=p, glibc=(2, 28), wheels=[HASHES[1]]) for p in pythons]
    return Manifest(
        version="0.1.0",
        lock=HASHES[0],
        extras=[],
        targets=targets,
        wheels=[wheel],
        runtimes=runtimes or [],
        materials=Part(file="bom", sha256=HASHES[2], size=1),
        executables=Part(file="exe", sha256=HASHES[3], size=1),
    )


def facts(**changed: str | None) -> NodeFacts:
    lines = PLAIN | {key.replace("__", "."): value for key, value in changed.items()}
    text = "".join(f"{key}\t{line}\n" for key, value in lines.items() if value for line in value.split("|"))
    return read_facts(text)


def plan(wish: Wish | None = None, kit: Manifest | None = None, **changed: str | None) -> Plan:
    return make_plan(facts(**changed), kit or manifest(), "d" * 64, wish or Wish())


def test_a_usual_node_gets_a_plan_that_says_where_everything_will_be() -> None:
    made = plan()
    assert made.refusals == ()
    assert made.version == "0.1.0-dddddddddddd-py3.11"
    assert made.agent == "/home/plant/.outstation/current/outstation-agent"
    assert made.socket == "/home/plant/.outstation/state/run/agent.sock"
    assert (made.start, made.python, made.bytes_to_copy) == ("cron", "/usr/bin/python3.11", 60_000_000)


@pytest.mark.parametrize(
    ("changed", "code", "fix"),
    [
        ({"python": None}, "NO_PYTHON", "install python3"),
        ({"python": "/usr/bin/python3 3.9 64 cpython 0 -"}, "PYTHON_TOO_OLD", "install a newer one"),
        ({"python": "/usr/bin/python3 ? 0 ? 0 -"}, "PYTHON_TOO_OLD", "install a newer one"),
        ({"python": "/usr/bin/python3 3.12 64 cpython 0 -"}, "PYTHON_NOT_IN_KIT", "--python 3.12"),
        ({"python": "/usr/bin/python3 3.11 64 cpython 0 sqlite3"}, "PYTHON_INCOMPLETE", "whole of python3"),
        ({"python": "/usr/bin/python3 3.13 64 cpython 1 -"}, "PYTHON_TOO_OLD", "CPython"),
        ({"glibc": "glibc 2.17"}, "OLD_GLIBC", "Debian 10"),
        ({"glibc": None, "musl": "/lib/ld-musl-x86_64.so.1"}, "MUSL", "Debian"),
        ({"machine": "armv7l"}, "MACHINE", "64-bit"),
        ({"machine": "aarch64"}, "MACHINE", "--platform linux-aarch64"),
        ({"bits": "32"}, "BITS", "64-bit"),
        ({"kernel": "FreeBSD"}, "KERNEL", "Linux"),
        ({"prefix__disk": "/dev/sda1 10000000 9990000 10000 99% /home"}, "DISK_FULL", "free some room"),
        ({"prefix__inodes": "/dev/sda1 1000 900 100 90% /home"}, "INODES", "many small files"),
        ({"mount": "/home ext4 rw,noexec"}, "NOEXEC", "remount,exec"),
        ({"mount": "/home ext4 ro"}, "READ_ONLY", "writable"),
        ({"state__writable": None}, "NOT_WRITABLE", "--state"),
        ({"state": "/home/plant/" + 60 * "x"}, "LONG_PATH", "shorter"),
    ],
)
def test_a_node_that_cannot_take_it_gets_the_reason_and_the_fix(
    changed: dict[str, str | None], code: str, fix: str
) -> None:
    (no, *rest) = plan(**changed).refusals
    assert rest == []
    assert no.code == code
    assert fix in f"{no.reason} {no.fix}"


ROOTS = {"uid": "0", "user": "root", "systemd": "systemd 252", "prefix": "/opt/outstation", "state": "/var/lib/node"}


def test_root_gets_a_system_unit_with_a_python_that_the_unit_lets_it_see() -> None:
    homes = "/root/.pyenv/bin/python3.13 3.13 64 cpython 0 -"
    made = plan(**ROOTS, python=f"{homes}|{PLAIN['python']}")
    assert (made.refusals, made.start, made.python) == ((), "systemd", "/usr/bin/python3.11")
    assert plan(Wish(start="cron"), **ROOTS, python=f"{homes}|{PLAIN['python']}").python.startswith("/root/")


@pytest.mark.parametrize(
    ("changed", "fix"),
    [
        ({"python": "/root/.pyenv/bin/python3.13 3.13 64 cpython 0 -"}, "for the whole machine"),
        ({"prefix": "/home/outstation"}, "--prefix"),
        ({"state": "/var/tmp/node"}, "--state"),
    ],
)
def test_nothing_that_the_agent_needs_may_lie_where_its_unit_does_not_let_it_look(
    changed: dict[str, str], fix: str
) -> None:
    (no,) = plan(**(ROOTS | changed)).refusals
    assert no.code == "HIDDEN"
    assert fix in no.fix


def test_several_reasons_are_all_said_at_once() -> None:
    codes = {no.code for no in plan(python=None, glibc="glibc 2.17", mount="/home ext4 rw,noexec").refusals}
    assert codes == {"NO_PYTHON", "NOEXEC"}


def test_the_newest_python_that_the_kit_fits_is_taken() -> None:
    several = "|".join(f"/usr/bin/python3.{n} 3.{n} 64 cpython 0 -" for n in (14, 13, 11, 9))
    assert plan(python=several).python == "/usr/bin/python3.13"
    assert plan(Wish(python="/usr/bin/python3.11"), python=several).python == "/usr/bin/python3.11"


def test_a_python_in_the_kit_is_used_where_the_node_has_none_and_needs_a_tar() -> None:
    runtime = Runtime(
        file="p.tar.gz",
        sha256=HASHES[4],
        size=30_000_000,
        platform="linux-x86_64",
        python="3.13",
        program="python/bin/python3.13",
        unpacked=90_000_000,
    )
    made = plan(kit=manifest(runtimes=[runtime]), python=None, tar="yes")
    assert made.refusals == ()
    assert (made.runtime, made.bytes_to_copy) == (runtime, 90_000_000)
    assert [no.code for no in plan(kit=manifest(runtimes=[runtime]), python=None).refusals] == ["NO_TAR"]


@pytest.mark.parametrize(
    ("changed", "start"),
    [
        ({"systemd": "systemd 252", "uid": "0"}, "systemd"),
        ({"systemd": "systemd 252", "systemd.user": "/run/user/1000"}, "systemd-user"),
        ({"systemd": "systemd 252"}, "cron"),
        ({"crontab": None, "uid": "0", "rc.local": "yes"}, "rc.local"),
        ({"crontab": None}, "by-hand"),
    ],
)
def test_what_starts_it_at_boot_is_what_is_there(changed: dict[str, str | None], start: str) -> None:
    assert plan(**{key.replace(".", "__"): value for key, value in changed.items()}).start == start


def test_a_start_that_the_node_cannot_do_is_refused_with_those_it_can() -> None:
    (no,) = plan(Wish(start="systemd")).refusals
    assert no.code == "START"
    assert "cron, by-hand" in no.fix


def test_the_systems_agent_listens_where_consoles_look_by_themselves() -> None:
    assert plan(uid="0", systemd="systemd 252").socket == "/run/outstation/agent.sock"


def test_the_probe_runs_in_a_plain_shell_and_its_lines_are_understood() -> None:
    script = files("console.bootstrap").joinpath("probe.sh").read_text()
    for shell in ("sh", "bash"):
        ran = subprocess.run([shell, "-c", script, "sh", "~/x", "/tmp/y"], capture_output=True, text=True, check=True)
        found = read_facts(ran.stdout)
        assert (found.kernel, found.bits) == ("Linux", 64)
        assert found.prefix.path.endswith("/x")
        assert not found.prefix.path.startswith("~")
        assert found.prefix.bytes_free
        assert found.prefix.mount
        assert found.pythons


def test_an_answer_that_stops_half_way_is_no_answer() -> None:
    with pytest.raises(ProbeFailed):
        read_facts("kernel\tLinux\n")


def test_a_hostile_node_puts_nothing_on_the_terminal_and_names_no_interpreter_of_its_own_words() -> None:
    found = facts(user="a\x1b[2Jb", python="/bin/sh -c evil 3.11 64 cpython 0 -|/usr/bin/py;id 3.11 64 cpython 0 -")
    assert "\x1b" not in found.user
    assert found.pythons == ()
