"""A change of who may sign on a node: one document, signed in a namespace of its own, good for one list of one node.

The document names the node, the SHA-256 of the list as it stands, and what changes. Each change rewrites the first line
of the list with the next number, so that no list comes back and no signed change counts twice.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

from store import signers, signing
from store.signers import AllowedSigner
from store.signing import BUNDLE_NAMESPACE, SignatureRefused, Signer

TRUST_NAMESPACE = "outstation-trust"
FORMAT = "outstation-trust-1"
CHANGE_BYTES_MAX = 16 << 10
_NUMBER = re.compile(r"# outstation trust change (\d{1,9})")


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`line`: a line of allowed_signers to add. `fingerprint`: the key whose lines are removed."""

    format: str
    node_id: str
    base: str
    action: Literal["add", "remove"]
    line: str = ""
    fingerprint: str = ""


class ChangeRefused(Exception):
    """The change does not count. `code` is a key of the protocol's errors."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def digest_of(text: str) -> str:
    """What a change names as its `base`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def change_number(text: str) -> int:
    """How many signed changes made the list what it is."""
    found = _NUMBER.fullmatch(text.partition("\n")[0])
    return int(found[1]) if found else 0


def encode(change: Change) -> bytes:
    """The bytes that are signed."""
    return msgspec.json.encode(change, order="sorted")


def apply(text: str, change_bytes: bytes, signature: bytes, *, node_id: str, at_s: float) -> tuple[str, Change, Signer]:
    """The new list, what changed, and who signed it. Verified before it is parsed. Raises ChangeRefused."""
    try:
        signer = signing.verify(change_bytes, signature, text, namespace=TRUST_NAMESPACE, at_s=at_s)
    except signing.Unsigned as error:
        raise ChangeRefused("TRUST.UNSIGNED", str(error)) from error
    except signing.OtherContent as error:
        raise ChangeRefused("TRUST.MIXED", str(error)) from error
    except (SignatureRefused, signers.SignersRefused) as error:
        raise ChangeRefused("TRUST.SIGNATURE", str(error)) from error
    try:
        change = msgspec.json.decode(change_bytes[: CHANGE_BYTES_MAX + 1], type=Change)
    except msgspec.MsgspecError as error:
        raise ChangeRefused("REQUEST.MALFORMED", f"the change cannot be read: {error}") from error
    if change.format != FORMAT or encode(change) != change_bytes:
        raise ChangeRefused("REQUEST.MALFORMED", f"a change is written as {FORMAT}, in its canonical form")
    if change.node_id != node_id:
        raise ChangeRefused("TRUST.WRONG_NODE", f"the change is for {change.node_id[:64]}, this node is {node_id}")
    if change.base != digest_of(text):
        raise ChangeRefused("TRUST.STALE", "the change was signed for another list than the node has now")
    kept = [line for line in text.splitlines() if not _NUMBER.fullmatch(line)]
    kept = _added(kept, change.line) if change.action == "add" else _removed(kept, change.fingerprint)
    new = "\n".join([f"# outstation trust change {change_number(text) + 1}", *kept, ""])
    _check_left(new)
    return new, change, signer


def _added(lines: list[str], line: str) -> list[str]:
    if "\n" in line or "\r" in line or not line.strip() or line.lstrip().startswith("#"):
        raise ChangeRefused("REQUEST.MALFORMED", "one line of allowed_signers is added at a time")
    if line in lines:
        raise ChangeRefused("REQUEST.MALFORMED", "the list has this line already")
    return [*lines, line]


def _removed(lines: list[str], fingerprint: str) -> list[str]:
    kept = [line for line in lines if not any(s.key.fingerprint == fingerprint for s in signers.parse(line))]
    if len(kept) == len(lines):
        raise ChangeRefused("REQUEST.MALFORMED", f"no line has the key {fingerprint[:80]}")
    return kept


def _check_left(text: str) -> None:
    """A list that nobody can use any more, or change any more, is refused: nobody from afar could repair it."""
    try:
        left: list[AllowedSigner] = signers.parse(text)
    except signers.SignersRefused as error:
        raise ChangeRefused("REQUEST.MALFORMED", str(error)) from error
    for namespace in (BUNDLE_NAMESPACE, TRUST_NAMESPACE):
        if not any(namespace in signer.namespaces for signer in left):
            raise ChangeRefused("TRUST.LAST_SIGNER", f"nobody would be left for {namespace}")
