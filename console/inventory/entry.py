"""One node of somebody's list, and what taking it would change here. Pure: nothing is kept or asked."""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from console.fleet.view import NodeAddress
from console.home import check_node_name
from console.link.endpoint import parse_endpoint

NODES_MAX = 5_000
TEXT_BYTES_MAX = 8 << 20
PLACES = ("site", "line", "machine")
REDUNDANCY = "redundancy"
_SECRET = re.compile(r"pass(word|phrase|wd)?$|_pass_|secret|token|vault|private_key$|become_pass", re.IGNORECASE)
_LABEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


class InventoryRefused(Exception):
    """A list cannot be used; the text names the place in it and the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A node as a list names it. `notes`: what of it was not taken, and why; `said`: fields that it names itself.

    `where`: the file and line, for people.
    """

    address: NodeAddress
    notes: tuple[str, ...] = ()
    said: frozenset[str] = frozenset()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one entry. `differs`: field -> (here, there)."""

    entry: Entry
    kind: Literal["new", "same", "changed", "conflict"]
    differs: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.entry.address.name


def as_text(data: bytes, *, where: str) -> str:
    """A list as text: UTF-8, or UTF-16 with its mark. Raises InventoryRefused with the first line that is neither."""
    if len(data) > TEXT_BYTES_MAX:
        raise InventoryRefused(f"{where} is larger than {TEXT_BYTES_MAX} bytes")
    try:
        return data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InventoryRefused(f"{where}:{line}: this is no UTF-8; save the list as UTF-8") from error


def entry_of(name: str, values: Mapping[str, str], *, where: str, notes: Sequence[str] = ()) -> Entry:
    """An entry from plain words: host, port, user, jumps, identity, socket, agent, site, line, machine and labels.

    `labels` are `name=value` words; `values` that are secrets are left out and noted. Raises InventoryRefused.
    """
    taken, found_notes = _without_secrets(values)
    try:
        check_node_name(name)
        host = taken.get("host") or name
        endpoint = parse_endpoint(f"[{host}]" if host.count(":") > 1 else host, user=taken.get("user", ""))
        port = int(taken.get("port") or endpoint.port)
        if not 0 < port <= 65_535:
            raise ValueError(f"{port} is not a port")
        jumps = tuple(str(parse_endpoint(jump)) for jump in taken.get("jumps", "").replace(",", " ").split())
        labels = tuple(sorted(_label(word) for word in taken.get("labels", "").split()))
    except ValueError as error:
        raise InventoryRefused(f"{where}: {name}: {error}") from error
    address = NodeAddress(
        name=name,
        host=endpoint.host,
        port=port,
        user=taken.get("user") or (endpoint.user if "@" in host else ""),
        jumps=jumps,
        socket=taken.get("socket", ""),
        agent=taken.get("agent") or "outstation-agent",
        site=taken.get("site", ""),
        line=taken.get("line", ""),
        machine=taken.get("machine", ""),
        labels=labels,
        identity_files=tuple(taken.get("identity", "").split(",")) if taken.get("identity") else (),
    )
    return Entry(address, (*notes, *found_notes), frozenset({"port"} if taken.get("port") else ()), where)


def _without_secrets(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    secret = [key for key in values if _SECRET.search(key)]
    taken = {key: value.strip() for key, value in values.items() if key not in secret}
    return taken, [f"{key} is a secret and was not taken" for key in secret]


def _label(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not _LABEL.match(name) or not value:
        raise ValueError(f"{word!r} is not a label as name=value")
    return name, value


def compare(entries: Sequence[Entry], here: Mapping[str, NodeAddress]) -> list[Change]:
    """What each entry would change. A node id that differs is a conflict, which nobody resolves by a list."""
    if len(entries) > NODES_MAX:
        raise InventoryRefused(f"more than {NODES_MAX} nodes in one list")
    first: dict[str, Entry] = {}
    for entry in entries:
        if (known := first.setdefault(entry.address.name, entry)) is not entry:
            place = f"{entry.where}: " if entry.where else ""
            also = f", also in {known.where}" if known.where else ""
            raise InventoryRefused(f"{place}{entry.address.name} is in the list twice{also}")
    by_id = {known.node_id: known.name for known in here.values() if known.node_id}
    return [_change(entry, here.get(entry.address.name), by_id) for entry in entries]


def _change(entry: Entry, known: NodeAddress | None, by_id: Mapping[str, str]) -> Change:
    address = entry.address
    if address.node_id and by_id.get(address.node_id, address.name) != address.name:
        return Change(entry, "conflict", {"node_id": (f"{by_id[address.node_id]} has it", address.node_id)})
    if known is None:
        return Change(entry, "new")
    differs = {
        name: (_text(getattr(known, name)), _text(getattr(address, name)))
        for name in _compared(entry)
        if getattr(known, name) != getattr(address, name)
    }
    if "node_id" in differs:
        return Change(entry, "conflict", differs)
    return Change(entry, "changed" if differs else "same", differs)


def _compared(entry: Entry) -> list[str]:
    """Fields that a list speaks about: what it leaves empty it does not mean to empty."""
    usual = NodeAddress(name="", host="")
    fields = [field.name for field in dataclasses.fields(NodeAddress) if field.name != "name"]
    return [
        name
        for name in fields
        if name == "host" or name in entry.said or getattr(entry.address, name) != getattr(usual, name)
    ]


def merged(change: Change, known: NodeAddress | None) -> NodeAddress:
    """The address to keep: what is here, with what the list says over it."""
    if known is None:
        return change.entry.address
    said = {name: getattr(change.entry.address, name) for name in _compared(change.entry)}
    return dataclasses.replace(known, **said)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join("=".join(item) if isinstance(item, tuple) else str(item) for item in value) or "nothing"
    return str(value) or "nothing"
