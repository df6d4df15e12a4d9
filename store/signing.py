"""SSH signatures (OpenSSH's PROTOCOL.sshsig): made with a key file or an agent's key, checked by a strict reader.

`ssh-keygen -Y verify` accepts whatever is accepted here; not the other way round: the namespace must be exactly ours,
the hash SHA-512, the armour and the encoding the ones that `ssh-keygen -Y sign` writes, a hardware key touched.
There is no switch that turns any of it off.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from store import errors, signers, sshagent, sshkey, sshwire
from store.sshkey import KeyRefused, PublicKey
from store.sshwire import Reader, WireError

BUNDLE_NAMESPACE = "outstation-bundle"
SIGNATURE_BYTES_MAX = 16 << 10
_MAGIC = b"SSHSIG"
_HASH = "sha512"
_BEGIN = b"-----BEGIN SSH SIGNATURE-----\n"
_END = b"-----END SSH SIGNATURE-----\n"
_LINE_CHARACTERS = 70


class SignatureRefused(Exception):
    """The signature does not count; the text says why."""


class NoSigners(SignatureRefused):
    """Nobody may sign for this namespace."""


class Unsigned(SignatureRefused):
    """What should be a signature is none: it was taken off, or was never there."""


class OtherContent(SignatureRefused):
    """An allowed key made the signature, and not of this content: parts of two things were put together."""


class SigningFailed(Exception):
    """The key cannot be read or used; the text says what to do."""


class Signer(NamedTuple):
    """Who signed. `warnings`: what a person should know, such as a key past its validity by the clock."""

    principal: str
    fingerprint: str
    warnings: tuple[str, ...] = ()


class Signature(NamedTuple):
    """What a signature file says, before anything of it is believed."""

    key: PublicKey
    namespace: str
    value: bytes


def verify(
    data: bytes,
    signature_armored: bytes,
    allowed_signers_text: str,
    *,
    namespace: str = BUNDLE_NAMESPACE,
    at_s: float,
) -> Signer:
    """Who of the allowed signers signed `data` for `namespace`. `at_s`, Unix time, only makes warnings.

    Raises NoSigners, SignatureRefused, or signers.SignersRefused for a malformed list.
    """
    allowed = [signer for signer in signers.parse(allowed_signers_text) if namespace in signer.namespaces]
    if not allowed:
        raise NoSigners(f"no allowed signer for {namespace}")
    signature = parse(signature_armored)
    if signature.namespace != namespace:
        raise SignatureRefused(f"the signature is for {signature.namespace[:80]!r}, not for {namespace}")
    signer = next((signer for signer in allowed if signer.key.blob == signature.key.blob), None)
    if signer is None:
        raise SignatureRefused(f"{signature.key.fingerprint} is no allowed signer for {namespace}")
    try:
        signature.key.verify(signature.value, signed_data(data, namespace))
    except KeyRefused as error:
        raise OtherContent(str(error)) from error
    return Signer(",".join(signer.principals), signature.key.fingerprint, _warnings(signer, at_s))


def parse(armored: bytes) -> Signature:
    """What a signature file says. Raises SignatureRefused for anything but the one form of it."""
    if len(armored) > SIGNATURE_BYTES_MAX:
        raise SignatureRefused(f"a signature has at most {SIGNATURE_BYTES_MAX} bytes")
    if not armored.startswith(_BEGIN) or not armored.endswith(_END):
        raise Unsigned("this is not an SSH signature")
    try:
        blob = base64.b64decode(armored[len(_BEGIN) : -len(_END)].replace(b"\n", b""), validate=True)
        reader = Reader(blob)
        if reader.take(len(_MAGIC)) != _MAGIC or reader.uint32() != 1:
            raise SignatureRefused("this is not an SSH signature of version 1")
        key, namespace, reserved = reader.string(), reader.text(), reader.string()
        hash_, value = reader.text(), reader.string()
        reader.end()
    except (binascii.Error, WireError) as error:
        raise SignatureRefused(f"the signature is malformed: {error}") from error
    if _armor(blob) != armored or reserved:
        raise SignatureRefused("the signature is not in the form that ssh-keygen writes")
    if hash_ != _HASH:
        raise SignatureRefused(f"the signature is over a {hash_[:20]} hash; only {_HASH} counts")
    try:
        return Signature(sshkey.parse(key), namespace, value)
    except KeyRefused as error:
        raise SignatureRefused(str(error)) from error


def signed_data(data: bytes, namespace: str) -> bytes:
    """The bytes that the key signs for `data`."""
    digest = hashlib.sha512(data).digest()
    return _MAGIC + sshwire.text(namespace) + sshwire.string(b"") + sshwire.text(_HASH) + sshwire.string(digest)


def sign_with_key_file(
    path: Path, data: bytes, passphrase: str | None = None, *, namespace: str = BUNDLE_NAMESPACE
) -> bytes:
    """The armoured signature of `data` by the private key in `path`. Raises SigningFailed, StoreError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise errors.from_os(error, "read", path) from error
    load = (
        serialization.load_ssh_private_key
        if text.startswith(b"-----BEGIN OPENSSH")
        else serialization.load_pem_private_key
    )
    try:
        key = load(text, passphrase.encode() if passphrase else None)
    except UnsupportedAlgorithm as error:
        raise SigningFailed(f"{path}: a key of this kind signs through ssh-agent; add it with ssh-add") from error
    except (ValueError, TypeError) as error:
        raise SigningFailed(f"{path}: no private key, or a wrong or missing passphrase") from error
    content = signed_data(data, namespace)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return _assemble(base64.b64decode(public.split()[1]), _sign(key, content, path), namespace, data)


