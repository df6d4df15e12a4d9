"""The seventh node: a kit made here, put on a bare machine by the console's own commands, and its first bundle.

Where no index is reached the kit is made of the packages that are installed beside the console, signed by a key of the
demo. `python -m console.demo.seventh HOME KEY` makes it.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shlex
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from console.delivery import deploy
from console.delivery.lease import held_lease
from console.demo import processes
from console.demo.plan import BARE
from console.demo.provision import FIRST_WINDOW_S, OPERATOR, SIGNER
from console.demo.scene import FAILURES, Claim, Scene, ledger_entry
from console.fleet.view import LinkState
from console.kit import installed
from console.kit.build import Order, build
from console.kit.file import KIT_NAMESPACE, SUFFIX, KitRefused, open_kit, sign_kit
from console.kit.manifest import KitMalformed
from nodeagent.protocol import DeploymentState, Record
from store.archive import read_archive
from store.signing import sign_with_key_file

CLAIM = "seventh node by bootstrap"
KIT_S = 120.0
BOOTSTRAP_S = 180.0
LIVE_S = 60.0


class ActFailed(Exception):
    """A step of the act did not succeed; the text is what its command said."""


def make_kit(home: Path, key: Path) -> Path:
    """HOME/kits/agent.ostk for this machine and this Python, and HOME/kit_signers. Raises KitRefused, KitMalformed."""
    path = home / "kits" / f"agent{SUFFIX}"
    order = Order(
        platforms=(f"linux-{platform.machine()}",),
        pythons=(f"3.{sys.version_info.minor}",),
        extras=("modbus",),
        fetch=installed.collect,
    )
    unsigned = path.with_suffix(".unsigned")
    build(order, unsigned, print)
    sign_kit(unsigned, path, lambda data: sign_with_key_file(key, data, namespace=KIT_NAMESPACE))
    unsigned.unlink()
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    (home / "kit_signers").write_text(f'{SIGNER} namespaces="{KIT_NAMESPACE}" {public}\n')
    return path


async def kit_made(folder: Path, home: Path) -> Path:
    """As `make_kit`, in a process of its own, since it packs for seconds. Raises ActFailed with its words."""
    words = ["console.demo.seventh", str(home), str(folder / "keys" / "release")]
    try:
        await processes.run(words, log=folder / "logs" / "kit.log", timeout_s=KIT_S)
    except (RuntimeError, TimeoutError) as error:
        raise ActFailed(f"no kit could be made: {error or f'no end in {KIT_S:g} s'}") from error
    return home / "kits" / f"agent{SUFFIX}"


def command(folder: Path, home: Path) -> list[str]:
    """What the operator gives to the command line to put the agent there."""
    signers = folder / "keys" / "allowed_signers"
    return ["--home", str(home), "node", "bootstrap", BARE.name, "--allow-signer", str(signers)]


def how_to(folder: Path, home: Path, bindings: str) -> str:
    """The two lines with which a person makes the bare machine a node, for another terminal."""
    ((name, value),) = tomllib.loads(bindings).items()
    bind = ["--home", str(home), "node", "bind", BARE.name, f"{name}={value}"]
    return (
        f"{BARE.name} has an account and no agent. In another terminal:\n"
        f"  outstation {shlex.join(command(folder, home))}\n"
        f"  outstation {shlex.join(bind)}\n"
        f"then d on its row in the app deploys the pump's bundle"
    )


async def seventh_node(scene: Scene) -> Claim:
    """The bare machine becomes a node that predicts; every step as an operator does it."""
    began_s = time.monotonic()
    evidence: dict[str, Any] = {}
    try:
        kit = await kit_made(scene.plant.folder, scene.home.path)
        with open_kit(kit) as found:
            evidence["kit"] = f"sha256:{found.digest}"
        told = await _console(*command(scene.plant.folder, scene.home.path), "--kit", str(kit), "--yes", "--json")
        evidence["node_id"] = told["node_id"]
        async with asyncio.timeout(LIVE_S):
            await _live(scene, told["node_id"])
            record = await _predicting(replace(scene, deadline_s=time.monotonic() + LIVE_S), evidence)
    except (ActFailed, *FAILURES) as error:
        return Claim(CLAIM, False, BARE.name, str(error), evidence)
    except TimeoutError:
        return Claim(CLAIM, False, BARE.name, f"not predicting {LIVE_S:g} s after its bootstrap", evidence)
    evidence["record_key"] = record.key
    text = f"kit, bootstrap over SSH in {told['seconds']:.0f} s, first record after {time.monotonic() - began_s:.0f} s"
    return Claim(CLAIM, evidence["ledger_seq"] is not None, BARE.name, text, evidence)


async def _console(*words: str) -> dict[str, Any]:
    """One run of the command line; its last line of JSON. Raises ActFailed with what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "--operator", OPERATOR, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BOOTSTRAP_S):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise ActFailed(f"`outstation {shlex.join(words[2:5])}` did not end in {BOOTSTRAP_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = out.decode().splitlines()
    if process.returncode != 0:
        raise ActFailed((err.decode().strip() or "".join(lines[-1:]))[-600:])
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


async def _live(scene: Scene, node_id: str) -> None:
    """Until the fleet shows the node, as every other, with the id that was made."""
    while True:
        view = scene.view(BARE.name)
        if view.link is LinkState.UP and view.is_known(time.monotonic()) and view.status is not None:
            if view.status.node_id != node_id:
                raise ActFailed(f"the node there is {view.status.node_id}, and {node_id} was made")
            return
        scene.fleet.retry(BARE.name)
        await asyncio.sleep(1.0)


async def _predicting(scene: Scene, evidence: dict[str, Any]) -> Record:
    """Bound, deployed, confirmed by a new login, and its first record. Adds the rows to `evidence`."""
    line = next(line for line in scene.plant.nodes if line["name"] == BARE.name)
    async with scene.fleet.operate() as lane:
        client = lane.client(BARE.name)
        async with held_lease(client, OPERATOR) as lease:
            await client.bind(tomllib.loads(line["bindings"]), base_revision=0, lease=lease.token)
        with read_archive(scene.bundles.first[BARE.example]) as found:
            trial = await deploy.deploy(
                lane, BARE.name, found, window_s=FIRST_WINDOW_S, operator=OPERATOR, on_progress=lambda _: None
            )
        done = await deploy.confirm(lane, BARE.name, trial.id, operator=OPERATOR)
    if done.state is not DeploymentState.COMMITTED:
        raise ActFailed(f"its first bundle is {done.state}")
    entry = await ledger_entry(scene.fleet.client(BARE.name), done.id, "COMMITTED")
    evidence |= {"deployment": done.id, "ledger_seq": entry.seq if entry else None}
    record: Record | None = await scene.until(lambda: scene.newest(BARE.name))
    if record is None:
        raise ActFailed("it runs its first bundle and records nothing")
    return record


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, or 1 with the reason."""
    home, key = map(Path, arguments)
    try:
        print(make_kit(home, key))
    except (KitRefused, KitMalformed) as error:
        print(f"{error}. {getattr(error, 'hint', '')}".strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
