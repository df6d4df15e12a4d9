"""The first screen waits for nothing that only links, databases or charts need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "httpx",
    "httpcore",
    "asyncssh",
    "sqlite_utils",
    "plotext",
    "console.client.client",
    "console.seat.live",
    "store.catalog",
    "tomllib",
)


def test_what_is_heavy_is_imported_after_the_first_paint() -> None:
    program = (
        f"import console.seat.app, console.seat.seat, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
