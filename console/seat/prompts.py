"""What the console may have to ask a person while it reaches a node; the terminal and the app answer in their ways."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Prompter(Protocol):
    """Asks the operator. Every method may wait as long as the person does; declining is always possible."""

    async def secret(self, node: str, text: str) -> str | None:
        """A password, passphrase or code. None: the person declined."""
        ...

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        """Whether the key that `host` showed at first contact is the right one."""
        ...

    async def yes_no(self, node: str, text: str) -> bool:
        """Whether to go on. The safe answer is False."""
        ...


class Nobody:
    """There is no person to ask: everything is declined."""

    async def secret(self, node: str, text: str) -> str | None:
        return None

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        return False

    async def yes_no(self, node: str, text: str) -> bool:
        return False


class AcceptListed:
    """Accepts the host keys whose fingerprints were given beforehand (`--accept SHA256:...`); asks `inner` the rest."""

    def __init__(self, fingerprints: Collection[str], inner: Prompter) -> None:
        self._fingerprints, self._inner = frozenset(f.rstrip("=") for f in fingerprints), inner

    async def secret(self, node: str, text: str) -> str | None:
        return await self._inner.secret(node, text)

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        if fingerprint in self._fingerprints:
            return True
        return await self._inner.accept_host_key(node, host, algorithm, fingerprint)

    async def yes_no(self, node: str, text: str) -> bool:
        return await self._inner.yes_no(node, text)
