"""Passwords and passphrases that a person typed, kept in memory for this run and never written."""

from __future__ import annotations

from console.seat.prompts import Prompter

SECRETS_MAX = 1_000


class Secrets:
    """Asks once for what may be used again; a wrong one is forgotten. One-time codes are asked every time."""

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter
        self._kept: dict[tuple[str, str], str] = {}

    async def ask(self, node: str, subject: str, text: str, *, keep: bool = True) -> str | None:
        """The answer to `text` about `subject` (a login or a key file). None: the person declined."""
        kept = self._kept.get((subject, text))
        if kept is not None:
            return kept
        answer = await self.prompter.secret(node, text)
        if answer is not None and keep and len(self._kept) < SECRETS_MAX:
            self._kept[subject, text] = answer
        return answer

    def forget(self, subject: str) -> None:
        """Drops every answer about `subject`: the server did not take it."""
        for key in [key for key in self._kept if key[0] == subject]:
            del self._kept[key]
