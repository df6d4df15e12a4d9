"""What breaks a node on purpose, in full: `python -m tests.faults [PROGRAMME...] [--only TEXT] [--report FILE]`.

The suite runs samples of it. Each programme prints what it tried and what did not hold; the exit status is 0 only where
all of it held. `--report` writes the figures into the table of a document.
"""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from tests.faults import (
    attacks,
    cuts,
    errors,
    kills,
    mounts,
    mutations,
    neighbours,
    node_power,
    power,
    race,
    real_agent,
    upgrades,
)
from tests.faults.attack_desk import Desks
from tests.faults.disk import MEMORY

SYSTEMD = Path(__file__).parents[1] / "real" / "long_bootstrap_systemd.py"
RACES, MUTATIONS, DOUBLES, MOUNT_POINTS = 1_000, 10_000, 80, 120
UPLOAD_BYTES, UPLOAD_CUTS = 200_000_000, 20
REAL_NODES = ("kills", "nodes", "cuts")
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


class Figures(NamedTuple):
    """What a programme tried, in words of its own, and what did not hold."""

    tried: int
    words: str
    wrong: list[str]


def _workshop(folder: Path) -> Any:
    (folder / "workshop").mkdir()
    return real_agent.Workshop(folder / "workshop")


def run_kills(folder: Path, only: str) -> Figures:
    """Every point, every victim."""
    cases = [case for case in kills.CASES if only in str(case)]
    wrong: list[str] = []
    workshop = _workshop(folder)
    with real_agent.agents(workshop) as make:
        story = kills.begin(make, workshop, folder)
        for number, case in enumerate(cases, 1):
            began_s = time.monotonic()
            try:
                found = kills.kill(story, case)
            except AssertionError as error:
                found = [f"{case}: {error}"]
            print(f"{number}/{len(cases)} {case} {time.monotonic() - began_s:.1f} s", *found, sep="\n  ", flush=True)
            wrong += found
    points = len({case[:2] for case in cases})
    return Figures(len(cases), f"{points} points, {len(kills.VICTIMS)} kinds of victim", wrong)


def run_power(folder: Path, _only: str) -> Figures:
    """Every write, sync, rename and unlink of a life."""
    run = power.live(folder, power.build(folder))
    disks, wrong = power.violations(run)
    return Figures(disks, f"disks after {len(run.events)} calls, each recovered twice", wrong)


def run_disks(folder: Path, _only: str) -> Figures:
    """Real file systems whose power goes."""
    try:
        tried, bugs, wrong = mounts.run(folder, power.build(folder), MOUNT_POINTS)
    except mounts.NotRun as error:
        return Figures(0, "", [f"NOT RUN: {error}"])
    kinds = " and ".join(mounts.KINDS)
    return Figures(tried, f"power cuts on {kinds}, each recovered twice; {bugs} bugs put in, each found", wrong)


def run_nodes(folder: Path, _only: str) -> Figures:
    """Real nodes on real file systems whose power goes."""
    tried, wrong, workshop = 0, list[str](), _workshop(folder)
    try:
        with real_agent.agents(workshop) as make:
            for kind in mounts.KINDS:
                (folder / kind).mkdir()
                count, found = node_power.run(make, workshop, folder / kind, kind)
                tried, wrong = tried + count, wrong + found
    except mounts.NotRun as error:
        return Figures(0, "", [f"NOT RUN: {error}"])
    return Figures(tried, f"power cuts under a running node on {' and '.join(mounts.KINDS)}", wrong)


def run_cuts(folder: Path, _only: str) -> Figures:
    """One large upload over a real sshd, cut again and again."""
    with cuts.a_lab() as lab, real_agent.agents(_workshop(folder)) as make:
        found = cuts.run(lab, make().start(), size=UPLOAD_BYTES, cuts=UPLOAD_CUTS)
    wrong = found.wrong() + ([] if found.cuts == UPLOAD_CUTS else [f"{found.cuts} cuts were made, not {UPLOAD_CUTS}"])
    size, most = f"{found.size / 1e6:.0f} MB", f"{cuts.RE_SENT_MAX:.0%}"
    words = f"cuts of one upload of {size} over sshd; {found.re_sent:.1%} of it sent again (goal: under {most})"
    return Figures(found.cuts, words, wrong)


def run_upgrades(folder: Path, _only: str) -> Figures:
    """Every write, sync and rename of the launcher's own record of upgrades, and the bugs put into that."""
    library = power.build(folder)
    run = upgrades.live(folder, library)
    disks, wrong = upgrades.violations(run)
    missed = [
        bug for bug in upgrades.BUGS if not upgrades.violations(upgrades.live(folder, library, bug), stop=True)[1]
    ]
    missed += [
        bug for bug, left in upgrades.UNSYNCED.items() if not upgrades.violations(run, ignore=left, stop=True)[1]
    ]
    bugs = len(upgrades.BUGS) + len(upgrades.UNSYNCED)
    words = f"disks after {len(run.events)} calls, each started from twice; {bugs} bugs put in, each found"
    return Figures(disks, words, [*wrong, *(f"{bug} was not found" for bug in missed)])


def run_double(folder: Path, _only: str) -> Figures:
    """Recoveries that are cut off themselves."""
    library = power.build(folder)
    pairs, wrong = power.double(power.live(folder, library), folder, library, DOUBLES)
    return Figures(pairs, f"pairs: at {DOUBLES} points of a life, and at every call of the recovery from it", wrong)


def run_planted(folder: Path, _only: str) -> Figures:
    """What is wrong here is a bug that was not found."""
    found = dict(power.planted(folder, power.build(folder)))
    for bug, wrong in found.items():
        print(f"{bug}: {wrong[0] if wrong else 'NOT FOUND'}", flush=True)
    return Figures(
        len(found), "bugs, each found", [f"{bug} was not found" for bug, wrong in found.items() if not wrong]
    )


