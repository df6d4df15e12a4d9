"""Life without internet: a kit's size, an agent onto a fresh node, a lost console's fleet back, checks of many nodes.

The fresh node is this machine behind a real sshd, with a home folder of its own; kit and wheels are at hand, as they
are at a plant. The fifty nodes are simulated (bench/_fleet_nodes.py): real SSH and HTTP, each with a ledger of a
thousand entries, no model; they share this machine's cores with the console.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench._sshd import Sshd, sshd
from bench.row import Row, Sample, alternate
from console.__main__ import main as outstation
from console.demo.sshd import make_key
from console.fleet.view import NodeAddress
from console.home import Home, row_of
from console.kit.build import Order, build
from console.kit.file import KIT_NAMESPACE, sign_kit
from store.signing import sign_with_key_file

NODES = 50
KIT_MB, BOOTSTRAP_S, REBUILD_S, CHECK_S = 90.0, 40.0, 30.0, 5.0
PASSES = 3
# A crontab(1) whose table is one file: the machine's own is left alone.
CRONTAB = (
    '#!/bin/sh\ncase $1 in\n-l) cat "$HOME/.table" 2>/dev/null || { echo "no crontab" >&2; exit 1; } ;;\n'
    '-r) rm -f "$HOME/.table" ;;\n-) cat > "$HOME/.table" ;;\nesac\n'
)


def run() -> list[Row]:
    """About two minutes."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        kit = _kit(folder)
        (took,) = alternate([lambda: _bootstrapped(folder, kit)], passes=PASSES)
        rows = [
            _row("kit of one platform, all extras", Sample((kit.stat().st_size / 1e6,)), "MB", KIT_MB),
            _row("bootstrap of a fresh node on loopback", took, "s", BOOTSTRAP_S, "look, copy, unpack, start, prove"),
        ]
        with _plant(folder) as addresses:
            rebuilt, checked = alternate(
                [lambda: _rebuilt(folder, addresses), lambda: _checked(folder, addresses)], passes=PASSES
            )
        note = "simulated; site file, ledgers of 1,000 entries verified, status"
        rows.append(_row(f"a lost console has {NODES} nodes back", rebuilt, "s", REBUILD_S, note))
        rows.append(_row(f"check of {NODES} nodes", checked, "s", CHECK_S, "simulated, each by a login of its own"))
        return rows


def _row(name: str, sample: Sample, unit: str, goal: float, note: str = "") -> Row:
    return Row(name, sample.median, unit, "goal", goal, 1.0, note, less=True, headline=True).of(sample)


def _said(home: Path, *words: str) -> str:
    """What a command of the console printed. Raises RuntimeError where it fails."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = outstation(["--home", str(home), "--operator", "bench", *words])
    out.seek(0)
    err.seek(0)
    if code != 0:
        raise RuntimeError(f"outstation {' '.join(words[:2])} ended with {code}: {err.read()}{out.read()}"[-800:])
    return out.read()


def _kit(folder: Path) -> Path:
    public = " ".join(make_key(folder / "kits", "bench").split()[:2])
    (folder / "kit_signers").write_text(f'bench namespaces="{KIT_NAMESPACE}" {public}\n')
    unsigned, path = folder / "unsigned.ostk", folder / "agent.ostk"
    order = Order((f"linux-{platform.machine()}",), (f"3.{sys.version_info.minor}",))
    build(order, unsigned, lambda text: None)
    sign_kit(unsigned, path, lambda data: sign_with_key_file(folder / "kits", data, namespace=KIT_NAMESPACE))
    return path


def _bootstrapped(folder: Path, kit: Path) -> float:
    """Seconds of `node bootstrap`, from its start until the agent answered over the link; then it is taken off."""
    with tempfile.TemporaryDirectory(prefix="on") as name:
        box = Path(name)
        (box / "bin").mkdir()
        (box / "bin" / "crontab").write_text(CRONTAB)
        (box / "bin" / "crontab").chmod(0o755)
        places = f"SetEnv SHLVL=1 HOME={box} PATH={box}/bin:/usr/bin:/bin"
        with sshd(box / "sshd", places) as server:
            try:
                return _onto(server, folder, box, kit)
            finally:
                _end(box)


def _onto(server: Sshd, folder: Path, box: Path, kit: Path) -> float:
    home = box / "console"
    where = f"{server.user}@127.0.0.1:{server.port}"
    _said(home, "node", "add", "press", where, "-i", str(server.identity), "--unseen", "--ssh-config", "/dev/null")
    (home / "known_hosts").write_text(server.known_hosts.read_text())
    words = [
        "--kit",
        str(kit),
        "--signers",
        str(folder / "kit_signers"),
        "--prefix",
        str(box / "os"),
        "--start",
        "cron",
    ]
    began_s = time.monotonic()
    _said(home, "node", "bootstrap", "press", *words, "--yes")
    return time.monotonic() - began_s


def _end(box: Path) -> None:
    """Ends what runs from the folder, the keeper first."""
    found = []
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if each.name.isdigit() and f"{box}/os".encode() in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    for pid in sorted(found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _plant(folder: Path) -> Iterator[list[NodeAddress]]:
    make_key(folder / "id", "bench")
    host = " ".join(make_key(folder / "host", "bench").split()[:2])
    command = [sys.executable, "-m", "bench._fleet_nodes", str(folder), "0", str(NODES)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        nodes = [line.split() for line in iter(process.stdout.readline, "ready\n")]
        (folder / "known_hosts").write_text("".join(f"[127.0.0.1]:{port} {host}\n" for _, port, _ in nodes))
        yield [
            NodeAddress(name=name, host="127.0.0.1", port=int(port), user="plant", socket=path, node_id=f"id-{name}")
            for name, port, path in nodes
        ]
    finally:
        process.kill()
        process.wait()


def _console(folder: Path, addresses: list[NodeAddress]) -> Path:
    """A console that knows the nodes."""
    home = Home(Path(tempfile.mkdtemp(dir=folder)))
    with home.open_catalog() as catalog:
        for address in addresses:
            catalog.put_node(row_of(address))
    home.known_hosts.write_text((folder / "known_hosts").read_text())
    return home.path


def _keyed(home: Path, folder: Path) -> None:
    """Each laptop has a key of its own; here it is one."""
    with Home(home).open_catalog() as catalog:
        for row in catalog.nodes():
            catalog.put_node(
                type(row)(**{n: getattr(row, n) for n in row.__slots__} | {"identity_files": (str(folder / "id"),)})
            )


def _rebuilt(folder: Path, addresses: list[NodeAddress]) -> float:
    """Seconds from a new console with nothing but the site file until every ledger is verified and every node known."""
    site = folder / "site.json"
    _said(_console(folder, addresses), "site", "export", "-o", str(site))
    home = Path(tempfile.mkdtemp(dir=folder))
    began_s = time.monotonic()
    _said(home, "site", "import", str(site), "--yes")
    _keyed(home, folder)
    _said(home, "ledger", "verify")
    _said(home, "status")
    return time.monotonic() - began_s


def _checked(folder: Path, addresses: list[NodeAddress]) -> float:
    """Seconds of `outstation check` of all of them, logins included."""
    home = _console(folder, addresses)
    _keyed(home, folder)
    began_s = time.monotonic()
    _said(home, "check")
    return time.monotonic() - began_s
