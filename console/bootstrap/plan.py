"""Whether and how an agent goes onto a node: a pure function of what was found, the kit and the operator's wish."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from console import figures
from console.bootstrap.facts import FoundPython, NodeFacts
from console.kit.manifest import Manifest, Runtime, Target, python_key

Start = Literal["systemd", "systemd-user", "cron", "rc.local", "by-hand"]
STARTS: tuple[Start, ...] = ("systemd", "systemd-user", "cron", "rc.local", "by-hand")
PREFIX_ROOT, STATE_ROOT, RUN_ROOT = "/opt/outstation", "/var/lib/outstation", "/run/outstation"
PREFIX_USER, STATE_USER = "~/.outstation", "~/.outstation/state"
PYTHON_MIN = (3, 11)
# Compiled files beside the wheels' own, the ballast, node.db and room to work.
COMPILED_SHARE = 0.35
STATE_BYTES_MIN = 64 << 20
INODES_MIN = 8_000
SOCKET_BYTES_MAX = 107
# What the system's unit hides from the agent (ProtectHome, PrivateTmp): nothing that it needs may lie there.
UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
LONGEST_SOCKET = "/run/m-" + 32 * "x" + ".sock"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asked for. Empty: what is usual on that node."""

    prefix: str = ""
    state: str = ""
    start: Start | None = None
    python: str = ""


@dataclass(frozen=True, slots=True)
class No:
    """One reason why it cannot be done, and what to do about it."""

    code: str
    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done. It is done only if `refusals` is empty."""

    prefix: str
    state: str
    run: str
    version: str
    start: Start
    target: Target | None
    python: str
    runtime: Runtime | None
    bytes_to_copy: int
    bytes_needed: int
    refusals: tuple[No, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def agent(self) -> str:
        """The command that starts the installed agent on the node."""
        return f"{self.prefix}/current/outstation-agent"

    @property
    def socket(self) -> str:
        """Where the agent will listen."""
        return f"{self.run or self.state + '/run'}/agent.sock"


def usual_places(wish: Wish, *, is_root: bool) -> tuple[str, str]:
    """Prefix and state to look at."""
    prefix = wish.prefix or (PREFIX_ROOT if is_root else PREFIX_USER)
    state = wish.state or (f"{prefix}/state" if wish.prefix else STATE_ROOT if is_root else STATE_USER)
    return prefix, state


def make_plan(facts: NodeFacts, manifest: Manifest, digest: str, wish: Wish) -> Plan:
    """The plan for one node. `digest`: the kit's, in hexadecimal."""
    platform = f"linux-{facts.machine}"
    unfit = _system(facts, manifest, platform)
    start = wish.start or _start(facts)
    fenced = start == "systemd" and facts.systemd and facts.is_root
    seen = [python for python in facts.pythons if not fenced or not is_unseen(python.path)]
    python, target, runtime, more = _python(facts, seen, manifest, platform, wish)
    # A machine that no kit is for needs no other Python.
    nos = [*(unfit or more), *_places(facts), *(_hidden(facts) if fenced else ())]
    if target is not None and facts.glibc is not None and facts.glibc < target.glibc:
        nos.append(_old_glibc(facts.glibc, target))
    wheels = manifest.wheels_for(target) if target else []
    copied = sum(wheel.size for wheel in wheels) + (runtime.size if runtime else 0)
    unpacked = sum(int(w.unpacked * (1 + COMPILED_SHARE)) for w in wheels) + (runtime.unpacked if runtime else 0)
    version = f"{manifest.version}-{digest[:12]}" + (f"-py{target.python}" if target else "")
    nos += [*_room(facts, copied + unpacked), *_starting(facts, start)]
    return Plan(
        prefix=facts.prefix.path,
        state=facts.state.path,
        run=RUN_ROOT if start == "systemd" else "",
        version=version,
        start=start,
        target=target,
        python=python,
        runtime=runtime,
        bytes_to_copy=copied,
        bytes_needed=copied + unpacked + STATE_BYTES_MIN,
        refusals=tuple(nos),
        notes=tuple(_notes(facts, start, version)),
    )


