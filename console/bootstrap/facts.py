"""What the probe found on a node, as values. Text from a node is not believed further than it can be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from console.client.clean import clean

PROBE_BYTES_MAX = 256 << 10
_NUMBER = re.compile(r"\d{1,18}")
_WORD = re.compile(r"^/[A-Za-z0-9_@%+=:,./-]{1,250}$")


class ProbeFailed(Exception):
    """The node's shell did not answer as a POSIX shell does."""


@dataclass(frozen=True, slots=True)
class FoundPython:
    """One interpreter. `version` is `3.N`, or `?` where it did not start."""

    path: str
    version: str
    bits: int
    implementation: str
    free_threaded: bool
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something would go: the nearest folder that exists, and its file system. None: not known."""

    path: str
    near: str
    writable: bool
    bytes_free: int | None
    inodes_free: int | None
    mount: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node as it was looked at."""

    kernel: str
    machine: str
    bits: int | None
    uid: int
    user: str
    host: str
    clock_s: int | None
    glibc: tuple[int, int] | None
    musl: bool
    prefix: Place
    state: Place
    pythons: tuple[FoundPython, ...]
    init: str
    systemd: bool
    systemd_user: bool
    lingers: bool
    crontab: bool
    rc_local: bool
    tar: bool
    memory_bytes: int | None
    current: str
    is_node: bool

    @property
    def is_root(self) -> bool:
        return self.uid == 0


def read_facts(text: str) -> NodeFacts:
    """Parses the probe's lines. Raises ProbeFailed when it did not come to its end."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, tab, value = line.partition("\t")
        if tab:
            values.setdefault(key, []).append(clean(value, 500).strip())

    def one(key: str) -> str:
        return values.get(key, [""])[0]

    if not one("end"):
        raise ProbeFailed("the shell there did not run the probe to its end")
    mounts = [line.split(" ") for line in values.get("mount", []) if line.count(" ") == 2]
    return NodeFacts(
        kernel=one("kernel"),
        machine=one("machine"),
        bits=_number(one("bits")),
        uid=_number(one("uid")) or 0 if _number(one("uid")) is not None else -1,
        user=one("user"),
        host=one("host"),
        clock_s=_number(one("clock")),
        glibc=_glibc(one("glibc")),
        musl=bool(one("musl")) and not one("glibc"),
        prefix=_place("prefix", one, mounts),
        state=_place("state", one, mounts),
        pythons=tuple({p.path: p for line in values.get("python", []) if (p := _python(line))}.values()),
        init=one("init"),
        systemd=bool(one("systemd")),
        systemd_user=bool(one("systemd.user")),
        lingers=bool(one("linger")),
        crontab=bool(one("crontab")),
        rc_local=bool(one("rc.local")),
        tar=bool(one("tar")),
        memory_bytes=kilobytes * 1024 if (kilobytes := _number(one("memory"))) is not None else None,
        current=one("current").rpartition("/")[2],
        is_node=bool(one("node")),
    )


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _glibc(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"glibc (\d{1,3})\.(\d{1,3})[^ ]*", text)
    return (int(match[1]), int(match[2])) if match else None


def _place(name: str, one: Callable[[str], str], mounts: list[list[str]]) -> Place:
    near = one(f"{name}.near")
    mount = max((m for m in mounts if _below(near, m[0])), key=lambda m: len(m[0]), default=["", "", ""])
    return Place(
        path=one(name),
        near=near,
        writable=bool(one(f"{name}.writable")),
        bytes_free=None if (free := _column(one(f"{name}.disk"), 3)) is None else free * 1024,
        inodes_free=_column(one(f"{name}.inodes"), 3),
        mount=mount[0],
        options=tuple(mount[2].split(",")),
    )


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _column(line: str, index: int) -> int | None:
    """A column of `df -P`, whose first may hold spaces: counted from the end."""
    words = line.split()
    return _number(words[index - 6]) if len(words) >= 6 else None


def _python(line: str) -> FoundPython | None:
    words = line.split(" ")
    if len(words) != 6 or not _WORD.match(words[0]):
        return None
    return FoundPython(
        path=words[0],
        version=words[1],
        bits=_number(words[2]) or 0,
        implementation=words[3],
        free_threaded=words[4] == "1",
        lacking=() if words[5] == "-" else tuple(words[5].split(",")),
    )
