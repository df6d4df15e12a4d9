from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from store import signers
from store.signers import SignersRefused

KEY = (
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    .public_key()
    .public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    .decode()
)
NAMESPACES = 'namespaces="outstation-bundle"'


def test_names_namespaces_and_validity_are_read() -> None:
    line = f'alice@plant,release {NAMESPACES},valid-after="20240229Z",valid-before="202403010830" {KEY} a comment'
    (signer,) = signers.parse(f"# who\n\n{line}\r\n")
    assert signer.principals == ("alice@plant", "release")
    assert signer.namespaces == {"outstation-bundle"}
    assert signer.valid_after_s == 1_709_164_800
    assert signer.valid_before_s is not None
    assert signer.key.type == "ssh-ed25519"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"alice {KEY}", "namespaces"),
        (f'alice namespaces="" {KEY}', "namespaces"),
        (f'alice namespaces="*" {KEY}', "patterns"),
        (f'alice namespaces="git,!x" {KEY}', "patterns"),
        (f"alice namespaces=git {KEY}", "options cannot be read"),
        (f"alice cert-authority,{NAMESPACES} {KEY}", "cert-authority"),
        (f"alice {NAMESPACES},no-touch-required {KEY}", "unknown"),
        (f"alice {NAMESPACES},{NAMESPACES} {KEY}", "twice"),
        (f"alice {NAMESPACES},cert-authority=\"yes\" {KEY}", "malformed"),
        (f'alice {NAMESPACES},valid-before="tomorrow" {KEY}', "not a time"),
        (f'alice {NAMESPACES},valid-before="20241399" {KEY}', "does not match|unconverted|not a time"),
        (f"* {NAMESPACES} {KEY}", "names"),
        (f"alice,!bob {NAMESPACES} {KEY}", "names"),
        (f"alice {NAMESPACES} ssh-ed25519", "key is missing"),
        (f"alice {NAMESPACES} ssh-ed25519 ####", "base64"),
        (f"alice {NAMESPACES} ssh-ed25519 {base64.b64encode(b'short').decode()}", "malformed"),
        (f"alice {NAMESPACES} ecdsa-sha2-nistp256 {KEY.split()[1]}", "not a ecdsa"),
        (f"alice {NAMESPACES}", "options cannot be read"),
        ("alice", "options cannot be read"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_wholly_understood_refuses_the_file_with_its_number(line: str, reason: str) -> None:
    good = f"bob {NAMESPACES} {KEY}\n"
    with pytest.raises(SignersRefused, match=reason) as caught:
        signers.parse(good + line)
    assert caught.value.line == 2


def test_a_key_that_is_cut_or_has_bytes_after_it_is_refused() -> None:
    blob = base64.b64decode(KEY.split()[1])
    for other in (blob[:-1], blob + b"\0"):
        with pytest.raises(SignersRefused):
            signers.parse(f"a {NAMESPACES} ssh-ed25519 {base64.b64encode(other).decode()}")


def test_a_file_past_its_limits_is_refused() -> None:
    with pytest.raises(SignersRefused):
        signers.parse("#\n" * (signers.LINES_MAX + 1))
    with pytest.raises(SignersRefused):
        signers.parse("#" * (signers.FILE_BYTES_MAX + 1))
