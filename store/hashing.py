"""SHA-256 of megabytes, by OpenSSL. A process that was started without it loads it at the first of them.

An idle supervisor is such a process: the library is 3.5 MB, and five times as fast as Python's own, which does for a
line. It sets `sys.modules["_hashlib"] = None` before anything imports hashlib.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash


def bulk_sha256() -> _Hash:
    """A hash to feed with much."""
    if sys.modules.get("_hashlib", sys) is None:
        sys.modules.pop("_hashlib", None)
    try:
        from _hashlib import openssl_sha256
    except ImportError:  # a Python without OpenSSL
        return hashlib.sha256()
    return openssl_sha256()
