"""What a new box needs to be what the old one was: bindings, bundles by digest, signers, orders. No secret is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from console.client.client import AgentClient
from nodeagent.protocol import Bindings, Hold, OutOfService, Revision, TrustSigner
from store import durable
from store.errors import Corrupt, from_os

FOLDER: Final = "backups"
FILE_BYTES_MAX: Final = 4 << 20
SECRET: Final = "***"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One node as it was at `taken_wall_s` by our clock. Secrets in `bindings` read `***` and have to be given anew."""

    format: Literal[1] = 1
    node: str
    node_id: str
    taken_wall_s: float
    agent_version: str
    bindings: dict[str, Any]
    revisions: list[Revision]
    signers: list[TrustSigner]
    hold: Hold | None = None
    out_of_service: OutOfService | None = None


async def take(client: AgentClient, wall_s: float) -> Backup:
    """Asks the node; nothing on it changes. Raises LinkError, AgentError."""
    status = await client.status()
    bindings = await client.bindings()
    return Backup(
        node=client.node,
        node_id=status.node_id,
        taken_wall_s=wall_s,
        agent_version=status.agent_version,
        bindings=bindings.values,
        revisions=[revision for revision in await client.revisions() if revision.active],
        signers=(await client.trust()).signers,
        hold=status.telemetry.hold,
        out_of_service=status.telemetry.out_of_service,
    )


def path_of(home: Path, node: str) -> Path:
    """Where the backup of a node lies. Raises ValueError for a name that is none."""
    if not _NAME.match(node):
        raise ValueError(f"{node!r} is not a node's name")
    return home / FOLDER / f"{node}.json"


def write(home: Path, backup: Backup) -> Path:
    """Keeps it, 0600, instead of the one before. Raises StoreError kinds."""
    path = path_of(home, backup.node)
    durable.make_dir(path.parent, 0o700)
    durable.write_file(path, msgspec.json.format(msgspec.json.encode(backup, order="sorted"), indent=1) + b"\n", 0o600)
    return path


def read(home: Path, node: str) -> Backup | None:
    """The last one; None where there is none. Raises StoreError kinds."""
    path = path_of(home, node)
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Backup)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os(error, "read", path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("read", path, str(error)) from error


def to_bind(backup: Backup, there: Bindings) -> tuple[dict[str, Any], list[str]]:
    """What to bind on the new box, and the names whose secrets a person has to give."""
    wanted = {name: value for name, value in backup.bindings.items() if there.values.get(name) != value}
    secret = sorted(name for name, value in wanted.items() if _holds_secret(value))
    return {name: value for name, value in wanted.items() if name not in secret}, secret


def _holds_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_secret, value.values()))
    if isinstance(value, list):
        return any(map(_holds_secret, value))
    return bool(value == SECRET)
