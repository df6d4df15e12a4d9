"""Where a test may stop this process: around each commit of a deployment's transition. Does nothing unless set.

OUTSTATION_CRASH_AT="after:TRIAL:/path/of/a/marker" makes the marker file and stops the process (SIGSTOP) the first
time it passes that point; whoever watches the marker then kills what it wants: this process, its parent, a worker.
A marker that exists already disarms the point, so that a restarted process runs on.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "OUTSTATION_CRASH_AT"


def reach(point: str) -> None:
    """Passes a point such as `before:TRIAL` or `after:COMMITTED`."""
    armed = os.environ.get(VARIABLE, "")
    if not armed.startswith(f"{point}:"):
        return
    try:
        marker = os.open(armed.removeprefix(f"{point}:"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    os.close(marker)
    os.kill(os.getpid(), signal.SIGSTOP)
