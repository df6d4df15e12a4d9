"""Options of `type = "opcua"`: checked without its library, so that a bundle can be built where it is not installed."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.sources.arrays import Kind, leads
from nodeagent.sources.source import SourceOptions, unique

_NODE: Final = re.compile(r"(?:ns=\d{1,5};|nsu=(?P<uri>[^;]+);)?(?P<rest>(?:i=\d{1,10}|[sgb]=.+))", re.DOTALL)


class Tag(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node: "ns=2;s=Pump.Power", "ns=2;i=1001", or by the namespace's name "nsu=urn:plant;s=Pump.Power".

    `kind`: a number; a waveform, of an array of numbers; or an image, of a ByteString. The last two come first.
    """

    name: str
    node: str = ""
    kind: Kind = "number"
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class Security(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`policy` and `mode`; `certificate` and `private_key` (else made once), `server_certificate` to pin; the user."""

    policy: Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = "None"
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    certificate: str | None = None
    private_key: str | None = None
    server_certificate: str | None = None
    username: str | None = None
    password: str | None = None
    user_certificate: str | None = None
    user_key: str | None = None

    def __post_init__(self) -> None:
        for one, other in (("certificate", "private_key"), ("user_certificate", "user_key")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one!r} and {other!r} go together")

    def __repr__(self) -> str:
        return f"Security({self.policy} {self.mode})"  # a password is in no log


class OpcuaOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`subscribe` is told of changes, `poll` reads all at each `every`; both make one sweep each `every`.

    `nodes` is by tag and goes before what the tag says (a binding's). `silence`: when a session that says nothing is
    given up; a subscription is heard to live by the server's own clock, so that a plant at rest is no silence.

    Where the first tag is a waveform or an image, a sweep leaves with each new one, and none twice; after `silence`
    without one it is Bad. `sample_rate`: of the waveform, in Hz.
    """

    url: str
    tags: tuple[Tag, ...]
    read: Literal["subscribe", "poll"] = "subscribe"
    every: Seconds = Seconds(1.0)
    timeout: Seconds = Seconds(4.0)
    silence: Seconds | None = None
    sample_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    security: Security = Security()
    nodes: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "opc.tcp" or not parts.hostname or parts.username:
            raise ValueError(f"{self.url!r} is not an address like opc.tcp://10.0.0.7:4840")
        if self.every <= 0 or self.timeout <= 0:
            raise ValueError("'every' and 'timeout' are longer than nothing")
        unique([tag.name for tag in self.tags], self.nodes)
        leads(self.tags)
        for tag in self.tags:
            try:
                split_node(self.node_of(tag))
            except ValueError as error:
                raise ValueError(f"tag {tag.name!r}: {error}") from error

    def node_of(self, tag: Tag) -> str:
        """The node that `tag` is."""
        return self.nodes.get(tag.name, tag.node)

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return tuple(tag.name for tag in self.tags)


def split_node(node: str) -> tuple[str, str]:
    """The namespace's name, "" where it is a number, and the rest. Raises ValueError."""
    match = _NODE.fullmatch(node)
    if match is None:
        raise ValueError(f"{node!r} is not a node like ns=2;s=Pump.Power, ns=2;i=1001 or nsu=urn:plant;s=Pump.Power")
    return match["uri"] or "", match["rest"]