def _system(facts: NodeFacts, manifest: Manifest, platform: str) -> list[No]:
    if facts.kernel != "Linux":
        return [No("KERNEL", f"it runs {facts.kernel or 'an unknown kernel'}", "an agent needs Linux")]
    if facts.musl or (facts.glibc is None and not facts.bits):
        fix = "use a distribution with glibc, such as Debian: the model runtime is not made for musl"
        return [No("MUSL", "its C library is musl", fix)]
    if platform not in {target.platform for target in manifest.targets}:
        made = ", ".join(sorted({target.platform for target in manifest.targets}))
        fix = f"outstation kit build --platform {platform}" if facts.machine in ("x86_64", "aarch64") else _NO_MACHINE
        return [No("MACHINE", f"it is a {facts.machine}, and the kit is for {made}", fix)]
    if facts.bits == 32:
        return [No("BITS", f"its programs are 32-bit on a {facts.machine} kernel", "install a 64-bit system")]
    return []


_NO_MACHINE = "the model runtime is made for 64-bit x86 and ARM alone"


def _places(facts: NodeFacts) -> list[No]:
    found = []
    for what, place in (("programs", facts.prefix), ("state", facts.state)):
        option = "--prefix" if what == "programs" else "--state"
        if "ro" in place.options and what == "state" and place.mount == facts.prefix.mount:
            continue
        if "ro" in place.options:
            fix = f"mount {place.mount} writable, or name another folder with {option}"
            found.append(No("READ_ONLY", f"{place.path} ({what}): {place.mount} is mounted read-only", fix))
        elif not place.writable:
            fix = f"log in as another account, or name a folder of {facts.user}'s with {option}"
            found.append(No("NOT_WRITABLE", f"{facts.user} may not write to {place.near} ({what})", fix))
    if "noexec" in facts.prefix.options:
        fix = f"name a folder elsewhere with --prefix, or as root: mount -o remount,exec {facts.prefix.mount}"
        found.append(No("NOEXEC", f"{facts.prefix.mount} is mounted noexec: no compiled code loads from there", fix))
    if len((facts.state.path + LONGEST_SOCKET).encode()) > SOCKET_BYTES_MAX:
        fix = "name a shorter folder with --state: a socket's path has at most 107 bytes"
        found.append(No("LONG_PATH", f"{facts.state.path} is too long for the sockets in it", fix))
    return found