def run_errors(folder: Path, _only: str) -> Figures:
    """Every call fails, once and for good."""
    tried, wrong = errors.run(folder)
    return Figures(tried, f"failing calls: {', '.join(errors.ERRORS)}; once, and from there on", wrong)


def run_race(_folder: Path, _only: str) -> Figures:
    """A thousand confirms at their deadlines."""
    outcomes, wrong = race.run(RACES)
    return Figures(
        RACES, f"races: {outcomes['COMMITTED']} confirmed, the others gone back; wall clock +-10 years", wrong
    )


def run_mutations(folder: Path, _only: str) -> Figures:
    """Ten thousand changed bundles."""
    workshop = _workshop(folder)
    result = mutations.run(workshop.bundle(1), workshop.signers.read_text(), folder, MUTATIONS)
    words = f"bundles: {result.taken} with the content that was signed taken, {result.refused.total()} refused; "
    words += f"{result.slowest_ms:.0f} ms the slowest, {result.grown_bytes / 1e6:.1f} MB of memory more"
    return Figures(result.tried, words, result.wrong)


def run_attacks(folder: Path, _only: str) -> Figures:
    """Each named attack and its twin."""
    tried, wrong = attacks.run(Desks(folder, _workshop(folder)))
    stricter = sum(attack.oracle for attack in attacks.SIGNATURES)
    words = f"attacks, each beside its accepted twin; {stricter} signatures that ssh-keygen would have taken"
    return Figures(tried, words, wrong)


def run_neighbours(_folder: Path, _only: str) -> Figures:
    """What the clients of a good model wait while a hostile one on the same node does its worst."""
    found, wrong = neighbours.run()
    words = "times harm was done; the neighbour's p99, quiet to beside it: " + ", ".join(map(str, found))
    return Figures(sum(one.done for one in found), words, wrong)


def run_systemd(folder: Path, only: str) -> Figures:
    """A machine with a systemd of its own: bootstrapped from a console, killed, frozen, rebooted, wiped."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", str(SYSTEMD), "-q", "--timeout", "0", f"--junitxml={report}", "-k", only]
    subprocess.run(command, check=False)
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [(case.get("name"), fault) for case in cases for fault in case if fault.tag in ("failure", "error")]
    wrong = [f"{name}: {fault.get('message', '')[:500]}" for name, fault in bad]
    return Figures(len(cases), "lives of a unit: root's, and an account's that may linger by itself or not", wrong)


PROGRAMMES: dict[str, tuple[str, Callable[[Path, str], Figures]]] = {
    "race": ("Confirm against deadline, within 50 ms", run_race),
    "attacks": ("Named attacks on what a node lets in", run_attacks),
    "mutations": ("Bundles with something changed in them", run_mutations),
    "power": ("Power cut and kill at every call that changes the disk", run_power),
    "disks": ("Power cut on a real file system, its journal replayed", run_disks),
    "nodes": ("Power cut of a whole node before and after each commit", run_nodes),
    "upgrades": ("Power cut and kill at every call of the agent's own upgrade", run_upgrades),
    "double": ("A second fault during the recovery from the first", run_double),
    "planted": ("Bugs put in on purpose", run_planted),
    "errors": ("A disk that refuses, at every call", run_errors),
    "cuts": ("An upload that is cut again and again", run_cuts),
    "neighbours": ("A hostile model beside a good one", run_neighbours),
    "systemd": ("A real systemd: kill, freeze, reboot, power cut, wipe", run_systemd),
    "kills": ("SIGKILL before and after each commit", run_kills),
}


def row(name: str, figures: Figures, took_s: float) -> str:
    """One line of the table."""
    cells = (f"{PROGRAMMES[name][0]} (`{name}`)", figures.tried, figures.words, len(figures.wrong), f"{took_s:.0f} s")
    return f"| {' | '.join(map(str, cells))} |"


def write_report(path: Path, rows: dict[str, str]) -> None:
    """Puts rows into the table between the marks of a document; those of programmes that did not run stay."""
    head, rest = path.read_text().split(BEGIN)
    table, tail = rest.split(END)
    before = {name: line for name in PROGRAMMES for line in table.splitlines() if f"(`{name}`)" in line}
    lines = [line for name in PROGRAMMES if (line := rows.get(name) or before.get(name))]
    day = datetime.now(UTC).date().isoformat()
    new = ["", f"Run of {day}, Linux {platform.release()}, Python {platform.python_version()}:", ""]
    new += ["| what | tried | of which | violations | took |", "| --- | ---: | --- | ---: | ---: |", *lines, ""]
    path.write_text(head + BEGIN + "\n".join(new) + END + tail)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("programme", nargs="*", default=[], help=f"{', '.join(PROGRAMMES)}; all of them without one")
    parser.add_argument("--only", default="", help="kills: cases whose name holds this text")
    parser.add_argument("--report", type=Path, help="a document with the marks of the table")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended too
    rows: dict[str, str] = {}
    failed = False
    for name in asked.programme or PROGRAMMES:
        began_s = time.monotonic()
        where = None if name in REAL_NODES else MEMORY
        with tempfile.TemporaryDirectory(prefix="faults-", dir=where) as folder:
            figures = PROGRAMMES[name][1](Path(folder), asked.only)
        rows[name] = row(name, figures, time.monotonic() - began_s)
        print(*figures.wrong[:50], rows[name], sep="\n", flush=True)
        failed |= bool(figures.wrong) or not figures.tried
    if asked.report and not failed:
        write_report(asked.report, rows)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
