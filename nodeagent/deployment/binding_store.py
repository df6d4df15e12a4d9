"""Where the node's bindings are: revisions in node.db without their secrets, secrets in a file, bindings.toml derived.

A bindings.toml that was written by hand is taken in at start: as the first revision, or later where no active bundle
uses what changed. Otherwise it is left and reported, since the addresses of a running bundle change by a trial only.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets as random
import sqlite3
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nodeagent.deployment import bindings
from nodeagent.deployment.bindings import BindingError
from nodeagent.state import crashpoints
from nodeagent.state.database import NodeDatabase
from store import durable
from store.ledger import Stamp
from store.node import bindings as revisions

FILE_NAME = "bindings.toml"
SECRETS_NAME = "secrets.json"
_OURS = re.compile(r"# Revision (\d{1,9})\. Written by the agent")


class BindingStore:
    """The bindings of one node."""

    def __init__(self, state: Path, database: NodeDatabase) -> None:
        self._file = state / FILE_NAME
        self._secrets_file = state / SECRETS_NAME
        self._database = database
        self._secrets: dict[str, str] = {}
        self.revision = 0
        self.values: dict[str, Any] = {}

    async def load(self) -> None:
        """Reads the newest revision and the secrets. Raises NotWritable in SAFE, BindingError for a broken file."""
        await self.load_secrets()
        row = await self._database.read(revisions.current)
        if row is not None:
            self.revision, self.values = row.revision, bindings.put_back(json.loads(row.content), self._secrets)

    async def adopt_file(self, stamp: Stamp, in_use: Iterable[str]) -> list[str]:
        """Takes in a bindings.toml written by hand. Returns the names that differ and could not be taken in.

        Raises BindingError where the file cannot be read as bindings.
        """
        text = await asyncio.to_thread(self._read_file)
        if text is None:
            return []
        if await self._wrote(text):
            await self.write_file()
            return []
        found = self._parse(text)
        new = bindings.merge(self.values, found, [name for name in self.values if name not in found])
        changed = bindings.diff(self.values, new)
        if held := sorted(set(changed) & set(in_use)):
            return held
        if changed:
            await self.set(stamp, base_revision=self.revision, new=new)
        return []

    async def set(
        self,
        stamp: Stamp,
        *,
        base_revision: int,
        new: Mapping[str, Any],
        fence: Callable[[sqlite3.Connection, Stamp], None] = lambda _connection, _stamp: None,
        along: Callable[[sqlite3.Connection, Stamp, int], None] = lambda _connection, _stamp, _revision: None,
    ) -> int:
        """Makes `new` the current revision and returns its number. Raises revisions.Stale, BindingError, Fenced.

        Secrets are written before the row that names them; bindings.toml after it. `along(connection, stamp, revision)`
        writes what belongs to the revision, in its transaction.
        """
        bindings.check(new)
        stored, secrets = bindings.take_out(new, lambda: random.token_hex(8), self._secrets)
        if secrets.items() - self._secrets.items():
            self._secrets |= secrets
            text = json.dumps(self._secrets, sort_keys=True)
            await asyncio.to_thread(durable.write_file, self._secrets_file, text.encode())
        changes = {name: list(pair) for name, pair in bindings.shown_diff(self.values, new).items()}

        def add(connection: sqlite3.Connection) -> revisions.BindingRevision:
            fence(connection, stamp)
            content = json.dumps(stored, sort_keys=True)
            detail = {"changes": changes}
            row = revisions.add(connection, stamp, base_revision=base_revision, content=content, detail=detail)
            along(connection, stamp, row.revision)
            return row

        crashpoints.reach("before:BOUND")
        row = await self._database.write(add)
        crashpoints.reach("after:BOUND")
        self.revision, self.values = row.revision, dict(new)
        await self.write_file()
        return row.revision

    def without_secrets(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they may be stored openly: `put_back` is the reverse. Their secrets are known already."""
        stored, _ = bindings.take_out(values, lambda: "", self._secrets)
        return stored

    def with_secrets(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The reverse of `without_secrets`. Raises BindingError where a secret is gone."""
        values: dict[str, Any] = bindings.put_back(dict(stored), self._secrets)
        return values

    async def load_secrets(self) -> None:
        """Reads the secrets alone: what SAFE can do without a database."""
        self._secrets = await asyncio.to_thread(self._read_secrets)

    async def write_file(self) -> None:
        """Makes bindings.toml say what is current, `***` for each secret."""
        text = _text(self.revision, self.values)
        await asyncio.to_thread(durable.write_file, self._file, text.encode())

    async def at(self, revision: int) -> dict[str, Any]:
        """All values at one revision (0: none), secrets included. Raises BindingError where it is not known."""
        if revision == self.revision or revision == 0:
            return dict(self.values) if revision else {}
        row = await self._database.read(revisions.get, revision)
        if row is None:
            raise BindingError(f"there is no binding revision {revision}")
        values: dict[str, Any] = bindings.put_back(json.loads(row.content), self._secrets)
        return values

    async def _wrote(self, text: str) -> bool:
        """Whether bindings.toml is what we wrote for some revision: a crash may come before the next one is written."""
        number = _OURS.match(text)
        if number is None:
            return False
        try:
            return text == _text(int(number[1]), await self.at(int(number[1])))
        except BindingError:
            return False

    def _read_file(self) -> str | None:
        try:
            return self._file.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise BindingError(f"{self._file}: {error}") from error

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BindingError(f"{self._file}: {error}") from error
        bindings.check(found)
        return found

    def _read_secrets(self) -> dict[str, str]:
        try:
            found = json.loads(self._secrets_file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise BindingError(f"{self._secrets_file}: {error}") from error
        return {str(key): str(value) for key, value in found.items()}


def _text(revision: int, values: Mapping[str, Any]) -> str:
    """bindings.toml at a revision."""
    head = f"# Revision {revision}. Written by the agent; change it with: outstation node bind NODE name=value\n"
    return head + bindings.to_toml(bindings.hide(values))
