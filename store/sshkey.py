"""SSH public keys and their signatures: which are taken, and whether a signature is right.

Formats: RFC 4253 section 6.6 (ssh-rsa), RFC 5656 (ecdsa), RFC 8332 (rsa-sha2-*), RFC 8709 (ed25519), and OpenSSH's
PROTOCOL.u2f (sk-*). Certificates, DSA, ssh-rsa with SHA-1 and RSA below 2048 bits are refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from store.sshwire import Reader, WireError

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 16_384
_TOUCHED = 0x01

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "nistp256": ec.SECP256R1,
    "nistp384": ec.SECP384R1,
    "nistp521": ec.SECP521R1,
}
# By the size of the curve in bits.
ECDSA_HASHES: dict[int, type[hashes.HashAlgorithm]] = {
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}
_RSA_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"rsa-sha2-512": hashes.SHA512, "rsa-sha2-256": hashes.SHA256}


class KeyRefused(Exception):
    """The key or the signature is of a kind or form that is not taken, or the signature is not the key's."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key. `verify(signature, data)` takes an SSH signature blob and raises KeyRefused."""

    type: str
    blob: bytes
    verify: Callable[[bytes, bytes], None]

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: `SHA256:...`."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """The fingerprint of a public key blob."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode("ascii")


def parse(blob: bytes) -> PublicKey:
    """The key in `blob`. KeyRefused: not one of the kinds that are taken, or not in its one form."""
    reader = Reader(blob)
    try:
        type_ = reader.text()
        make = _KINDS.get(type_)
        if make is None:
            raise KeyRefused(f"keys of type {type_[:60]!r} are not taken")
        verify = make(reader, type_)
        reader.end()
    except ValueError as error:
        raise KeyRefused(f"the public key is malformed: {error}") from error
    return PublicKey(type_, blob, verify)


def _ed25519(reader: Reader, type_: str) -> Callable[[bytes, bytes], None]:
    key = ed25519.Ed25519PublicKey.from_public_bytes(reader.string())

    def verify(signature: bytes, data: bytes) -> None:
        with_type = _open(signature, type_)
        value = with_type.string()
        with_type.end()
        key.verify(value, data)

    return _translated(verify)


def _ecdsa(reader: Reader, type_: str) -> Callable[[bytes, bytes], None]:
    key, hash_ = _point(reader, type_.removeprefix("ecdsa-sha2-"))

    def verify(signature: bytes, data: bytes) -> None:
        with_type = _open(signature, type_)
        value = _ecdsa_value(with_type.string())
        with_type.end()
        key.verify(value, data, ec.ECDSA(hash_()))

    return _translated(verify)


def _rsa(reader: Reader, type_: str) -> Callable[[bytes, bytes], None]:
    exponent, modulus = reader.mpint(), reader.mpint()
    if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:
        raise KeyRefused(f"an RSA key of {modulus.bit_length()} bits is not taken; {RSA_BITS_MIN} are the least")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()

    def verify(signature: bytes, data: bytes) -> None:
        with_type = Reader(signature)
        hash_ = _RSA_HASHES.get(with_type.text())
        if hash_ is None:
            raise KeyRefused("an RSA signature must be rsa-sha2-512 or rsa-sha2-256")
        value = with_type.string()
        with_type.end()
        if len(value) != (modulus.bit_length() + 7) // 8:
            raise KeyRefused("the RSA signature has not the length of its key")
        key.verify(value, data, padding.PKCS1v15(), hash_())

    return _translated(verify)


def _sk_ed25519(reader: Reader, type_: str) -> Callable[[bytes, bytes], None]:
    key = ed25519.Ed25519PublicKey.from_public_bytes(reader.string())
    application = reader.string()

    def verify(signature: bytes, data: bytes) -> None:
        with_type = _open(signature, type_)
        value = with_type.string()
        key.verify(value, _token_data(with_type, application, data))

    return _translated(verify)


def _sk_ecdsa(reader: Reader, type_: str) -> Callable[[bytes, bytes], None]:
    key, hash_ = _point(reader, "nistp256")
    application = reader.string()

    def verify(signature: bytes, data: bytes) -> None:
        with_type = _open(signature, type_)
        value = _ecdsa_value(with_type.string())
        key.verify(value, _token_data(with_type, application, data), ec.ECDSA(hash_()))

    return _translated(verify)


_KINDS: dict[str, Callable[[Reader, str], Callable[[bytes, bytes], None]]] = {
    "ssh-ed25519": _ed25519,
    "ecdsa-sha2-nistp256": _ecdsa,
    "ecdsa-sha2-nistp384": _ecdsa,
    "ecdsa-sha2-nistp521": _ecdsa,
    "ssh-rsa": _rsa,
    "sk-ssh-ed25519@openssh.com": _sk_ed25519,
    "sk-ecdsa-sha2-nistp256@openssh.com": _sk_ecdsa,
}


TYPES = frozenset(_KINDS)


def _point(reader: Reader, curve: str) -> tuple[ec.EllipticCurvePublicKey, type[hashes.HashAlgorithm]]:
    if reader.text() != curve:
        raise WireError("the curve is not that of the key's type")
    kind = _CURVES[curve]()
    point = reader.string()
    if point[:1] != b"\x04":
        raise WireError("the point is not in its uncompressed form")
    return ec.EllipticCurvePublicKey.from_encoded_point(kind, point), ECDSA_HASHES[kind.key_size]


def _open(signature: bytes, type_: str) -> Reader:
    reader = Reader(signature)
    if reader.text() != type_:
        raise KeyRefused(f"the signature is not one of a {type_} key")
    return reader


def _ecdsa_value(data: bytes) -> bytes:
    reader = Reader(data)
    r, s = reader.mpint(), reader.mpint()
    reader.end()
    return utils.encode_dss_signature(r, s)


def _token_data(reader: Reader, application: bytes, data: bytes) -> bytes:
    """What a hardware key signed: it vouches for a touch in `flags` and counts its signatures."""
    flags, counter = reader.take(1), reader.take(4)
    reader.end()
    if not flags[0] & _TOUCHED:
        raise KeyRefused("nobody touched the hardware key for this signature")
    return hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(data).digest()


def _translated(verify: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], None]:
    def checked(signature: bytes, data: bytes) -> None:
        try:
            verify(signature, data)
        except InvalidSignature as error:
            raise KeyRefused("the signature is not of this key over this content") from error
        except ValueError as error:
            raise KeyRefused(f"the signature is malformed: {error}") from error

    return checked
