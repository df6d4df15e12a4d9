"""A blob to many nodes behind a thin link: once to the seed, and from there by the seed's own `ssh`.

The seed needs a POSIX shell, `ssh`, and room. It is trusted with nothing: it gets the person's agent for the one
command that pushes, and the console's pinned host keys for the one node; a node takes bytes only by their digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol

from console.client.client import AgentClient
from console.delivery.upload import Meter, blob_state
from console.fleet.view import LinkState
from console.link.channel import Channel
from console.link.endpoint import Endpoint
from console.link.errors import LinkError
from console.link.seeds import SeedWay
from console.transfer.budget import Budget
from nodeagent.protocol import API, CHUNK_BYTES_MAX

PIECE_BYTES = 256 << 10
ATTEMPTS_MAX = 4
POLL_S = 1.0
STALL_S = 120.0
COMPLAINT_S = 15.0
WORDS_MAX = 64 << 10
KEPT_DAYS = 7
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_FOLDER = 'umask 077; d="${XDG_CACHE_HOME:-$HOME/.cache}/outstation-seed"; f="$d/'
_SSH = (
    "ssh -T -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null "
    "-o ForwardAgent=no -o ClearAllForwardings=yes -o ConnectTimeout=10 -o ServerAliveInterval=10"
)


class Shell(Protocol):
    """A login on the seed."""

    async def open_command(self, command: str) -> Channel: ...


class Seeds(Protocol):
    """How seeds are reached; an OperateLane is one."""

    def seed_way(self, name: str, seed: str) -> SeedWay | None: ...
    def shell(self, way: SeedWay, *, forward_agent: bool = False) -> AbstractAsyncContextManager[Shell]: ...
    async def pins(self, way: SeedWay) -> list[str]: ...


class Seeding:
    """What is at which seed in this piece of work. `seed`: `jump`, or a node's name."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._locks: dict[tuple[Endpoint, str], asyncio.Lock] = {}
        self._stocked: set[tuple[Endpoint, str]] = set()

    def way(self, seeds: Seeds, node: str) -> SeedWay | None:
        """How blobs come to the node by its seed; None: directly. Raises LinkError where there is no such seed."""
        try:
            return seeds.seed_way(node, self.seed)
        except (KeyError, ValueError) as error:
            hint = "name a node of the catalog, or `jump`"
            raise LinkError(LinkState.REFUSED, node, f"the seed {self.seed} is not known", hint) from error

    async def carry(
        self,
        seeds: Seeds,
        way: SeedWay,
        client: AgentClient,
        digest: str,
        reader: BinaryIO,
        size: int,
        *,
        meter: Meter,
        on_piece: Callable[[], Awaitable[None]],
        note: Callable[[str], None],
        budget: Budget | None,
    ) -> None:
        """The blob is on the node, whole. `meter` counts what crosses the link. Raises LinkError, AgentError."""
        if (await blob_state(client, digest)).complete:
            meter.add(size)
            return
        key = way.seed.target, digest
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key in self._stocked:
                meter.total_bytes -= size
            else:
                note(f"to the seed {way.name}")
                await _stock(seeds, way, digest, reader, size, meter, on_piece, budget)
                self._stocked.add(key)
        note(f"from the seed {way.name}")
        try:
            await _push(seeds, way, client, digest, size, on_piece)
        except LinkError:
            self._stocked.discard(key)  # Look again what is there before the next attempt.
            raise


