"""`ctrl-e`: the view as a file, in the form that its name ends in. It is read and written off the screen's path."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from console.screens.askline import AskLineView
from console.seat import sheet
from console.seat.operations import OnStep, OperationFailed
from console.seat.work import Work

if TYPE_CHECKING:
    from console.screens.page import Page
    from console.seat.seat import Seat


def ask_where(seat: Seat, page: Page) -> None:
    """Asks for the file's name, with one that will do, and writes it."""
    name = sheet.file_name(sheet.lines_sheet(page.name_shown or page.kind, ()), seat.clock.epoch_s())
    lines = (
        "All of this view is written, as it is filtered and sorted now, also what is not on the screen.",
        "The end of the name says how: .csv for a spreadsheet, .json for a program, .txt for a person.",
    )
    view = AskLineView(
        seat.look, f"Export {page.name_shown or 'this view'}", lines, yes="write", text=str(Path(os.getcwd(), name)),
        check=_wrong,
    )  # fmt: skip
    seat.push_screen(view, partial(_write, seat, page, seat.screen_text()))


def _wrong(text: str) -> str:
    path = Path(text).expanduser()
    if path.suffix.lower() not in sheet.FORMS:
        return f"end the name in {', '.join(sheet.FORMS)}"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return f"{path} exists already: take another name" if path.exists() else ""


def _write(seat: Seat, page: Page, shown: str, text: object) -> None:
    if not isinstance(text, str):
        return
    path, name = Path(text).expanduser(), page.name_shown or page.kind

    async def write(_: OnStep) -> tuple[int, int]:
        from store.errors import StoreError

        try:
            found = await asyncio.to_thread(page.sheet) or sheet.lines_sheet(name, shown.splitlines())
            return len(found.rows), await asyncio.to_thread(sheet.write, path, found)
        except (StoreError, ValueError) as error:
            raise OperationFailed("export failed", why=[str(error)], hint="take another folder") from error

    def said(work: Work) -> None:
        rows, size = work.result
        seat.say(f"{rows:,} rows in {path}, {size:,} bytes")

    seat.begin("export", f"export {page.name_shown}", "", write, quiet=True, then=said)
