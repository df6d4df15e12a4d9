"""Options of `type = "s7"`: checked without its library, so that a bundle can be built where it is not installed."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from nodeagent.sources.polled import PolledTag, PollOptions
from nodeagent.sources.s7_address import Place, place
from nodeagent.sources.source import unique

PORT = 102


class Endpoint(NamedTuple):
    """Where a controller is."""

    host: str
    port: int
    rack: int
    slot: int


class Tag(PolledTag, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value: `address` like DB1.DBD4; `type` where it is not the usual one of that size."""

    address: str = ""
    type: str = ""


class S7Options(PollOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`url`: s7://HOST[:PORT]?rack=0&slot=1. `addresses` is by tag and goes before what the tag says (a binding's).

    Items that lie within `max_gap` bytes of each other are read in one request.
    """

    tags: tuple[Tag, ...]
    addresses: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        unique([tag.name for tag in self.tags], self.addresses)
        endpoint(self.url)
        self.places()

    def places(self) -> list[Place]:
        """Where each tag lies. Raises ValueError naming the tag."""
        found = []
        for tag in self.tags:
            try:
                found.append(place(self.addresses.get(tag.name, tag.address), tag.type))
            except ValueError as error:
                raise ValueError(f"tag {tag.name!r}: {error}") from error
        return found

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return tuple(tag.name for tag in self.tags)


def endpoint(url: str) -> Endpoint:
    """Reads an address. Raises ValueError."""
    parts = urlsplit(url)
    words = dict(parse_qsl(parts.query))
    if parts.scheme != "s7" or not parts.hostname or parts.path not in ("", "/") or set(words) - {"rack", "slot"}:
        raise ValueError(f"{url!r} is not an address like s7://10.0.0.8:102?rack=0&slot=1")
    try:
        return Endpoint(parts.hostname, parts.port or PORT, int(words.get("rack", "0")), int(words.get("slot", "1")))
    except ValueError:
        raise ValueError(f"{url!r}: port, rack and slot are numbers") from None