async def _stock(
    seeds: Seeds,
    way: SeedWay,
    digest: str,
    reader: BinaryIO,
    size: int,
    meter: Meter,
    on_piece: Callable[[], Awaitable[None]],
    budget: Budget | None,
) -> None:
    """Brings the blob to the seed, from the byte where the last attempt ended."""
    counted, most, failures = 0, -1, 0
    while failures < ATTEMPTS_MAX:
        failures += 1
        try:
            async with seeds.shell(way) as shell:
                here = int(await _said(shell, way, _size_script(digest, size)))
                meter.add(here - counted)
                failures = 0 if here > most else failures
                counted = most = here
                if here < size:
                    counted += await _append(shell, digest, reader, here, meter, on_piece, budget)
                elif await _said(shell, way, _check_script(digest)) in ("", digest[7:]):
                    return
        except LinkError:
            if failures >= ATTEMPTS_MAX:
                raise
            await asyncio.sleep(POLL_S)
    raise LinkError(LinkState.DOWN, way.name, "the seed does not come to hold the whole of it", "is it full there?")


async def _append(
    shell: Shell,
    digest: str,
    reader: BinaryIO,
    offset: int,
    meter: Meter,
    on_piece: Callable[[], Awaitable[None]],
    budget: Budget | None,
) -> int:
    """Sends the rest; the bytes that were handed over, which may not all have arrived where the link breaks."""
    channel = await shell.open_command(_sh(f'{_FOLDER}{digest[7:]}"; exec cat >> "$f"'))
    sent = 0
    await asyncio.to_thread(reader.seek, offset)
    try:
        while data := await asyncio.to_thread(reader.read, PIECE_BYTES):
            if budget is not None:
                await budget.take(len(data))
            await channel.write(data)
            meter.add(len(data))
            sent += len(data)
            await on_piece()
        channel.write_end()
        await channel.wait_gone()
    except ConnectionError:
        await asyncio.sleep(POLL_S)  # What arrived is asked for by the next login.
    finally:
        channel.close()
    return sent


async def _push(
    seeds: Seeds,
    way: SeedWay,
    client: AgentClient,
    digest: str,
    size: int,
    on_piece: Callable[[], Awaitable[None]],
) -> None:
    """Lets the seed hand the blob to the node, from the byte that the node has. Only the node says that it is done."""
    failures = 0
    while True:
        state = await blob_state(client, digest)
        if state.complete:
            return
        script = _push_script(way, await seeds.pins(way), digest, state.received_bytes, size, await client.identify())
        async with seeds.shell(way, forward_agent=not way.local) as shell:
            words = await _watched(await shell.open_command(_sh(script)), client, digest, on_piece)
        later = await blob_state(client, digest)
        failures = 0 if later.received_bytes > state.received_bytes else failures + 1
        if failures >= ATTEMPTS_MAX and not later.complete:
            hint = "the seed logs in with your ssh-agent: is the node's key in it, and does the seed reach the node?"
            raise LinkError(LinkState.DOWN, client.node, f"the seed {way.name} cannot hand it on: {words}", hint)


async def _watched(channel: Channel, client: AgentClient, digest: str, on_piece: Callable[[], Awaitable[None]]) -> str:
    """Runs until the node has the blob, the command ends, or nothing moves for STALL_S, or for COMPLAINT_S after `ssh`
    complained; what was said at the end.
    """
    loop = asyncio.get_running_loop()
    moved_s, had, words = loop.time(), -1, b""
    try:
        while loop.time() - moved_s < (COMPLAINT_S if channel.stderr else STALL_S):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    data = await channel.read(WORDS_MAX)
                    if not data:
                        break
                    words = (words + data)[-WORDS_MAX:]
                    if b" 200 " not in data and re.search(rb"HTTP/1\.1 [45]", data):
                        break
            state = await blob_state(client, digest)
            if state.complete:
                break
            if state.received_bytes > had:
                moved_s, had = loop.time(), state.received_bytes
            await on_piece()
        channel.write_end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await channel.wait_gone()
    except ConnectionError as error:
        return str(error)
    finally:
        channel.close()
    said = channel.stderr.decode("utf-8", "replace").strip().splitlines()
    answers = re.findall(rb'"code":"([A-Z_.]+)"', words)
    return said[-1] if said else answers[-1].decode() if answers else f"it ended with status {channel.exit_status}"


