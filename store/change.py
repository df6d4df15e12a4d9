"""The name of a change that is no bundle: the SHA-256 of its canonical JSON, which a second person signs."""

from __future__ import annotations

import hashlib

import msgspec


def digest_of(value: object) -> str:
    """`sha256:<hex>` of the value's JSON with sorted keys and without spaces."""
    return f"sha256:{hashlib.sha256(msgspec.json.encode(value, order='sorted')).hexdigest()}"
