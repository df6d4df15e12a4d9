"""The person at the terminal: asked on /dev/tty, so that pipes stay clean; without one, everything is declined."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import sys
from typing import TextIO

from console.client.clean import clean


class TerminalPerson:
    """A Prompter for the command line. One question at a time."""

    def __init__(self, *, interactive: bool | None = None) -> None:
        self._interactive = sys.stdin.isatty() if interactive is None else interactive
        self._lock = asyncio.Lock()

    async def secret(self, node: str, text: str) -> str | None:
        if not self._interactive:
            return None
        async with self._lock:
            return await asyncio.to_thread(self._ask_secret, f"{node}: {clean(text, 200)}: ")

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        if not self._interactive:
            return False
        question = (
            f"{node}: {clean(host, 200)} is not known yet. It shows this {algorithm} key:\n  {fingerprint}\n"
            "Compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` at the node. Is it the same?"
        )
        return await self.yes_no(node, question)

    async def yes_no(self, node: str, text: str) -> bool:
        if not self._interactive:
            return False
        async with self._lock:
            return await asyncio.to_thread(self._ask_line, f"{text} [yes/no] ") == "yes"

    async def typed(self, text: str) -> str:
        """What the person types; nothing where there is no person."""
        if not self._interactive:
            return ""
        async with self._lock:
            return await asyncio.to_thread(self._ask_line, f"{text} ")

    @staticmethod
    def _ask_secret(text: str) -> str | None:
        with contextlib.suppress(EOFError):
            return getpass.getpass(text)
        return None

    @staticmethod
    def _ask_line(text: str) -> str:
        out: TextIO = sys.stderr
        out.write(text)
        out.flush()
        return sys.stdin.readline().strip()
