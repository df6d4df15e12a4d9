"""Our strict reader against `ssh-keygen -Y`, the oracle: what we take it takes, and what we make it takes."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from store import signing, sshagent, sshkey, sshwire
from store.signing import NoSigners, SignatureRefused, SigningFailed

NAMESPACE = signing.BUNDLE_NAMESPACE
DATA = b'{"schemaVersion":2}'
KINDS = ["ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-2048", "rsa-3072"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private key of every kind, named by it."""
    folder = tmp_path_factory.mktemp("keys")
    for kind in [*KINDS, "rsa-1024", "other"]:
        type_, _, bits = kind.partition("-") if kind != "other" else ("ed25519", "", "")
        if kind == "rsa-1024":
            weak = rsa.generate_private_key(65537, 1024)
            form = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            (folder / kind).write_bytes(weak.private_bytes(*form))
            public = weak.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            (folder / f"{kind}.pub").write_bytes(public + b"\n")
            continue
        command = ["ssh-keygen", "-q", "-t", type_, *(["-b", bits] if bits else []), "-N", "", "-C", kind]
        subprocess.run([*command, "-f", str(folder / kind)], check=True)
    return folder


def allowed(keys: Path, kind: str, options: str = f'namespaces="{NAMESPACE}"') -> str:
    return f"alice@plant {options} {(keys / f'{kind}.pub').read_text()}"


