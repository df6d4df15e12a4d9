"""What the links have to ask, asked on the operator's screen: passwords, host keys, yes or no. One question a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.seat.seat import Seat


class SeatPrompter:
    """Implements console.seat.prompts.Prompter. Made before the app; questions wait until it is attached."""

    def __init__(self) -> None:
        self._seat: Seat | None = None
        self._attached = asyncio.Event()
        self._turn = asyncio.Lock()

    def attach(self, seat: Seat) -> None:
        """From now on questions are shown by `seat`."""
        self._seat = seat
        self._attached.set()

    async def secret(self, node: str, text: str) -> str | None:
        answer = await self._ask(node, text, "secret", "")
        return answer if isinstance(answer, str) else None

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        text = (
            f"{host} shows a key that this console has not seen before. Compare it with the one on the node "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). Algorithm {algorithm}."
        )
        return await self._ask(node, text, "typed", fingerprint) is True

    async def yes_no(self, node: str, text: str) -> bool:
        return await self._ask(node, text, "enter", "") is True

    async def _ask(self, node: str, text: str, mode: str, strong: str) -> object:
        from console.screens.question import QuestionView

        await self._attached.wait()
        seat = self._seat
        assert seat is not None
        async with self._turn:
            answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()

            def settle(answer: object) -> None:
                if not answered.done():
                    answered.set_result(answer)

            view = QuestionView(seat.look, node, text, mode, strong)
            seat.push_screen(view, settle)
            try:
                return await answered
            finally:
                if view.is_attached and not answered.done():
                    view.dismiss(None)
