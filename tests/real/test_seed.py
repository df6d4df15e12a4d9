"""A seed through real sshd: a blob crosses the way to the jump host once, and only its digest is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from console.delivery.lane import OperateLane
from console.delivery.upload import Meter
from console.fleet.view import NodeAddress
from console.link.errors import LinkError
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody
from console.transfer import seeding as seeding_
from console.transfer.seeding import Seeding
from console.transfer.shipping import Shipping
from tests.faults import cuts, real_agent

ROOT = Path(__file__).resolve().parents[2]
DATA = random.Random(5).randbytes(3_000_000)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
NAMES = ("press-07", "press-08")


class Contents:
    """One blob."""

    archive = None
    sizes = {DIGEST: len(DATA)}  # noqa: RUF012

    def open(self, digest: str) -> io.BytesIO:
        assert digest == DIGEST
        return io.BytesIO(DATA)


class Site(NamedTuple):
    """A jump host with two nodes behind it, and an ssh-agent with the operator's key."""

    lab: Any
    jump: Any
    nodes: dict[str, tuple[Any, Any]]
    bridge: str
    agent: Path
    cache: Path


@pytest.fixture(scope="module")
def site(standing_lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab, cache = standing_lab, standing_lab.folder / "cache"
    (lab.folder / "tmp").mkdir()
    seed_env = f"SetEnv XDG_CACHE_HOME={cache} TMPDIR={lab.folder / 'tmp'} SHLVL=1"
    bridge, agent = lab.folder / "outstation-agent", lab.folder / "agent"
    bridge.write_text(
        f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.quote(sys.executable)} -m nodeagent "$@"\n'
    )
    bridge.chmod(0o755)
    keeper = subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL)
    workshop = real_agent.Workshop(tmp_path_factory.mktemp("workshop"))
    try:
        with real_agent.agents(workshop) as make:
            nodes = {name: (make().start(), lab.sshd(seed_env)) for name in NAMES}
            subprocess.run(
                ["ssh-add", "-q", str(lab.identity)], env={**os.environ, "SSH_AUTH_SOCK": str(agent)}, check=True
            )
            yield Site(lab, lab.sshd(seed_env), nodes, str(bridge), agent, cache)
    finally:
        keeper.send_signal(signal.SIGTERM)
        keeper.wait(5)


@pytest.fixture(autouse=True)
def fresh(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding_, "POLL_S", 0.2)
    monkeypatch.setattr(seeding_, "ATTEMPTS_MAX", 2)
    shutil.rmtree(site.cache, ignore_errors=True)
    for agent, _ in site.nodes.values():
        with contextlib.suppress(FileNotFoundError):
            (agent.state / "blobs" / "sha256" / DIGEST[7:9] / DIGEST[7:]).unlink()


@contextlib.asynccontextmanager
async def reached(site: Site, relay: cuts.Relay, *, pinned: dict[str, str] | None = None) -> Any:
    """The lane to both nodes, each through the relay in front of the jump host."""
    lines = [f"[127.0.0.1]:{relay.port} {site.jump.host_public}"]
    lines += [f"[127.0.0.1]:{sshd.port} {sshd.host_public}" for _, sshd in site.nodes.values()]
    known = site.lab.folder / "known_hosts"
    known.write_text("\n".join([*lines, ""]))
    addresses = {
        name: NodeAddress(
            name,
            "127.0.0.1",
            sshd.port,
            sshd.user,
            jumps=(f"{sshd.user}@127.0.0.1:{relay.port}",),
            socket=str(agent.socket),
            agent=site.bridge,
            identity_files=(str(site.lab.identity),),
            node_id=agent.node_id,
        )
        for name, (agent, sshd) in site.nodes.items()
    }
    pool = Pool(Ssh(HostKeys(known), Secrets(Nobody()), agent_path=str(site.agent)))
    async with OperateLane(pool, addresses.__getitem__, operator="alice") as lane:
        yield lane


async def bring(lane: OperateLane, name: str, shipping: Shipping, notes: list[str]) -> Meter:
    async def piece() -> None:
        return

    meter = Meter(len(DATA))
    done = shipping.bring(
        lane.client(name), Contents(), DIGEST, meter=meter, on_piece=piece, note=notes.append, seeds=lane  # type: ignore[arg-type]
    )  # fmt: skip
    await done
    assert (await lane.client(name).blob(DIGEST)).complete
    return meter


def leftovers(site: Site) -> list[Path]:
    """Temporary files of the seed: its known_hosts for one push."""
    return list((site.lab.folder / "tmp").iterdir())


