"""Where the console keeps its things, and who sits at it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from console.fleet.view import NodeAddress
from store import durable

if TYPE_CHECKING:
    from store.catalog import Catalog, NodeRow

HOME_VARIABLE = "OUTSTATION_HOME"
OPERATOR_VARIABLE = "OUTSTATION_OPERATOR"
_OPERATOR = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
_NODE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Home:
    """The console's folder: 0700. Its one secret is the key that signs capsules (0600), which opens nothing."""

    path: Path

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.db"

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"

    @property
    def bundles(self) -> Path:
        return self.path / "bundles"

    @property
    def allowed_signers(self) -> Path:
        """Whose exports of ledgers, and whose capsules, are taken."""
        return self.path / "allowed_signers"

    @property
    def warrants(self) -> Path:
        """Permits and approvals that other persons signed."""
        return self.path / "warrants"

    def make(self) -> None:
        """Makes what is missing. Raises StoreError kinds."""
        durable.make_dir(self.bundles, 0o700)

    def open_catalog(self) -> Catalog:
        """The console's database. Raises StoreError kinds."""
        from store.catalog import Catalog  # Slow: the app has painted by the time it gets here.

        self.make()
        return Catalog(self.catalog)


def find_home(option: str | None, environ: Mapping[str, str]) -> Home:
    """`--home`, else $OUTSTATION_HOME, else $XDG_DATA_HOME/outstation or ~/.local/share/outstation."""
    named = option or environ.get(HOME_VARIABLE)
    if named:
        return Home(Path(named).expanduser())
    data = environ.get("XDG_DATA_HOME")
    return Home((Path(data) if data else Path.home() / ".local" / "share") / "outstation")


def operator_name(option: str | None, environ: Mapping[str, str]) -> str:
    """`--operator`, else $OUTSTATION_OPERATOR, else the login name. Raises ValueError for one that no ledger takes."""
    name = option or environ.get(OPERATOR_VARIABLE) or getpass.getuser()
    if not _OPERATOR.match(name):
        raise ValueError(f"{name!r} is not an operator's name: letters, digits and . _ @ -, at most 64")
    return name


def check_node_name(name: str) -> str:
    """`name`, if a node may be called so. Raises ValueError."""
    if not _NODE.match(name):
        raise ValueError(f"{name!r} is not a node's name: letters, digits and . _ -, at most 64")
    return name


def address_of(row: NodeRow) -> NodeAddress:
    """A node as the catalog keeps it, as the console uses it."""
    return NodeAddress(**{field.name: getattr(row, field.name) for field in fields(NodeAddress)})


def row_of(address: NodeAddress) -> NodeRow:
    """The other way round."""
    from store.catalog import NodeRow

    return NodeRow(**{field.name: getattr(address, field.name) for field in fields(NodeRow)})
