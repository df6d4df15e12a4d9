"""The console's own key for capsules: made at the first one, so that every capsule is signed; beside the catalog.

It says which console a capsule is from. Who is to be vouched for as a person signs with `--key` or `--ssh-agent`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.capsule.file import NAMESPACE
from store import durable, signing


def own_signer(home: Path) -> Callable[[bytes], bytes]:
    """What signs with the key of this console, made where there is none. Raises StoreError kinds."""
    path = key_path(home)
    if not path.exists():
        durable.make_dir(home)
        key = Ed25519PrivateKey.generate()
        form, none = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        durable.write_file(path.with_suffix(".pub"), public + b" outstation-capsule\n", 0o644)
        durable.write_file(path, key.private_bytes(serialization.Encoding.PEM, form, none))
    return lambda data: signing.sign_with_key_file(path, data, namespace=NAMESPACE)


def key_path(home: Path) -> Path:
    return home / "capsule_key"


def own_public_key(home: Path) -> str:
    """`ssh-ed25519 AAAA...` of this console; "" where no capsule was made here yet."""
    try:
        return " ".join(key_path(home).with_suffix(".pub").read_text("ascii").split()[:2])
    except FileNotFoundError:
        return ""
