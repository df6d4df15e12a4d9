"""Who made a capsule, as far as this console can know, and whether the ledgers in it hold together."""

from __future__ import annotations

import time
from dataclasses import dataclass

from console.capsule.content import NodeCapsule
from console.capsule.file import NAMESPACE, Capsule
from console.client.clean import clean
from store import ledger, signing
from store.ledger import Entry, Head
from store.signing import NoSigners, SignatureRefused


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose signature a capsule bears. `known` False: it is whole, and nobody here vouches for who made it."""

    known: bool
    text: str


def maker_of(capsule: Capsule, allowed_signers: str, own_key: str) -> Maker:
    """`allowed_signers` of this console, `own_key` the one it signs its own capsules with. Raises SignersRefused."""
    fingerprint = capsule.signature.key.fingerprint
    lines = [allowed_signers]
    if own_key:
        lines.append(f'this-console namespaces="{NAMESPACE}" {own_key}')
    try:
        signer = signing.verify(
            capsule.manifest_bytes, capsule.signature_bytes, "\n".join(lines), namespace=NAMESPACE, at_s=time.time()
        )
    except (NoSigners, SignatureRefused):
        return Maker(False, f"FOREIGN: signed by {fingerprint}, which is no allowed signer of this console")
    name = "this console" if signer.principal == "this-console" else signer.principal
    return Maker(True, f"signed by {clean(name, 80)}, {fingerprint}")


def chain_of(node: NodeCapsule) -> tuple[bool, str]:
    """Whether the entries of the ledger follow one another and lead to the head, in words. `node` as it was read."""
    if not node.ledger:
        return True, f"no ledger ({clean(node.ledger_verdict, 80) or 'none was fetched'})"
    entries = [Entry(*(getattr(entry, name) for name in Entry._fields)) for entry in node.ledger]
    anchor = Head(entries[0].seq - 1, entries[0].previous)
    altered = set(node.ledger_altered)
    for entry in entries:
        if entry.seq != anchor.seq + 1 or entry.previous != anchor.hash:
            return False, f"entry {entry.seq} does not follow the one before it"
        if entry.seq not in altered and entry.hash != ledger.entry_hash(entry):
            return False, f"entry {entry.seq} is not what its hash says"
        anchor = Head(entry.seq, entry.hash)
    if anchor != Head(*node.ledger_head):
        return False, "the entries do not lead to the head that was verified"
    changed = f", {len(altered)} with text taken out" if altered else ""
    verdict = clean(node.ledger_verdict, 200)
    return verdict == "verified", f"{len(entries)} entries to {anchor.seq} hold together{changed}; then {verdict}"
