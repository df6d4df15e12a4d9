"""What lies in a node's state folder and can be read without its database. Standard library only."""

from __future__ import annotations

from pathlib import Path

SIGNERS_NAME = "allowed_signers"
ID_NAME = "node.id"
FOLDERS = ("blobs/sha256", "uploads", "records", "work", "logs", "run")


def read_id(state: Path) -> str:
    """The node's id where node.db cannot be read; "" before init."""
    try:
        return (state / ID_NAME).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def count_signers(state: Path) -> int:
    """How many lines of allowed_signers name a signer. Whether each is usable, intake says."""
    try:
        text = (state / SIGNERS_NAME).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return 0
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
