"""`x`: asks where the capsule of the marked nodes, or of the one under the cursor, is to be, and begins it."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console import figures
from console.screens.askline import AskLineView
from console.seat.operations import OnStep

if TYPE_CHECKING:
    from console.seat.seat import Seat

SUFFIX: Final = ".ostx"


def ask_where(seat: Seat) -> None:
    """The second, explicit step: nothing of a node changes, and its minutes leave it."""
    under = seat.page.node() if seat.page is not None else None
    nodes = sorted(seat.marked) or ([under] if under else [])
    if not nodes:
        seat.say("no node under the cursor, and none is marked")
        return
    at = time.strftime("%Y%m%d-%H%M%S", time.localtime(seat.clock.epoch_s()))
    names = nodes[0] if len(nodes) == 1 else f"{nodes[0]}-and-{len(nodes) - 1}-more"
    lines = (
        f"The last and the next ten minutes of {figures.counted(len(nodes), 'node')}: {', '.join(nodes)[:200]}.",
        "Health, rates, logs, records with some inputs, alerts, bindings and ledger go into one signed file.",
        "Secrets are taken out; people's names stay (`outstation capsule make --without-names` takes them out).",
        "What was is written at once, and again with what came when ten minutes are over; X ends that.",
    )
    view = AskLineView(
        seat.look, f"Capsule of {names}", lines, yes="begin", text=str(Path(os.getcwd(), f"{names}-{at}{SUFFIX}")),
        check=_wrong,
    )  # fmt: skip
    seat.push_screen(view, partial(_begin, seat, nodes))


def _wrong(text: str) -> str:
    path = Path(text).expanduser()
    if path.suffix.lower() != SUFFIX:
        return f"end the name in {SUFFIX}"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return f"{path} exists already: take another name" if path.exists() else ""


def _begin(seat: Seat, nodes: list[str], text: object) -> None:
    if not isinstance(text, str):
        return
    path = str(Path(text).expanduser())

    async def make(on_step: OnStep) -> str:
        return await seat.operations.make_capsule(nodes, path, on_step=on_step)

    node = nodes[0] if len(nodes) == 1 else f"{len(nodes)} nodes"
    seat.begin("capsule", "make a capsule", node, make, then=lambda work: seat.say(str(work.result)))
