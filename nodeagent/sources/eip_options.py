"""Options of `type = "eip"`: checked without its library, so that a bundle can be built where it is not installed."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from nodeagent.sources.polled import PolledTag, PollOptions
from nodeagent.sources.source import unique

PORT = 44818


class Endpoint(NamedTuple):
    """Where a controller is; `slot` of its processor."""

    host: str
    port: int
    slot: int


class Tag(PolledTag, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value: `tag` in the controller, like Program:Main.Power or Line[3].Speed."""

    tag: str = ""


class EipOptions(PollOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`url`: eip://HOST[:PORT]?slot=0. `controller_tags` is by tag and goes before what the tag says (a binding's)."""

    tags: tuple[Tag, ...]
    controller_tags: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        unique([tag.name for tag in self.tags], self.controller_tags)
        endpoint(self.url)
        for tag, word in zip(self.tags, self.wanted(), strict=True):
            if not word:
                raise ValueError(f"the tag {tag.name!r} has no tag of the controller, here or in the binding")

    def wanted(self) -> list[str]:
        """The controller's own names, in order."""
        return [self.controller_tags.get(tag.name, tag.tag) for tag in self.tags]

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return tuple(tag.name for tag in self.tags)


def endpoint(url: str) -> Endpoint:
    """Reads an address. Raises ValueError."""
    parts = urlsplit(url)
    words = dict(parse_qsl(parts.query))
    if parts.scheme != "eip" or not parts.hostname or parts.path not in ("", "/") or set(words) - {"slot"}:
        raise ValueError(f"{url!r} is not an address like eip://10.0.0.9?slot=0")
    try:
        return Endpoint(parts.hostname, parts.port or PORT, int(words.get("slot", "0")))
    except ValueError:
        raise ValueError(f"{url!r}: port and slot are numbers") from None
