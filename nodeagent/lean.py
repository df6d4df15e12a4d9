"""What an idle supervisor does without: libraries that others would load along, shut out before they do.

`python -m nodeagent.supervisor` asks for it first. Standard library only.
"""

from __future__ import annotations

import sys


def shut_out() -> None:
    """Marks modules as not there. What needs one later takes the mark away (`store/hashing.py`)."""
    sys.modules["ssl"] = None  # type: ignore[assignment]  # asyncio does without: 4 MB that a Unix socket never uses
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # msgspec takes it where it is, and has no need
    if _hashes_without_openssl():
        sys.modules["_hashlib"] = None  # type: ignore[assignment]


def _hashes_without_openssl() -> bool:
    """Whether this Python has every hash of its own too: distributions may build it with OpenSSL's alone."""
    sha2 = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
    try:
        for name in ("_md5", "_sha1", "_sha3", "_blake2", *sha2):
            __import__(name)
    except ImportError:
        return False
    return True
