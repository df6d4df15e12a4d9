"""Site files: what one console knows of a plant's nodes, for another one. Names, ways and pinned host keys; no secret.

Key files and ProxyCommands belong to one laptop and stay there.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Annotated, Literal

import msgspec

from console.fleet.view import NodeAddress
from console.inventory.entry import NODES_MAX, TEXT_BYTES_MAX, Entry, InventoryRefused, entry_of
from console.link.endpoint import Endpoint, parse_endpoint
from console.link.hostkeys import HostKey, KnownHosts

Text = Annotated[str, msgspec.Meta(max_length=255)]


class SiteNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One node of a site file."""

    name: Text
    host: Text
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 22
    user: Text = ""
    jumps: list[Text] = []
    socket: Text = ""
    agent: Text = "outstation-agent"
    site: Text = ""
    line: Text = ""
    machine: Text = ""
    labels: dict[Text, Text] = {}
    node_id: Text = ""
    one_way_key: Annotated[str, msgspec.Meta(max_length=4_000)] = ""
    one_way_age_s: Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)] = 0.0


class SiteKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host key as the exporting console has it pinned. `host` is `user@host:port` without the user."""

    host: Text
    key: Annotated[str, msgspec.Meta(max_length=4_000)]


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Literal[1] = 1
    nodes: Annotated[list[SiteNode], msgspec.Meta(max_length=NODES_MAX)]
    host_keys: Annotated[list[SiteKey], msgspec.Meta(max_length=4 * NODES_MAX)] = []


def site_of(addresses: list[NodeAddress], known: KnownHosts) -> Site:
    """The site file of these nodes, with the host keys of every host on their ways."""
    hosts: dict[str, Endpoint] = {}
    for address in addresses:
        for endpoint in (Endpoint(address.host, address.port, "-"), *map(parse_endpoint, address.jumps)):
            hosts.setdefault(endpoint.known_name, endpoint)
    keys = [
        SiteKey(host=name, key=key.text)
        for name, endpoint in sorted(hosts.items())
        for key in known.match(endpoint).keys
    ]
    return Site(nodes=[_node(address) for address in addresses], host_keys=keys)


def _node(address: NodeAddress) -> SiteNode:
    return SiteNode(
        name=address.name,
        host=address.host,
        port=address.port,
        user=address.user,
        jumps=list(address.jumps),
        socket=address.socket,
        agent=address.agent,
        site=address.site,
        line=address.line,
        machine=address.machine,
        labels=dict(address.labels),
        node_id=address.node_id,
        one_way_key=address.one_way_key,
        one_way_age_s=address.one_way_age_s,
    )


def encode(site: Site) -> bytes:
    """The file's bytes: sorted and indented, so that two of them can be compared."""
    return msgspec.json.format(msgspec.json.encode(site, order="sorted"), indent=1) + b"\n"


def read_site(data: bytes, *, where: str) -> Site:
    """The file, checked. Raises InventoryRefused."""
    if len(data) > TEXT_BYTES_MAX:
        raise InventoryRefused(f"{where} is larger than {TEXT_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=Site)
    except msgspec.DecodeError as error:
        raise InventoryRefused(f"{where} is no site file: {error}") from error


def entries_of(site: Site, *, where: str) -> list[Entry]:
    """Its nodes, each checked as a person's words would be. Raises InventoryRefused."""
    found = []
    for node in site.nodes:
        labels = " ".join(f"{name}={value}" for name, value in node.labels.items())
        values = {
            **{name: getattr(node, name) for name in ("host", "user", "socket", "agent", "site", "line", "machine")},
            "port": str(node.port),
            "jumps": ",".join(node.jumps),
            "labels": labels,
        }
        entry = entry_of(node.name, values, where=where)
        own = {name: getattr(node, name) for name in ("node_id", "one_way_key", "one_way_age_s")}
        found.append(Entry(dataclasses.replace(entry.address, **own), entry.notes, frozenset({"port"})))
    return found


def new_host_keys(site: Site, known: KnownHosts, *, where: str) -> list[tuple[Endpoint, HostKey]]:
    """One key of each host that has none pinned here yet. InventoryRefused where one contradicts what is pinned."""
    found: list[tuple[Endpoint, HostKey]] = []
    for one in site.host_keys:
        endpoint = parse_endpoint(f"-@{one.host}" if "@" not in one.host else one.host, user="-")
        words = one.key.split()
        try:
            key = HostKey(words[0], base64.b64decode(words[1], validate=True))
        except (IndexError, ValueError) as error:
            raise InventoryRefused(f"{where}: the host key of {one.host} cannot be read") from error
        here = known.match(endpoint)
        if key in here.keys:
            continue
        if here.keys or key in here.revoked:
            pinned = ", ".join(each.fingerprint for each in here.keys) or "revoked"
            raise InventoryRefused(
                f"{where}: HOST KEY DIFFERS for {one.host}: here {pinned}, there {key.fingerprint}; nothing was taken"
            )
        if endpoint not in {taken for taken, _ in found}:
            found.append((endpoint, key))
    return found
