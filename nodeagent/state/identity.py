"""Making a node: `outstation-agent init`. Folders, node.db with the node's id, node.toml, the first allowed signers.

Running it again changes nothing that is there, except that the signers of `--allow-signer` are added.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from nodeagent.deployment.bindings import to_toml
from nodeagent.state.database import migrate
from nodeagent.state.state_folder import FOLDERS, ID_NAME, SIGNERS_NAME
from store import db, durable, signers, signing
from store.errors import StoreError
from store.node import identity


class InitError(Exception):
    """The node cannot be made; the text says why and what to do."""


def init(state: Path, *, allow_signer: Path | None, name: str, site: str) -> str:
    """Makes the state folder a node's and returns its id. Raises InitError."""
    try:
        added = _read_signers(allow_signer) if allow_signer is not None else ""
        durable.make_dir(state)
        for folder in FOLDERS:
            durable.make_dir(state / folder)
        node_id = _node_id(state / "node.db")
        if not (state / ID_NAME).exists():
            durable.write_file(state / ID_NAME, f"{node_id}\n".encode(), 0o644)
        if not (state / "node.toml").exists():
            durable.write_file(state / "node.toml", _settings(name, site).encode(), 0o644)
        _add_signers(state / SIGNERS_NAME, added)
    except StoreError as error:
        raise InitError(str(error)) from error
    return node_id


def _node_id(path: Path) -> str:
    migrate(path)
    connection = db.open_writer(path)
    try:
        with db.transaction(connection):
            known = identity.node_id(connection)
            if known is None:
                known = f"node-{secrets.token_hex(8)}"
                identity.create(connection, known, wall_us=time.time_ns() // 1_000)
    finally:
        connection.close()
    return known


def _settings(name: str, site: str) -> str:
    return "[node]\n" + to_toml({"name": name, "site": site})


def _read_signers(path: Path) -> str:
    """The lines of an allowed_signers file, checked: a signer that silently is none is worse than an error."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InitError(f"{path}: {error}") from error
    try:
        found = signers.parse(text)
    except signers.SignersRefused as error:
        raise InitError(f"{path}: {error}") from error
    if not any(signing.BUNDLE_NAMESPACE in signer.namespaces for signer in found):
        raise InitError(f'{path}: no line has namespaces="{signing.BUNDLE_NAMESPACE}"')
    return text if text.endswith("\n") else text + "\n"


def _add_signers(path: Path, added: str) -> None:
    before = path.read_text("utf-8") if path.exists() else ""
    present = set(before.splitlines())
    new = "".join(f"{line}\n" for line in added.splitlines() if line.strip() and line not in present)
    if new or not path.exists():
        durable.write_file(path, (before + new).encode(), 0o644)


def default_name() -> str:
    """The host's name, without its domain."""
    return os.uname().nodename.partition(".")[0] or "node"
