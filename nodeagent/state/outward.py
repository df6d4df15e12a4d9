"""The reports of a node behind a data diode: every so often a short-lived process writes one (nodeagent.oneway)."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Final

from nodeagent.health.alerts import Condition
from nodeagent.settings import OneWay

REPORT_S_MAX: Final = 60.0
WORDS_MAX: Final = 300
CODE: Final = "ONE_WAY.NOT_WRITTEN"


class Outward:
    """Writes one node's reports. `error`: why the last one was not written, "" where it was."""

    def __init__(self, state: Path, settings: OneWay) -> None:
        self._state, self._settings = state, settings
        self.error = ""

    def condition(self) -> Condition | None:
        """The alert that it calls for."""
        if not self.error:
            return None
        text = f"no report goes out to {self._settings.folder}: {self.error}"
        advice = "Whoever watches this node sees it grow old. See that the folder can be written and has room."
        return Condition(CODE, self._settings.folder, 3, text, advice, latched=True)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.error = await self.write()
            await asyncio.sleep(self._settings.every_s)

    async def write(self) -> str:
        """One report; "" or why there is none."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nodeagent.oneway", "--state", str(self._state)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(REPORT_S_MAX):
                _, words = await process.communicate()
        except TimeoutError:
            return f"not done after {REPORT_S_MAX:.0f} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        said = words.decode("utf-8", "replace").strip()[-WORDS_MAX:]
        return "" if process.returncode == 0 else said or f"it ended with status {process.returncode}"