def is_unseen(path: str) -> bool:
    """Whether the system's unit hides a path from the agent."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in UNSEEN)


def _hidden(facts: NodeFacts) -> list[No]:
    found = []
    for what, place, option in (("programs", facts.prefix, "--prefix"), ("state", facts.state, "--state")):
        if is_unseen(place.path):
            fix = f"name a folder elsewhere with {option}, or start it another way with --start"
            found.append(No("HIDDEN", f"the system's unit hides {place.path} ({what}) from the agent", fix))
    return found


def _room(facts: NodeFacts, bytes_programs: int) -> list[No]:
    needs = [(facts.prefix, bytes_programs), (facts.state, STATE_BYTES_MIN)]
    if facts.prefix.mount == facts.state.mount:
        needs = [(facts.prefix, bytes_programs + STATE_BYTES_MIN)]
    found = []
    for place, needed in needs:
        if place.bytes_free is not None and place.bytes_free < needed:
            has = f"{place.mount} has {figures.size(place.bytes_free)} free and {figures.size(needed)} are needed"
            found.append(No("DISK_FULL", has, f"free some room below {place.mount}, or name another folder"))
        if place.inodes_free is not None and place.inodes_free < INODES_MIN and place.inodes_free > 0:
            few = f"{place.mount} has {place.inodes_free} inodes free and {INODES_MIN} are needed"
            found.append(No("INODES", few, "remove many small files there, or name another folder"))
    return found


def _python(
    facts: NodeFacts, seen: list[FoundPython], manifest: Manifest, platform: str, wish: Wish
) -> tuple[str, Target | None, Runtime | None, list[No]]:
    """The interpreter: the newest one there that the kit fits, else the one that the kit carries."""
    able = [python for python in seen if _is_able(python) and python.path.startswith(wish.python)]
    fitting = [(python_key(p.version), p) for p in able if manifest.target(platform, p.version)]
    if fitting:
        _, python = max(fitting, key=lambda pair: pair[0])
        return python.path, manifest.target(platform, python.version), None, []
    runtime = manifest.runtime(platform)
    if runtime is not None and not wish.python:
        no = [] if facts.tar else [No("NO_TAR", "it has no tar to unpack the kit's Python", "install tar")]
        return "", manifest.target(platform, runtime.python), runtime, no
    return "", None, None, [_no_python(facts, seen, able, manifest, platform)]


def _is_able(python: FoundPython) -> bool:
    old = python_key(python.version) < PYTHON_MIN
    return python.implementation == "cpython" and not python.free_threaded and not python.lacking and not old


def _no_python(
    facts: NodeFacts, seen: list[FoundPython], able: list[FoundPython], manifest: Manifest, platform: str
) -> No:
    carried = "or build the kit with a Python in it: --runtime PLATFORM=TAR"
    if able:
        has = ", ".join(python.version for python in able)
        made = ", ".join(target.python for target in manifest.targets if target.platform == platform)
        fix = f"outstation kit build --platform {platform} --python {able[0].version}"
        return No("PYTHON_NOT_IN_KIT", f"it has Python {has}, and the kit is for {made or 'other machines'}", fix)
    unseen = [python.path for python in facts.pythons if _is_able(python) and python not in seen]
    if unseen and not any(map(_is_able, seen)):
        fix = f"install python3 for the whole machine there, start it another way with --start, {carried}"
        return No("HIDDEN", f"the system's unit hides its only fitting Python, {unseen[0]}, from the agent", fix)
    if not facts.pythons:
        return No("NO_PYTHON", "it has no Python", f"install python3 (3.11 or newer) there, {carried}")
    lacking = [python for python in facts.pythons if python.lacking and python_key(python.version) >= PYTHON_MIN]
    if lacking:
        missing = f"its Python {lacking[0].version} lacks {', '.join(lacking[0].lacking)}"
        return No("PYTHON_INCOMPLETE", missing, f"install the whole of python3 there, {carried}")
    has = ", ".join(sorted({f"{p.implementation} {p.version}" for p in facts.pythons}))
    return No("PYTHON_TOO_OLD", f"it has {has}, and the agent needs CPython 3.11", f"install a newer one, {carried}")


def _old_glibc(found: tuple[int, int], target: Target) -> No:
    has, needs = (".".join(map(str, version)) for version in (found, target.glibc))
    fix = f"install a system with glibc {needs} or newer (Debian 10, Ubuntu 20.04, RHEL 8)"
    return No("OLD_GLIBC", f"its glibc is {has}, and the kit's packages need {needs}", fix)


def _start(facts: NodeFacts) -> Start:
    if facts.systemd and facts.is_root:
        return "systemd"
    if facts.systemd_user:
        return "systemd-user"
    if facts.crontab:
        return "cron"
    return "rc.local" if facts.is_root and facts.rc_local else "by-hand"


def _starting(facts: NodeFacts, start: Start) -> list[No]:
    possible = {
        "systemd": facts.systemd and facts.is_root,
        "systemd-user": facts.systemd_user,
        "cron": facts.crontab,
        "rc.local": facts.is_root,
        "by-hand": True,
    }
    if possible[start]:
        return []
    others = ", ".join(name for name, able in possible.items() if able)
    return [No("START", f"the node cannot start it by {start} for {facts.user}", f"--start is one of {others}")]


def _notes(facts: NodeFacts, start: Start, version: str) -> list[str]:
    notes = []
    if start == "systemd-user" and not facts.lingers:
        notes.append(f"{facts.user} does not linger: its services start at boot once it does, which is tried")
    if start == "by-hand":
        notes.append("nothing there starts it at boot: no systemd for this account, no cron, no rc.local")
    if facts.is_root and start != "systemd":
        notes.append("it runs as root; log in as an ordinary account to run it as that")
    if facts.is_node:
        notes.append(f"{facts.state.path} is a node already: its id, bindings and records stay")
    if facts.current == version:
        notes.append("this version is installed there already")
    elif facts.current:
        notes.append(f"version {facts.current} is installed there; it stays beside the new one")
    return notes
