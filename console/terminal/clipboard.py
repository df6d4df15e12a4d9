"""Copying to where the person is: OSC 52 through SSH, the tmux buffer, and a file that is always there.

Never asks xclip or xsel: over SSH they hang, and would fill the clipboard of the wrong machine.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

FILE_BYTES_MAX: Final = 1 << 20
TMUX_S: Final = 2.0


def clip_file(home: str) -> Path:
    """Where copied text is kept as well."""
    return Path(home) / ".local" / "state" / "outstation" / "clip.txt"


def keep(path: Path, text: str) -> None:
    """Writes the newest copied text to the file (0600), cut to FILE_BYTES_MAX. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text.encode()[:FILE_BYTES_MAX] + b"\n")


async def to_tmux(text: str) -> bool:
    """Puts text into the tmux buffer, which default tmux does not do with OSC 52. False: tmux said no."""
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux", "load-buffer", "-w", "-", stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode()), TMUX_S)
    except TimeoutError:
        process.kill()
        await process.wait()
    return process.returncode == 0
