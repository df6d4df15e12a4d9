"""The key that a person signs with: a file, opened with a passphrase where it wants one, or one of the ssh-agent's."""

from __future__ import annotations

import argparse
import base64
import os
from collections.abc import Callable
from pathlib import Path

from console.cli.session import Session
from console.failure import USAGE, Failure
from store import signing
from store.errors import from_os

KEY_BYTES_MAX = 1 << 16


def add_key(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """`--key FILE` or `--ssh-agent FINGERPRINT`."""
    key = parser.add_mutually_exclusive_group(required=required)
    key.add_argument("--key", type=Path, metavar="FILE", help="a private key to sign with")
    key.add_argument("--ssh-agent", metavar="SHA256:...", help="a key of the ssh-agent, by its fingerprint")


async def signer_of(session: Session, args: argparse.Namespace, namespace: str) -> Callable[[bytes], bytes]:
    """What signs for `namespace`. Asks for a passphrase at most once. Raises Failure, StoreError."""
    if args.key is None:
        agent = os.environ.get("SSH_AUTH_SOCK")
        if not agent:
            raise Failure("no ssh-agent: SSH_AUTH_SOCK is not set", "start one, or sign with --key FILE", USAGE)
        return lambda data: signing.sign_with_agent(args.ssh_agent, data, agent=Path(agent), namespace=namespace)
    passphrase = None
    if is_locked(args.key):
        passphrase = await session.person.secret("signing", f"passphrase for {args.key}")
    return lambda data: signing.sign_with_key_file(args.key, data, passphrase, namespace=namespace)


def is_locked(path: Path) -> bool:
    """Whether a key file wants a passphrase, as far as its first lines tell."""
    try:
        text = path.read_bytes()[:KEY_BYTES_MAX]
    except OSError as error:
        raise from_os(error, "read", path) from error
    if b"ENCRYPTED" in text:
        return True
    body = b"".join(line for line in text.splitlines() if not line.startswith(b"-----"))
    return text.startswith(b"-----BEGIN OPENSSH") and b"\x00\x00\x00\x06bcrypt" in base64.b64decode(body + b"==")