def keygen_sign(
    keys: Path, kind: str, data: bytes = DATA, *, namespace: str = NAMESPACE, options: tuple[str, ...] = ()
) -> bytes:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", keys / kind, "-n", namespace, *options]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def keygen_takes(folder: Path, data: bytes, signature: bytes, text: str) -> bool:
    (folder / "allowed").write_text(text)
    (folder / "sig").write_bytes(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", folder / "allowed", "-I", "alice@plant", "-n", NAMESPACE]
    return (
        subprocess.run([*command, "-s", folder / "sig"], input=data, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_ssh_keygen_signs_we_take(keys: Path, kind: str) -> None:
    signer = signing.verify(DATA, keygen_sign(keys, kind), allowed(keys, kind), at_s=0)
    told = subprocess.run(["ssh-keygen", "-l", "-f", keys / f"{kind}.pub"], capture_output=True, text=True, check=True)
    assert signer == signing.Signer("alice@plant", told.stdout.split()[1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_sign_ssh_keygen_takes(keys: Path, kind: str, tmp_path: Path) -> None:
    signature = signing.sign_with_key_file(keys / kind, DATA)
    assert keygen_takes(tmp_path, DATA, signature, allowed(keys, kind))
    assert not keygen_takes(tmp_path, DATA + b" ", signature, allowed(keys, kind))


def test_rsa_with_sha_256_is_taken(keys: Path) -> None:
    key = sshkey.parse(base64.b64decode((keys / "rsa-2048.pub").read_text().split()[1]))
    private = load_ssh_private_key((keys / "rsa-2048").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    value = private.sign(signing.signed_data(DATA, NAMESPACE), padding.PKCS1v15(), hashes.SHA256())
    armored = armor(key.blob, sshwire.text("rsa-sha2-256") + sshwire.string(value))
    assert signing.verify(DATA, armored, allowed(keys, "rsa-2048"), at_s=0).principal == "alice@plant"


@pytest.mark.parametrize("text", ["", "# nobody\n", 'eve namespaces="git" '])
def test_without_a_signer_for_bundles_nothing_is_taken(keys: Path, text: str) -> None:
    public = (keys / "ed25519.pub").read_text() if text.endswith(" ") else ""
    with pytest.raises(NoSigners):
        signing.verify(DATA, keygen_sign(keys, "ed25519"), text + public, at_s=0)


def test_another_content_namespace_hash_or_key_is_refused(keys: Path) -> None:
    text = allowed(keys, "ed25519")
    cases = {
        "not of this key over this content": (DATA + b" ", keygen_sign(keys, "ed25519")),
        "is for 'git'": (DATA, keygen_sign(keys, "ed25519", namespace="git")),
        "only sha512": (DATA, keygen_sign(keys, "ed25519", options=("-O", "hashalg=sha256"))),
        "no allowed signer": (DATA, keygen_sign(keys, "other")),
        "not an SSH signature": (DATA, b""),
    }
    for reason, (data, signature) in cases.items():
        with pytest.raises(SignatureRefused, match=reason):
            signing.verify(data, signature, text, at_s=0)


def test_a_signer_for_two_namespaces_signs_for_each_but_not_for_a_third(keys: Path) -> None:
    text = allowed(keys, "ed25519", f'namespaces="git,{NAMESPACE}"')
    signing.verify(DATA, keygen_sign(keys, "ed25519", namespace="git"), text, namespace="git", at_s=0)
    signing.verify(DATA, keygen_sign(keys, "ed25519"), text, at_s=0)
    with pytest.raises(NoSigners):
        signing.verify(DATA, keygen_sign(keys, "ed25519", namespace="x"), text, namespace="x", at_s=0)


def test_an_rsa_key_of_1024_bits_is_refused_as_signer_and_for_signing(keys: Path) -> None:
    with pytest.raises(Exception, match="1024 bits"):
        signing.verify(DATA, keygen_sign(keys, "ed25519"), allowed(keys, "rsa-1024"), at_s=0)
    with pytest.raises(SigningFailed, match="1024 bits"):
        signing.sign_with_key_file(keys / "rsa-1024", DATA)


def test_a_signature_by_a_certificate_is_refused(keys: Path, tmp_path: Path) -> None:
    for name in ("ed25519", "ed25519.pub"):
        (tmp_path / name).write_bytes((keys / name).read_bytes())
        os.chmod(tmp_path / name, 0o600)
    command = ["ssh-keygen", "-q", "-s", keys / "other", "-I", "id", "-n", "alice", tmp_path / "ed25519.pub"]
    subprocess.run(command, check=True)
    signature = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", tmp_path / "ed25519-cert.pub", "-n", NAMESPACE],
        input=DATA, capture_output=True, check=False,
    ).stdout  # fmt: skip
    with pytest.raises(SignatureRefused):
        signing.verify(DATA, signature, allowed(keys, "ed25519"), at_s=0)


def test_validity_by_the_nodes_clock_only_warns(keys: Path) -> None:
    options = f'namespaces="{NAMESPACE}",valid-after="20200101Z",valid-before="20300101000000Z"'
    text, signature = allowed(keys, "ed25519", options), keygen_sign(keys, "ed25519")
    assert signing.verify(DATA, signature, text, at_s=1.7e9).warnings == ()
    assert "not valid yet" in signing.verify(DATA, signature, text, at_s=0).warnings[0]
    assert "past its validity" in signing.verify(DATA, signature, text, at_s=2e9).warnings[0]


def test_a_hardware_key_counts_only_with_a_touch(tmp_path: Path) -> None:
    for make in (token_ed25519, token_ecdsa):
        blob, sign = make()
        type_ = sshwire.Reader(blob).text()
        text = f'alice@plant namespaces="{NAMESPACE}" {type_} {base64.b64encode(blob).decode()}\n'
        touched = armor(blob, sign(signing.signed_data(DATA, NAMESPACE), 1))
        assert signing.verify(DATA, touched, text, at_s=0).fingerprint == sshkey.fingerprint(blob)
        assert keygen_takes(tmp_path, DATA, touched, text)
        with pytest.raises(SignatureRefused, match="touched"):
            signing.verify(DATA, armor(blob, sign(signing.signed_data(DATA, NAMESPACE), 0)), text, at_s=0)


def test_a_number_in_a_longer_form_than_it_needs_is_refused(keys: Path) -> None:
    signature = signing.parse(keygen_sign(keys, "ecdsa-256"))
    reader = sshwire.Reader(signature.value)
    type_, numbers = reader.text(), sshwire.Reader(reader.string())
    r, s = numbers.string(), numbers.string()
    for changed in (sshwire.string(b"\0" + r) + sshwire.string(s), sshwire.string(r) + sshwire.string(b"\0" + s)):
        value = sshwire.text(type_) + sshwire.string(changed)
        with pytest.raises(SignatureRefused, match="shortest"):
            signing.verify(DATA, armor(signature.key.blob, value), allowed(keys, "ecdsa-256"), at_s=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\n" + text,
        lambda text: text.replace(b"U1NI", b"U1N\nI"),
        lambda text: text.replace(b"U1NI", b"U1NI ", 1),
        lambda text: text + b"junk",
    ],
    ids=["no end of line", "empty line", "carriage returns", "leading line", "other wrap", "blank", "junk"],
)
def test_another_spelling_of_the_armour_is_refused(keys: Path, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SignatureRefused):
        signing.parse(change(keygen_sign(keys, "ed25519")))


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-256", "rsa-2048"])
def test_i17_no_mutation_of_a_signature_counts(keys: Path, kind: str) -> None:
    text, signature = allowed(keys, kind), keygen_sign(keys, kind)
    source = random.Random(7)
    for _ in range(1_500):
        with pytest.raises(SignatureRefused):
            signing.verify(DATA, mutated(source, signature), text, at_s=0)


def test_i17_mutations_that_we_take_by_content_ssh_keygen_takes_too(keys: Path, tmp_path: Path) -> None:
    """Mutations below the armour, each in canonical armour again, so that only the content differs."""
    text, signature = allowed(keys, "ecdsa-256"), keygen_sign(keys, "ecdsa-256")
    blob = base64.b64decode(b"".join(signature.splitlines()[1:-1]))
    source = random.Random(11)
    for number in range(1_000):
        changed = signing._armor(mutated(source, blob))
        try:
            signing.verify(DATA, changed, text, at_s=0)
        except SignatureRefused:
            if number % 40 == 0:
                assert not keygen_takes(tmp_path, DATA, changed, text)
            continue
        raise AssertionError(f"mutation {number} counted")


@pytest.fixture
def agent(keys: Path, tmp_path: Path) -> Iterator[Path]:
    """A real ssh-agent that holds every key."""
    path = tmp_path / "agent"
    told = subprocess.run(["ssh-agent", "-s", "-a", path], capture_output=True, text=True, check=True).stdout
    number = int(told.split("SSH_AGENT_PID=")[1].split(";")[0])
    try:
        command = ["ssh-add", "-q", *[keys / kind for kind in KINDS]]
        subprocess.run(command, env=os.environ | {"SSH_AUTH_SOCK": str(path)}, check=True, capture_output=True)
        yield path
    finally:
        os.kill(number, signal.SIGTERM)


def test_keys_of_an_agent_sign_and_ssh_keygen_takes_it(keys: Path, agent: Path, tmp_path: Path) -> None:
    held = sshagent.keys(agent)
    assert [key.comment for key in held] == KINDS
    for key in held:
        signature = signing.sign_with_agent(key.fingerprint, DATA, agent=agent)
        assert keygen_takes(tmp_path, DATA, signature, allowed(keys, key.comment))


def test_an_agent_that_has_not_the_key_or_is_not_there_is_told(agent: Path, tmp_path: Path) -> None:
    with pytest.raises(SigningFailed, match="holds no key"):
        signing.sign_with_agent("SHA256:none", DATA, agent=agent)
    with pytest.raises(sshagent.AgentRefused, match="cannot be asked"):
        signing.sign_with_agent("SHA256:none", DATA, agent=tmp_path / "nowhere")


def test_a_key_file_with_a_passphrase_needs_the_right_one(keys: Path, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-a", "1", "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True)
    text = f'alice@plant namespaces="{NAMESPACE}" {(tmp_path / "key.pub").read_text()}'
    signing.verify(DATA, signing.sign_with_key_file(tmp_path / "key", DATA, "secret"), text, at_s=0)
    for passphrase in (None, "", "wrong"):
        with pytest.raises(SigningFailed, match="passphrase"):
            signing.sign_with_key_file(tmp_path / "key", DATA, passphrase)
    with pytest.raises(SigningFailed):
        signing.sign_with_key_file(tmp_path / "key.pub", DATA)


def armor(key: bytes, value: bytes, namespace: str = NAMESPACE) -> bytes:
    fields = (key, namespace.encode(), b"", b"sha512", value)
    return signing._armor(b"SSHSIG" + sshwire.uint32(1) + b"".join(map(sshwire.string, fields)))


def token_ed25519() -> tuple[bytes, Callable[[bytes, int], bytes]]:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    type_ = "sk-ssh-ed25519@openssh.com"

    def sign(data: bytes, flags: int) -> bytes:
        tail = bytes([flags]) + sshwire.uint32(9)
        signed = hashlib.sha256(b"ssh:").digest() + tail + hashlib.sha256(data).digest()
        return sshwire.text(type_) + sshwire.string(private.sign(signed)) + tail

    return sshwire.text(type_) + sshwire.string(public) + sshwire.text("ssh:"), sign


def token_ecdsa() -> tuple[bytes, Callable[[bytes, int], bytes]]:
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    type_ = "sk-ecdsa-sha2-nistp256@openssh.com"

    def sign(data: bytes, flags: int) -> bytes:
        tail = bytes([flags]) + sshwire.uint32(9)
        signed = hashlib.sha256(b"ssh:").digest() + tail + hashlib.sha256(data).digest()
        r, s = utils.decode_dss_signature(private.sign(signed, ec.ECDSA(hashes.SHA256())))
        return sshwire.text(type_) + sshwire.string(sshwire.mpint(r) + sshwire.mpint(s)) + tail

    return sshwire.text(type_) + sshwire.text("nistp256") + sshwire.string(point) + sshwire.text("ssh:"), sign


def mutated(source: random.Random, data: bytes) -> bytes:
    """`data` with one to three bytes changed, removed, added or swapped; never `data` itself."""
    changed = bytearray(data)
    while bytes(changed) == data:
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(changed))
            kind = source.randrange(4)
            if kind == 0:
                changed[at] ^= 1 << source.randrange(8)
            elif kind == 1:
                del changed[at]
            elif kind == 2:
                changed.insert(at, source.randrange(256))
            else:
                other = source.randrange(len(changed))
                changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed)
