"""Where a test may stop this process: around each commit that matters. Does nothing unless set.

OUTSTATION_CRASH_AT names a file. While the file holds a point's name (`before:FLIPPED`, `after:CONFIRMED`), the first
process that passes that point renames the file to FILE.hit and stops itself (SIGSTOP). Whoever wrote the file then
kills what it wants: this process, its parent, a worker, all.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "OUTSTATION_CRASH_AT"


def reach(point: str) -> None:
    """Passes a point."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return
    file = Path(named)
    try:
        armed = file.read_text("ascii").strip()
    except FileNotFoundError:
        return
    if armed == point:
        file.rename(file.with_name(f"{file.name}.hit"))
        os.kill(os.getpid(), signal.SIGSTOP)
