"""What a person chose for this console and finds again at the next start: the look, and how often it looks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from console.terminal.terminal import LINKS

if TYPE_CHECKING:
    from console.home import Home
    from console.terminal.terminal import LinkName

Choice = Literal["look", "link"]
_KEY: Final = "choice."


@dataclass(frozen=True, slots=True)
class Choices:
    """Empty and None: as the terminal suggests."""

    look: str = ""
    link: LinkName | None = None

    def unless(self, look: str, link: LinkName | None) -> Choices:
        """These, where the command line says nothing else."""
        return Choices(look or self.look, link or self.link)


def read(catalog: Path) -> Choices:
    """What is kept in a catalog. One that cannot be read has no choices: opening it tells why, a moment later.

    Read before the first paint, so that no screen is drawn in one look and then in another; hence without the catalog
    class, whose imports are slow.
    """
    if not catalog.exists():
        return Choices()
    import sqlite3

    from store import db
    from store.errors import StoreError

    try:
        reader = db.open_reader(catalog, deadline_s=0.2)
        try:
            rows = reader.execute("SELECT key, value FROM settings WHERE key LIKE ?", (f"{_KEY}%",)).fetchall()
        finally:
            reader.close()
        kept = {key.removeprefix(_KEY): json.loads(value) for key, value in rows}
    except (StoreError, sqlite3.Error, ValueError):
        return Choices()
    return Choices(look=_look(kept.get("look")), link=_link(kept.get("link")))


def keep(home: Home, choice: Choice, value: str) -> None:
    """Writes a choice down; empty is none. Blocking. Raises OperationFailed."""
    from console.seat.operations import OperationFailed
    from store.errors import StoreError

    try:
        with home.open_catalog() as catalog:
            catalog.set_setting(_KEY + choice, value)
    except StoreError as error:
        raise OperationFailed("the choice holds until you leave", why=[str(error)], hint="free the disk") from error


def _look(value: Any) -> str:
    from widgets.look import LOOKS

    return value if isinstance(value, str) and value in LOOKS else ""


def _link(value: Any) -> LinkName | None:
    return cast("LinkName", value) if isinstance(value, str) and value in LINKS else None