def sign_with_agent(
    fingerprint: str, data: bytes, *, agent: Path, namespace: str = BUNDLE_NAMESPACE, timeout_s: float = 120.0
) -> bytes:
    """The armoured signature of `data` by the agent's key with this fingerprint; may wait for a touch.

    `agent` is the path in $SSH_AUTH_SOCK. Raises SigningFailed or sshagent.AgentRefused.
    """
    key = next((key for key in sshagent.keys(agent) if key.fingerprint == fingerprint), None)
    if key is None:
        raise SigningFailed(f"ssh-agent holds no key {fingerprint}; see `ssh-add -l`")
    value = sshagent.sign(agent, key, signed_data(data, namespace), timeout_s=timeout_s)
    return _assemble(key.blob, value, namespace, data)


def _sign(key: object, content: bytes, path: Path) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return sshwire.text("ssh-ed25519") + sshwire.string(key.sign(content))
    if isinstance(key, rsa.RSAPrivateKey):
        value = key.sign(content, padding.PKCS1v15(), hashes.SHA512())
        return sshwire.text("rsa-sha2-512") + sshwire.string(value)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        hash_ = sshkey.ECDSA_HASHES.get(key.key_size)
        if hash_ is not None:
            r, s = utils.decode_dss_signature(key.sign(content, ec.ECDSA(hash_())))
            value = sshwire.mpint(r) + sshwire.mpint(s)
            return sshwire.text(f"ecdsa-sha2-nistp{key.key_size}") + sshwire.string(value)
    raise SigningFailed(f"{path}: keys of this kind are not taken; use ed25519, ecdsa or rsa")


def _assemble(key: bytes, value: bytes, namespace: str, data: bytes) -> bytes:
    """The armoured signature; what our own reader would not take is not given out."""
    fields = (key, namespace.encode("ascii"), b"", _HASH.encode("ascii"), value)
    armored = _armor(_MAGIC + sshwire.uint32(1) + b"".join(sshwire.string(field) for field in fields))
    try:
        parse(armored).key.verify(value, signed_data(data, namespace))
    except (KeyRefused, SignatureRefused) as error:
        raise SigningFailed(f"the key made a signature that no node would take: {error}") from error
    return armored


def _armor(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = (text[at : at + _LINE_CHARACTERS] for at in range(0, len(text), _LINE_CHARACTERS))
    return _BEGIN + b"".join(line + b"\n" for line in lines) + _END


def _warnings(signer: signers.AllowedSigner, at_s: float) -> tuple[str, ...]:
    found = []
    if signer.valid_after_s is not None and at_s < signer.valid_after_s:
        found.append("by the node's clock the signer's key is not valid yet")
    if signer.valid_before_s is not None and at_s >= signer.valid_before_s:
        found.append("by the node's clock the signer's key is past its validity")
    return tuple(found)
