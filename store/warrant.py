"""A person's signed word for one thing on named nodes: a permit to go below the floor, or a second person's approval.

The document names what it is for by its SHA-256, the nodes by their ids, and until when it counts. Each kind is signed
in a namespace of its own, so that allowed_signers says who may give which. A permit counts once on each of its nodes;
an approval until its end. The end fails closed: where the node's clock is before the signing, nobody knows whether the
end is past, and the document does not count.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from store import signers, signing
from store.signing import SignatureRefused, Signer

Kind = Literal["permit", "approval"]
FORMAT: Final = "outstation-warrant-1"
NAMESPACES: Final[dict[Kind, str]] = {"permit": "outstation-permit", "approval": "outstation-approval"}
BYTES_MAX: Final = 32 << 10
NODES_MAX: Final = 500
LIFE_S_MAX: Final = 31 * 86_400
# How far a node's clock may be behind the signer's before the end cannot be judged any more.
CLOCK_S_MAX: Final = 86_400
_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

_Text = Annotated[str, msgspec.Meta(max_length=512)]
_Second = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class Warrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was signed. `subject`: the digest of a bundle's manifest or of a change; `*_s` since the Unix epoch.

    `plan`, `change` and `reason` are for people and for the ledger: a rollout's digest, a change number, why.
    """

    format: str
    kind: Kind
    id: str
    subject: str
    nodes: Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=NODES_MAX)]
    issued_s: _Second
    until_s: _Second
    plan: _Text = ""
    change: _Text = ""
    reason: _Text = ""


class WarrantRefused(Exception):
    """The document does not count here. `code` is a key of the protocol's errors."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def encode(warrant: Warrant) -> bytes:
    """The bytes that are signed. ValueError: it would count nowhere, and why."""
    if (wrong := _malformed(warrant)) is not None:
        raise ValueError(wrong)
    data = msgspec.json.encode(warrant, order="sorted")
    if len(data) > BYTES_MAX:
        raise ValueError(f"it has {len(data)} bytes; at most {BYTES_MAX} count")
    return data


def read(data: bytes) -> Warrant:
    """What a document says, whoever signed it. Raises WarrantRefused."""
    if len(data) > BYTES_MAX:
        raise WarrantRefused("REQUEST.MALFORMED", f"more than {BYTES_MAX} bytes")
    try:
        warrant = msgspec.json.decode(data, type=Warrant)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WarrantRefused("REQUEST.MALFORMED", f"it cannot be read: {error}") from error
    if (wrong := _malformed(warrant)) is not None:
        raise WarrantRefused("REQUEST.MALFORMED", wrong)
    if msgspec.json.encode(warrant, order="sorted") != data:
        raise WarrantRefused("REQUEST.MALFORMED", "it is not in its canonical form")
    return warrant


def verify(
    kind: Kind, data: bytes, signature: bytes, allowed_signers: str, *, node_id: str, subject: str, at_s: float
) -> tuple[Warrant, Signer]:
    """The warrant and who gave it, if it counts on this node, now, for `subject`. Verified before it is parsed.

    Whether it was used before is for the caller to ask, in the transaction that uses it. Raises WarrantRefused.
    """
    namespace = NAMESPACES[kind]
    try:
        signer = signing.verify(data, signature, allowed_signers, namespace=namespace, at_s=at_s)
    except signing.Unsigned as error:
        raise WarrantRefused("TRUST.UNSIGNED", f"the {kind} bears no signature: {error}") from error
    except signing.OtherContent as error:
        raise WarrantRefused("TRUST.MIXED", f"the signature is of something else than this {kind}") from error
    except (SignatureRefused, signers.SignersRefused) as error:
        raise WarrantRefused("TRUST.SIGNATURE", f"the {kind} does not count: {error}") from error
    warrant = read(data)
    if warrant.kind != kind:
        raise WarrantRefused("TRUST.SIGNATURE", f"it is a {warrant.kind}, and a {kind} is needed")
    if node_id not in warrant.nodes:
        raise WarrantRefused("TRUST.WRONG_NODE", f"the {kind} is not for this node, {node_id}")
    if warrant.subject != subject:
        raise WarrantRefused("TRUST.MIXED", f"the {kind} is for {warrant.subject[:19]}..., not for {subject[:19]}...")
    if at_s > warrant.until_s:
        raise WarrantRefused(
            "TRUST.EXPIRED", f"by the node's clock the {kind} ended {_ago(at_s - warrant.until_s)} ago"
        )
    if at_s < warrant.issued_s - CLOCK_S_MAX:
        late = _ago(warrant.issued_s - at_s)
        raise WarrantRefused("TRUST.EXPIRED", f"the node's clock is {late} before the {kind} was signed: set it first")
    return warrant, signer


def _malformed(warrant: Warrant) -> str | None:
    if warrant.format != FORMAT:
        return f"its format is {warrant.format[:40]!r}, not {FORMAT}"
    if not _ID.fullmatch(warrant.id) or not _DIGEST.fullmatch(warrant.subject):
        return "its id or its subject is not what it should be"
    if not 0 < warrant.until_s - warrant.issued_s <= LIFE_S_MAX:
        return f"it ends {LIFE_S_MAX // 86_400} days after it is signed at the latest, and not before"
    if len(set(warrant.nodes)) != len(warrant.nodes):
        return "a node is named twice"
    return None


def _ago(seconds: float) -> str:
    return f"{seconds / 86_400:.0f} days" if seconds > 2 * 86_400 else f"{seconds / 60:.0f} min"
