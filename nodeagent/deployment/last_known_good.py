"""What was last known good, in a file of its own: what a node serves whose database cannot be opened (SAFE).

Written after each commit and at start. Secrets are named in it, not held; it is read only where node.db cannot be.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from nodeagent.deployment.binding_store import BindingStore
from nodeagent.spec import Activation
from store import durable

FILE_NAME = "lkg.json"
FILE_BYTES_MAX = 4 << 20


class LastKnownGood(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the node is, how often it booted, and what it served. `boot_id` is that of `boot_number`."""

    node_id: str
    boot_number: int
    boot_id: str
    activations: list[Activation]


def write(state: Path, known: LastKnownGood, store: BindingStore) -> None:
    """Replaces the file. Raises StoreError."""
    stored = [
        msgspec.structs.replace(activation, bindings=store.without_secrets(activation.bindings))
        for activation in known.activations
    ]
    durable.write_file(state / FILE_NAME, msgspec.json.encode(msgspec.structs.replace(known, activations=stored)))


def read(state: Path) -> LastKnownGood | None:
    """The file as it is, secrets not put back; None where there is none that can be read."""
    try:
        with (state / FILE_NAME).open("rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=LastKnownGood)
    except (OSError, msgspec.DecodeError):
        return None
