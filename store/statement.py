"""A signed statement as one file: a line of JSON, and the SSH signature (SSHSIG, armoured) of that line, its end aside.

Nothing in it is believed before the signature counted; who wrote it and for what is the namespace's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from store import signing
from store.signing import SIGNATURE_BYTES_MAX, SignatureRefused, Signer, Unsigned


class Statement(NamedTuple):
    """A file as it was read: nothing of it is verified yet."""

    document: bytes
    signature: bytes

    def verify(self, allowed_signers: str, *, namespace: str, at_s: float) -> Signer:
        """Who of the allowed signers said so. Raises SignatureRefused kinds, SignersRefused."""
        if not self.signature:
            raise Unsigned("it is not signed")
        return signing.verify(self.document, self.signature, allowed_signers, namespace=namespace, at_s=at_s)


def seal(document: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """The file's bytes. ValueError for a document of more than one line."""
    if b"\n" in document:
        raise ValueError("a statement is one line")
    return document + b"\n" + sign(document)


def read(data: bytes) -> Statement:
    """The two parts; an empty signature is one that was never made. Raises SignatureRefused."""
    document, _, signature = data.partition(b"\n")
    if len(signature) > SIGNATURE_BYTES_MAX:
        raise SignatureRefused(f"a signature has at most {SIGNATURE_BYTES_MAX} bytes")
    return Statement(document, signature)
