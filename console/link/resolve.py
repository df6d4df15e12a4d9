"""What the operator's ssh_config says of a host: asked of `ssh -G`, once, when a node is added. Nothing is run by us.

OpenSSH itself gives the exact meaning of its file; asyncssh's reading of it differs, blocks and can switch host key
checks off. What we do not honour is listed, so that it can be shown.
"""

from __future__ import annotations

import asyncio
import getpass
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.link.endpoint import JUMPS_MAX, Endpoint, parse_endpoint

RESOLVE_S = 10.0
OUTPUT_BYTES_MAX = 1 << 20

# Security options of ssh_config that have no meaning here, and the value that asks for nothing.
_NOT_HONOURED = {
    "revokedhostkeys": ("none", "RevokedHostKeys: put `@revoked` lines into the console's known_hosts instead"),
    "knownhostscommand": ("none", "KnownHostsCommand is not run"),
    "hostkeyalias": ("none", "HostKeyAlias: the key is pinned under the host's own name"),
    "verifyhostkeydns": ("false", "VerifyHostKeyDNS: DNS is not asked"),
}
_LAX = ("false", "no", "off", "accept-new")


class ResolveError(Exception):
    """`ssh -G` could not say where a host is; the text is ssh's own."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a name leads. `notes` are for the operator: what was found, what is not honoured."""

    endpoint: Endpoint
    jumps: tuple[str, ...] = ()
    identity_files: tuple[str, ...] = ()
    proxy_command: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """The lines of one `ssh -G`, by lower-case keyword."""

    values: Mapping[str, tuple[str, ...]]

    def one(self, keyword: str, default: str = "") -> str:
        return self.values.get(keyword, (default,))[0]


def read_settings(text: str) -> Settings:
    """Parses the output of `ssh -G`."""
    values: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword:
            values[keyword.lower()] = (*values.get(keyword.lower(), ()), value.strip())
    return Settings(values)


def endpoint_of(settings: Settings, name: str) -> Endpoint:
    """Raises ValueError when the host name cannot be one."""
    port = settings.one("port", "22")
    host = settings.one("hostname", name)
    user = settings.one("user", getpass.getuser())
    return parse_endpoint(f"{user}@[{host}]:{port}" if ":" in host else f"{user}@{host}:{port}")


def identities_of(settings: Settings, exists: Callable[[Path], bool] = Path.exists) -> tuple[str, ...]:
    """Identity files that the configuration names and that exist; none where only OpenSSH's defaults stand."""
    files = settings.values.get("identityfile", ())
    if len(files) > 2 and all(Path(file).name.startswith("id_") and file.startswith("~/.ssh/") for file in files):
        return ()
    return tuple(file for file in files if exists(Path(file).expanduser()))


def notes_of(settings: Settings) -> tuple[str, ...]:
    """What the configuration asks for and does not get."""
    found = [note for key, (off, note) in _NOT_HONOURED.items() if settings.one(key, off) not in (off, "no", "false")]
    if settings.one("stricthostkeychecking", "ask") in _LAX:
        found.append("StrictHostKeyChecking is always on here: a changed host key stops")
    return tuple(found)


async def resolve(name: str, *, config: Path | None = None, program: str = "ssh") -> Resolved:
    """Asks `ssh -G` about `[user@]host[:port]` and about every jump on the way. Raises ValueError, ResolveError."""
    wanted = parse_endpoint(name)
    if shutil.which(program) is None:
        return Resolved(wanted, notes=(f"no {program} on this machine: its configuration was not read",))
    settings = await _ask(name, config, program)
    jumps = await _jumps(settings, config, program, JUMPS_MAX)
    command = settings.one("proxycommand", "none")
    return Resolved(
        endpoint=endpoint_of(settings, wanted.host),
        jumps=jumps,
        identity_files=identities_of(settings),
        proxy_command="" if command == "none" or jumps else command,
        notes=notes_of(settings),
    )


async def _jumps(settings: Settings, config: Path | None, program: str, left: int) -> tuple[str, ...]:
    """The jump hosts, outermost first: the first one's own jumps come before it, as with OpenSSH."""
    named = settings.one("proxyjump", "none")
    if named == "none":
        return ()
    hops = [hop.strip() for hop in named.split(",")]
    if len(hops) > left:
        raise ResolveError(f"more than {JUMPS_MAX} jump hosts: {named}")
    found: list[str] = []
    for index, hop in enumerate(hops):
        own = await _ask(hop, config, program)
        if index == 0:
            found += await _jumps(own, config, program, left - len(hops))
        endpoint = endpoint_of(own, parse_endpoint(hop).host)
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        found.append(f"{endpoint.user}@{host}:{endpoint.port}")
    return tuple(found)


def arguments_for(name: str) -> Sequence[str]:
    """`ssh -G`'s arguments for a name that was checked; nothing in it can become an option."""
    parse_endpoint(name)
    rest = name.strip().removeprefix("ssh://")
    user, at, _ = rest.rpartition("@")
    endpoint = parse_endpoint(name)
    port = ["-p", str(endpoint.port)] if rest.rpartition("]")[2].count(":") == 1 else []
    return ["-G", *(["-l", user] if at else []), *port, "--", endpoint.host]


async def _ask(name: str, config: Path | None, program: str) -> Settings:
    file = ["-F", str(config)] if config is not None else []
    process = await asyncio.create_subprocess_exec(
        program,
        *file,
        *arguments_for(name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RESOLVE_S):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise ResolveError(f"{program} -G {name} did not end in {RESOLVE_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ResolveError(
            err.decode("utf-8", "replace").strip()[:500] or f"{program} -G ended with {process.returncode}"
        )
    return read_settings(out[:OUTPUT_BYTES_MAX].decode("utf-8", "replace"))
