"""200 MB to a node over one real sshd on loopback, beside scp, sftp and (where it is installed) rsync.

Ours goes through the console's link into the agent's API, in pieces; each byte is hashed on the node while it comes,
the blob is synced to the disk and counts only when its digest is right. The peers write a file and check nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench._sshd import Sshd, sshd
from bench.row import Row, alternate
from console.client.client import AgentClient
from console.delivery.upload import Meter, upload
from console.fleet.view import NodeAddress
from console.link.hostkeys import HostKeys
from console.link.node import OPERATE, NodeLink
from console.link.pool import BULK, Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody

SIZE_BYTES = 200_000_000
PASSES = 3
START_S = 30.0


def run() -> list[Row]:
    """MB a second."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        payload = folder / "payload"
        with sshd(folder / "sshd") as server, _agent(folder / "s") as socket:
            address = NodeAddress(
                name="bench",
                host="127.0.0.1",
                port=server.port,
                user=server.user,
                socket=str(socket),
                identity_files=(str(server.identity),),
            )
            peers = _peers(folder, server, payload)
            measures = [
                lambda: _ours(address, server, payload),
                *(_timed(payload, command) for command in peers.values()),
            ]
            ours, *theirs = alternate(measures, passes=PASSES)
    rows = []
    for peer, sample in zip(peers, theirs, strict=True):
        row = Row(f"upload of 200 MB beside {peer}", ours.median, "MB/s", f"{peer} MB/s", sample.median, 1.0)
        rows.append(row._replace(headline=peer == "scp").of(ours))
    if "rsync" not in peers:
        rows.append(Row("upload of 200 MB", ours.median, "MB/s", note="rsync is not installed here"))
    return rows


def _peers(folder: Path, server: Sshd, payload: Path) -> dict[str, list[str]]:
    target, port = f"{server.user}@127.0.0.1", str(server.port)
    batch = folder / "batch"
    batch.write_text(f"put {payload} {folder / 'sftp.out'}\n")
    commands = {
        "scp": ["scp", "-q", *server.options, "-P", port, str(payload), f"{target}:{folder / 'scp.out'}"],
        "sftp": ["sftp", "-q", *server.options, "-P", port, "-b", str(batch), target],
    }
    if shutil.which("rsync"):
        shell = " ".join(["ssh", *server.options, "-p", port])
        commands["rsync"] = ["rsync", "-W", "-e", shell, str(payload), f"{target}:{folder / 'rsync.out'}"]
    return commands


def _renewed(payload: Path) -> str:
    """Fills the payload with what the node has never seen; its digest."""
    with open("/dev/urandom", "rb") as random:
        data = random.read(SIZE_BYTES)
    payload.write_bytes(data)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _timed(payload: Path, command: list[str]) -> Callable[[], float]:
    def measure() -> float:
        _renewed(payload)
        began_s = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return SIZE_BYTES / 1e6 / (time.monotonic() - began_s)

    return measure


def _ours(address: NodeAddress, server: Sshd, payload: Path) -> float:
    return asyncio.run(_uploaded(address, server, payload, _renewed(payload)))


async def _uploaded(address: NodeAddress, server: Sshd, payload: Path, digest: str) -> float:
    """Connecting is part of it, as it is of scp's."""
    began_s = time.monotonic()
    pool = Pool(Ssh(HostKeys(server.known_hosts), Secrets(Nobody()), agent_path=""))
    link = NodeLink(address, pool, lane=BULK, role=OPERATE, operator="bench")
    try:
        with payload.open("rb") as reader:
            meter = Meter(SIZE_BYTES)
            client = AgentClient(link, address.name)
            state = await upload(client, digest, reader, SIZE_BYTES, meter=meter, on_piece=_nothing)
    finally:
        await link.aclose()
    assert state.complete
    return SIZE_BYTES / 1e6 / (time.monotonic() - began_s)


async def _nothing() -> None:
    pass


@contextlib.contextmanager
def _agent(state: Path) -> Iterator[Path]:
    """A running agent; its operate socket."""
    command = [sys.executable, "-m", "nodeagent"]
    subprocess.run([*command, "init", "--state", str(state), "--name", "bench"], check=True, stdout=subprocess.PIPE)
    process = subprocess.Popen([*command, "run", "--state", str(state)], stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + START_S
        while subprocess.run([*command, "status", "--state", str(state)], capture_output=True, check=False).returncode:
            if time.monotonic() > end_s:
                raise RuntimeError(f"the agent did not answer within {START_S:g} s")
        yield next(path for path in state.rglob("agent.sock"))
    finally:
        process.terminate()
        process.wait()