@pytest.mark.parametrize("seed", ["jump", "press-07"])
def test_a_blob_for_two_nodes_crosses_the_way_to_the_jump_host_once(site: Site, seed: str) -> None:
    async def run() -> None:
        async with cuts.Relay(site.jump.port, []) as relay, reached(site, relay) as lane:
            shipping, notes = Shipping(seeding=Seeding(seed)), list[str]()
            meters = await asyncio.gather(*(bring(lane, name, shipping, notes) for name in NAMES))
            assert all(meter.done_bytes == meter.total_bytes for meter in meters)
            assert any("from the seed" in note for note in notes)
            assert len(DATA) < relay.sent_bytes < 1.15 * len(DATA)

    asyncio.run(run())
    assert leftovers(site) == []


def test_without_a_seed_it_crosses_once_a_node(site: Site) -> None:
    async def run() -> None:
        async with cuts.Relay(site.jump.port, []) as relay, reached(site, relay) as lane:
            for name in NAMES:
                await bring(lane, name, Shipping(), [])
            assert relay.sent_bytes > 2 * len(DATA)

    asyncio.run(run())


def test_a_seed_that_was_cut_off_goes_on_at_the_byte(site: Site) -> None:
    async def run() -> None:
        async with cuts.Relay(site.jump.port, [1_500_000]) as relay, reached(site, relay) as lane:
            shipping = Shipping(seeding=Seeding("jump"))
            with contextlib.suppress(LinkError):
                await bring(lane, "press-07", shipping, [])
            await bring(lane, "press-07", shipping, [])
            assert relay.done_cuts == 1
            assert relay.sent_bytes < 1.9 * len(DATA)

    asyncio.run(run())


def test_i7_a_node_takes_nothing_from_a_seed_that_hands_on_other_bytes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeding_, "_check_script", lambda digest: "exit 0")  # The seed keeps it to itself.

    async def run() -> None:
        async with cuts.Relay(site.jump.port, []) as relay, reached(site, relay) as lane:
            held = site.cache / "outstation-seed" / DIGEST[7:]
            held.parent.mkdir(parents=True)
            held.write_bytes(bytes(len(DATA)))
            with pytest.raises(LinkError, match=r"cannot hand it on: BLOB\.MISMATCH"):
                await bring(lane, "press-07", Shipping(seeding=Seeding("jump")), [])
            assert not (await lane.client("press-07").blob(DIGEST)).complete

    asyncio.run(run())


def test_other_bytes_on_a_seed_are_found_there_and_sent_anew(site: Site) -> None:
    async def run() -> None:
        async with cuts.Relay(site.jump.port, []) as relay, reached(site, relay) as lane:
            held = site.cache / "outstation-seed" / DIGEST[7:]
            held.parent.mkdir(parents=True)
            held.write_bytes(bytes(len(DATA)))
            notes: list[str] = []
            await bring(lane, "press-07", Shipping(seeding=Seeding("jump")), notes)  # Thrown away, and sent anew.
            assert held.read_bytes() == DATA

    asyncio.run(run())


def test_a_node_whose_host_key_is_not_the_pinned_one_gets_nothing_from_a_seed(site: Site) -> None:
    async def run() -> None:
        async with cuts.Relay(site.jump.port, []) as relay, reached(site, relay) as lane:
            await lane.client("press-07").identify()
            other = site.nodes["press-08"][1].host_public
            known = site.lab.folder / "known_hosts"
            lines = [
                line for line in known.read_text().splitlines() if f":{site.nodes['press-07'][1].port} " not in line
            ]
            known.write_text("\n".join([*lines, f"[127.0.0.1]:{site.nodes['press-07'][1].port} {other}", ""]))
            with pytest.raises(LinkError, match=r"cannot hand it on: .*[Hh]ost key verification failed"):
                await bring(lane, "press-07", Shipping(seeding=Seeding("jump")), [])
            assert (await lane.client("press-07").blob(DIGEST)).received_bytes == 0

    asyncio.run(run())
    assert leftovers(site) == []


def test_the_agent_is_forwarded_for_the_command_that_pushes_and_for_no_other(site: Site) -> None:
    async def run() -> None:
        async with cuts.Relay(site.jump.port, []) as relay, reached(site, relay) as lane:
            way = lane.seed_way("press-07", "jump")
            assert way is not None
            told = []
            for forward in (False, True):
                async with lane.shell(way, forward_agent=forward) as shell:
                    channel = await shell.open_command('echo "sock=$SSH_AUTH_SOCK"')
                    told.append((await channel.read(1_000)).decode().strip())
            assert told[0] == "sock="
            assert told[1].startswith("sock=/")

    asyncio.run(run())
