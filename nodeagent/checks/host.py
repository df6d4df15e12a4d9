"""The machine that is looked at: where it keeps its files, and what of it the agent knows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nodeagent.settings import Settings


@dataclasses.dataclass(frozen=True)
class Host:
    """`root` is `/` but for tests. `wall_s`: the machine's own clock. `disk_days_left`: as records forecast it.

    `watchdog_usec`: the service manager's limit as it gave it to us.
    """

    state: Path
    settings: Settings
    wall_s: float
    root: Path = Path("/")
    disk_days_left: float | None = None
    watchdog_usec: str = ""

    def text(self, path: str) -> str:
        """A small file below the root. Raises OSError."""
        return (self.root / path).read_text("utf-8", "replace").strip()

    def maybe(self, path: str) -> str | None:
        """The same; None where it is not there."""
        try:
            return self.text(path)
        except OSError:
            return None