async def _said(shell: Shell, way: SeedWay, script: str) -> str:
    """What a short command prints. Raises LinkError with its words where it fails."""
    channel = await shell.open_command(_sh(script))
    found = b""
    try:
        async with asyncio.timeout(STALL_S):
            while data := await channel.read(WORDS_MAX):
                found = (found + data)[:WORDS_MAX]
            await channel.wait_gone()
    except (ConnectionError, TimeoutError) as error:
        raise LinkError(LinkState.DOWN, way.name, f"the seed broke off: {error or 'no answer'}") from error
    finally:
        channel.close()
    if channel.exit_status != 0:
        said = channel.stderr.decode("utf-8", "replace").strip() or f"status {channel.exit_status}"
        hint = "the account on the seed needs a POSIX shell, and room in its home"
        raise LinkError(LinkState.DOWN, way.name, f"the seed does not take it: {said}", hint)
    return found.decode("utf-8", "replace").strip()


# ---------------------------------------------------------------- what the seed runs


def _sh(script: str) -> str:
    """Whatever the account's login shell is."""
    return f"exec sh -c {shlex.quote(script)}"


def _size_script(digest: str, size: int) -> str:
    """How much is there; what is older than KEPT_DAYS goes, and so does what cannot be a beginning."""
    return (
        f'{_FOLDER}{digest[7:]}"; mkdir -p "$d" || exit; '
        f'find "$d" -type f -mtime +{KEPT_DAYS} -exec rm -f {{}} +; : >> "$f" || exit; touch "$f"; '
        f'n=$(wc -c < "$f"); if [ "$n" -gt {size} ]; then : > "$f"; n=0; fi; echo $((n))'
    )


def _check_script(digest: str) -> str:
    """The digest of what is there, where the seed can say; anything else than it should be is removed."""
    return (
        f'{_FOLDER}{digest[7:]}"; command -v sha256sum > /dev/null || exit 0; '
        f's=$(sha256sum < "$f"); s=${{s%% *}}; [ "$s" = {digest[7:]} ] || rm -f "$f"; echo "$s"'
    )


def _push_script(way: SeedWay, pins: list[str], digest: str, offset: int, size: int, node_id: str) -> str:
    """HTTP requests, one behind the other, into the bridge on the node. `cat` keeps the line open until it answered."""
    if not _NODE_ID.fullmatch(node_id):
        raise LinkError(LinkState.REFUSED, way.name, "the node's id is not one that can be handed on")
    if not pins and not way.local:
        raise LinkError(LinkState.REFUSED, way.name, f"no host key of {way.target} is pinned here")
    target = way.target
    request = (
        f"PUT {API}/blobs/{digest}?offset=%s&total={size}&node_id={node_id} HTTP/1.1\\r\\n"
        "Host: node\\r\\nContent-Type: application/octet-stream\\r\\nContent-Length: %s\\r\\n\\r\\n"
    )
    loop = (
        f'o={offset}; while [ "$o" -lt {size} ]; do n=$(({size} - o)); [ "$n" -le {CHUNK_BYTES_MAX} ] || '
        f'n={CHUNK_BYTES_MAX}; printf {shlex.quote(request)} "$o" "$n"; '
        f'tail -c "+$((o + 1))" "$f" | head -c "$n" || exit; o=$((o + n)); done; cat'
    )
    if way.local:
        return f'{_FOLDER}{digest[7:]}"; {{ {loop}; }} | sh -c {shlex.quote(way.bridge)}'
    login = f'{_SSH} -o UserKnownHostsFile="$k" -p {target.port} -l {shlex.quote(target.user)}'
    return (
        f'{_FOLDER}{digest[7:]}"; k=$(mktemp) || exit; trap \'rm -f "$k"\' EXIT; trap "exit 1" HUP INT TERM; '
        f"printf '%s\\n' {' '.join(map(shlex.quote, pins))} > \"$k\"; "
        f"{{ {loop}; }} | {login} -- {shlex.quote(target.host)} {shlex.quote(way.bridge)}"
    )
