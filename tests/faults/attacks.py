"""Named attacks on what a node lets in, each with the code that it is refused for.

The list follows python-tuf's (issue 1640) and what was found in updaters since: stripped, mixed, replayed, rolled back,
fast-forwarded, for another purpose, for another node, and documents that two readers would read differently.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import onnx
from onnx import TensorProto, external_data_helper

from store import signing, sshwire
from tests.faults.attack_desk import Desk, Desks

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


class Attack(NamedTuple):
    """`code` refuses it. `oracle`: whether ssh-keygen counts the signature; where it does our rule is the stricter."""

    name: str
    code: str
    act: Callable[[Desk], Any]
    oracle: bool = True


def run(desks: Desks, chosen: Sequence[Attack] = ()) -> tuple[int, list[str]]:
    """How many were tried (all of them, or the chosen), and which went another way than they should."""
    wrong = []
    for attack in chosen or ATTACKS:
        with desks.fresh() as desk:
            if (twin := desk.stage("twin")) != "STAGED" or not desk.ssh_keygen_takes():
                wrong.append(f"{attack.name}: the twin is {twin}")
            attack.act(desk)
            if (code := desk.stage("attack")) != attack.code:
                wrong.append(f"{attack.name}: {code}, not {attack.code}")
            if (taken := desk.ssh_keygen_takes()) != attack.oracle:
                wrong.append(f"{attack.name}: ssh-keygen {'takes' if taken else 'refuses'} the signature")
    return len(chosen or ATTACKS), wrong


# ------------------------------------------------------------------ signatures


def _fields(desk: Desk) -> list[bytes]:
    """magic+version, key, namespace, reserved, hash, value of the signature."""
    body = b"".join(desk.signature.split(b"\n")[1:-2])
    blob, at, fields = base64.b64decode(body), 10, []
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4])
        fields.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return [blob[:10], *fields]


def _signature(desk: Desk, change: Callable[[list[bytes]], None], *, tail: bytes = b"") -> None:
    fields = _fields(desk)
    change(fields)
    blob = fields[0] + b"".join(sshwire.string(field) for field in fields[1:]) + tail
    desk.signature = signing._armor(blob)


def _field(number: int, new: Callable[[bytes], bytes]) -> Callable[[Desk], None]:
    return lambda desk: _signature(desk, lambda fields: fields.__setitem__(number, new(fields[number])))


def _value(new: Callable[[bytes], bytes]) -> Callable[[Desk], None]:
    """The 64 bytes of an ed25519 signature, changed."""
    return _field(5, lambda value: sshwire.text("ssh-ed25519") + sshwire.string(new(value[-64:])))


def _more(value: bytes) -> bytes:
    """S + L: the same point, which a lax reader takes for another signature of the same."""
    return value[:32] + (int.from_bytes(value[32:], "little") + ED25519_ORDER).to_bytes(32, "little")


def _text(new: Callable[[bytes], bytes]) -> Callable[[Desk], None]:
    return lambda desk: setattr(desk, "signature", new(desk.signature))


def _purpose(namespace: str) -> Callable[[Desk], None]:
    def act(desk: Desk) -> None:
        desk.signature = signing.sign_with_key_file(desk.key, desk.manifest, namespace=namespace)

    return act


def _keygen(*options: str) -> Callable[[Desk], None]:
    def act(desk: Desk) -> None:
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", desk.key, "-n", signing.BUNDLE_NAMESPACE, *options]
        desk.key.chmod(0o600)
        desk.signature = subprocess.run(command, input=desk.manifest, check=True, capture_output=True).stdout

    return act


def _rewrapped(signature: bytes) -> bytes:
    lines = signature.split(b"\n")
    body = b"".join(lines[1:-2])
    return b"\n".join([lines[0], *(body[at : at + 76] for at in range(0, len(body), 76)), *lines[-2:]])


SIGNATURES = [
    Attack("stripped", "TRUST.UNSIGNED", _text(lambda _: b""), False),
    Attack("words instead of a signature", "TRUST.UNSIGNED", _text(lambda _: b"signed by the release team\n"), False),
    Attack("a PGP signature", "TRUST.UNSIGNED", _text(lambda s: s.replace(b"SSH", b"PGP")), False),
    Attack("no last line", "TRUST.UNSIGNED", _text(lambda s: s[: s.index(b"-----END")]), False),
    Attack("words behind the signature", "TRUST.UNSIGNED", _text(lambda s: s + b"approved\n")),
    Attack("a line before the signature", "TRUST.UNSIGNED", _text(lambda s: b"\n" + s), False),
    Attack("lines ended as on Windows", "TRUST.UNSIGNED", _text(lambda s: s.replace(b"\n", b"\r\n")), False),
    Attack("lines of another length", "TRUST.SIGNATURE", _text(_rewrapped)),
    Attack("an empty line within", "TRUST.SIGNATURE", _text(lambda s: s.replace(b"\n", b"\n\n", 2))),
    Attack("cut in the middle", "TRUST.SIGNATURE", _text(lambda s: s[:90] + s[s.index(b"\n-----END") :]), False),
    Attack("too long", "BUNDLE.MALFORMED", _text(lambda s: s[:-1] + b"\n" * (60 << 10) + s[-30:])),
    Attack("another version", "TRUST.SIGNATURE", _field(0, lambda m: m[:-1] + b"\2"), False),
    Attack("another magic", "TRUST.SIGNATURE", _field(0, lambda m: b"SSHSIH" + m[6:]), False),
    Attack("something in the reserved field", "TRUST.SIGNATURE", _field(3, lambda _: b"x")),
    Attack(
        "fields behind the last", "TRUST.SIGNATURE", lambda d: _signature(d, lambda _: None, tail=b"\0\0\0\1x"), False
    ),
    Attack("an unknown hash", "TRUST.SIGNATURE", _field(4, lambda _: b"md5"), False),
    Attack("a hash that is only said", "TRUST.SIGNATURE", _field(4, lambda _: b"sha256"), False),
    Attack("a real SHA-256 signature", "TRUST.SIGNATURE", _keygen("-O", "hashalg=sha256")),
    Attack("for a file", "TRUST.SIGNATURE", _purpose("file"), False),
    Attack("for git", "TRUST.SIGNATURE", _purpose("git"), False),
    Attack("for trust", "TRUST.SIGNATURE", _purpose("outstation-trust"), False),
    Attack("for bundles, in capitals", "TRUST.SIGNATURE", _purpose("OUTSTATION-BUNDLE"), False),
    Attack("for bundles and more", "TRUST.SIGNATURE", _purpose("outstation-bundle,git"), False),
    Attack(
        "the purpose is only said",
        "TRUST.MIXED",
        lambda d: (_purpose("git")(d), _field(2, lambda _: b"outstation-bundle")(d)),
        False,
    ),
    Attack("a stranger's", "TRUST.SIGNATURE", lambda d: d.signed(d.manifest, d.stranger), False),
    Attack("a stranger's under our key", "TRUST.MIXED", lambda d: _strangers(d), False),
    Attack("of a key of zeros", "TRUST.SIGNATURE", _field(1, lambda k: k[:-32] + bytes(32)), False),
    Attack(
        "of a key of another kind", "TRUST.SIGNATURE", _field(1, lambda k: k.replace(b"ed25519", b"ed25518")), False
    ),
    Attack("one bit of it", "TRUST.MIXED", _value(lambda v: bytes([v[0] ^ 1]) + v[1:]), False),
    Attack("a value of zeros", "TRUST.MIXED", _value(lambda _: bytes(64)), False),
    Attack("a value that is cut", "TRUST.MIXED", _value(lambda v: v[:-1]), False),
    Attack("a value that is doubled", "TRUST.MIXED", _value(lambda v: v + v), False),
    Attack("a value made larger by the order", "TRUST.MIXED", _value(_more)),
    Attack("of another bundle", "TRUST.MIXED", lambda d: setattr(d, "signature", d.other[1]), False),
    Attack("of the manifest and a line", "TRUST.MIXED", lambda d: _of(d, d.manifest + b"\n"), False),
    Attack("of the manifest's digest", "TRUST.MIXED", lambda d: _of(d, hashlib.sha256(d.manifest).digest()), False),
]


def _of(desk: Desk, data: bytes) -> None:
    desk.signature = signing.sign_with_key_file(desk.key, data)


def _strangers(desk: Desk) -> None:
    ours = _fields(desk)[1]
    desk.signed(desk.manifest, desk.stranger)
    _field(1, lambda _: ours)(desk)


# ------------------------------------------------------------------ who is allowed


def _list(new: Callable[[str], str | bytes | None]) -> Callable[[Desk], None]:
    def act(desk: Desk) -> None:
        text = new(desk.signers.read_text())
        desk.signers.unlink()
        if text is not None:
            desk.signers.write_bytes(text.encode() if isinstance(text, str) else text)

    return act


def _options(options: str) -> Callable[[Desk], None]:
    return _list(lambda text: text.replace('namespaces="outstation-bundle"', options))


LISTS = [
    Attack("no list", "TRUST.NO_SIGNERS", _list(lambda _: None), False),
    Attack("an empty list", "TRUST.NO_SIGNERS", _list(lambda _: ""), False),
    Attack("the signer commented out", "TRUST.NO_SIGNERS", _list(lambda text: "# " + text), False),
    Attack("the signer for git only", "TRUST.NO_SIGNERS", _options('namespaces="git"'), False),
    Attack("the signer for everything", "TRUST.SIGNATURE", _options("")),
    Attack(
        "an authority instead of a key",
        "TRUST.SIGNATURE",
        _options('cert-authority namespaces="outstation-bundle"'),
        False,
    ),
    Attack("an option that nobody knows", "TRUST.SIGNATURE", _options('namespaces="outstation-bundle" sudo'), False),
    Attack("a quote that does not end", "TRUST.SIGNATURE", _options('namespaces="outstation-bundle'), False),
    Attack("a list that is no text", "TRUST.SIGNATURE", _list(lambda text: b"\xff\xfe" + text.encode()), False),
    Attack("a key that is cut", "TRUST.SIGNATURE", _list(lambda text: text[:-20] + "\n"), False),
    Attack("the stranger's key in place", "TRUST.SIGNATURE", lambda d: _replace_key(d), False),
]


def _replace_key(desk: Desk) -> None:
    public = desk.stranger.with_suffix(".pub").read_text()
    desk.signers.write_text(f'release namespaces="outstation-bundle" {public}')


# ------------------------------------------------------------------ documents, signed by the right key


def _manifest(change: Callable[[Any], Any]) -> Callable[[Desk], None]:
    """The manifest as a document, changed in place or returned anew."""

    def act(desk: Desk) -> None:
        told = desk.told()
        new = change(told)
        desk.signed(told if new is None else new)

    return act


def _raw(new: Callable[[bytes], bytes]) -> Callable[[Desk], None]:
    return lambda desk: desk.signed(new(desk.manifest))


def _layer(number: int, **changes: Any) -> Callable[[Desk], None]:
    return _manifest(lambda told: told["layers"][number].update(changes))


MALFORMED = "BUNDLE.MALFORMED"
DOCUMENTS = [
    Attack("not JSON", MALFORMED, _raw(lambda _: b"{manifest")),
    Attack("an array", MALFORMED, _raw(lambda m: b"[" + m + b"]")),
    Attack("bytes that are no text", MALFORMED, _raw(lambda m: m.replace(b"press", b"pr\xffss"))),
    Attack("a name twice", MALFORMED, _raw(lambda m: m[:-1] + b',"schemaVersion":2}')),
    Attack("spaces between", MALFORMED, _raw(lambda m: m.replace(b",", b", "))),
    Attack("bytes behind the end", MALFORMED, _raw(lambda m: m + b" ")),
    Attack("a number with a point", MALFORMED, _raw(lambda m: m.replace(b'"schemaVersion":2', b'"schemaVersion":2.0'))),
    Attack("an escape for a letter", MALFORMED, _raw(lambda m: m.replace(b'"press"', b'"\\u0070ress"'))),
    Attack("ten thousand brackets", MALFORMED, _raw(lambda _: b"[" * 10_000)),
    Attack("a field that nobody knows", MALFORMED, _manifest(lambda told: told.update(urls=["http://x"]))),
    Attack("a path for a digest", MALFORMED, _layer(0, digest="sha256:../../../etc/passwd")),
    Attack(
        "a digest in capitals",
        MALFORMED,
        _manifest(lambda t: t["layers"][0].update(digest=t["layers"][0]["digest"].upper())),
    ),
    Attack("a digest of another kind", MALFORMED, _layer(0, digest="md5:" + "0" * 32)),
    Attack("fewer than no bytes", MALFORMED, _layer(0, size=-1)),
    Attack("2^63 bytes", MALFORMED, _layer(0, size=2**63)),
    Attack("more bytes than are taken", MALFORMED, _layer(1, size=10**12)),
    Attack("no layers", MALFORMED, _manifest(lambda told: told["layers"].clear())),
    Attack("no model", MALFORMED, _manifest(lambda told: told["layers"].pop(1))),
    Attack("two models", MALFORMED, _manifest(lambda told: told["layers"].append(told["layers"][1]))),
    Attack("a layer of another kind", MALFORMED, _layer(1, mediaType="application/x-sh")),
    Attack(
        "an image instead of a bundle",
        MALFORMED,
        _manifest(lambda t: t.update(artifactType="application/vnd.oci.image")),
    ),
    Attack("a signature instead of a bundle", MALFORMED, _manifest(lambda told: told.update(subject=told["config"]))),
    Attack("another bundle's model under these facts", MALFORMED, lambda d: _mixed(d, 1)),
    Attack("another bundle's facts over this model", MALFORMED, lambda d: _mixed(d, 0)),
    Attack("another title", MALFORMED, _raw(lambda m: m.replace(b'"press"', b'"lathe"'))),
    Attack("facts of another model", MALFORMED, lambda d: d.facts(model_digest="sha256:" + "0" * 64)),
    Attack("facts with another opset", MALFORMED, lambda d: d.facts(opsets={"": 9})),
    Attack("facts with fewer operators", MALFORMED, lambda d: d.facts(operators=[])),
    Attack("facts with a field that nobody knows", MALFORMED, lambda d: d.facts(run="/bin/sh")),
    Attack("facts with a path for a name", MALFORMED, lambda d: d.facts(name="../press")),
    Attack("a model that is none", "BUNDLE.MODEL_REFUSED", lambda d: _model(d, b"\x7fELF" * 99)),
    Attack("a model that reads a file", "BUNDLE.MODEL_REFUSED", lambda d: _model(d, _external(d))),
    Attack("a model that is cut", "BUNDLE.MODEL_REFUSED", lambda d: _model(d, _the_model(d)[:-7])),
    Attack(
        "a pipeline with a word that nobody knows",
        "BUNDLE.PIPELINE",
        lambda d: d.content("pipeline", b"schema = 1\nrun = 'x'\n"),
    ),
    Attack("a pipeline that is no text", "BUNDLE.PIPELINE", lambda d: d.content("pipeline", b"\xff\xfe")),
    Attack("a blob changed on the disk", "BLOB.MISMATCH", lambda d: d.stored.update(_flipped(d))),
]


def _mixed(desk: Desk, layer: int) -> None:
    told, other = desk.told(), json.loads(desk.other[0])
    told["layers"][layer] = other["layers"][layer]
    desk.blobs |= desk.other[2]
    desk.signed(told)


def _the_model(desk: Desk) -> bytes:
    return desk.blobs[desk.told()["layers"][1]["digest"]]


def _model(desk: Desk, data: bytes) -> None:
    desk.content("model", data, model_bytes=len(data))


def _external(desk: Desk) -> bytes:
    model = onnx.load_from_string(_the_model(desk))
    tensor = model.graph.initializer[0]
    external_data_helper.set_external_data(tensor, location="../../allowed_signers", offset=0, length=4)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return bytes(model.SerializeToString())


def _flipped(desk: Desk) -> dict[str, bytes]:
    digest = desk.told()["layers"][1]["digest"]
    return {digest: bytes([desk.blobs[digest][0] ^ 1]) + desk.blobs[digest][1:]}


# ------------------------------------------------------------------ the right bundle at the wrong place or time

PLACES = [
    Attack("an older sequence", "TRUST.ROLLBACK", lambda d: d.floor(1, 21)),
    Attack("an older epoch", "TRUST.ROLLBACK", lambda d: d.floor(2, 0)),
    Attack("a far higher sequence", "TRUST.FAST_FORWARD", lambda d: (d.floor(1, 1), d.facts(sequence=10_002))),
    Attack("the highest sequence", "TRUST.FAST_FORWARD", lambda d: (d.floor(1, 1), d.facts(sequence=2**31))),
    Attack("two epochs on", "TRUST.FAST_FORWARD", lambda d: (d.floor(1, 1), d.facts(epoch=3))),
    Attack("for another node", "TRUST.WRONG_NODE", lambda d: d.facts(target={"node_id": "node-2"})),
    Attack("for another name", "TRUST.WRONG_NODE", lambda d: d.facts(target={"name": "press-08"})),
    Attack("for another site", "TRUST.WRONG_NODE", lambda d: d.facts(target={"node_id": "node-1", "site": "hall-3"})),
    Attack("for a label that this node lacks", "TRUST.WRONG_NODE", lambda d: d.facts(target={"line": "4"})),
    Attack(
        "under the id of another deployment",
        "DEPLOYMENT.STATE",
        lambda d: (d.facts(sequence=22), d.request.update(id="twin")),
    ),
    Attack("a path for the manifest", "REQUEST.MALFORMED", lambda d: d.request.update(manifest="sha256:../../node.db")),
    Attack("a name for the signature", "REQUEST.MALFORMED", lambda d: d.request.update(signature="release.sig")),
    Attack("an id without end", "REQUEST.MALFORMED", lambda d: d.request.update(id="x" * 5_000)),
]

ATTACKS = [*SIGNATURES, *LISTS, *DOCUMENTS, *PLACES]
