"""Intake: the order of hashing, signature, parsing; what it refuses; how it dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from onnx import TensorProto, helper

from nodeagent.deployment import intake
from nodeagent.deployment.verifier import Job, Verdict, Verifier
from nodeagent.http.message import HttpError
from nodeagent.model import onnx_walk
from store import archive, builder, signing
from store.blobs import Blobs
from store.bundle import ModelFacts, TensorSpec


class Desk:
    """A state folder with allowed signers, and a signed bundle in pieces."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.blobs = Blobs(self.state)
        self.blobs.create()
        self.key, public = make_key(folder / "key")
        (self.state / "allowed_signers").write_text(f'release namespaces="outstation-bundle" {public}\n')
        self.source = folder / "source"
        self.source.mkdir()
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
        graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value], [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, str(self.source / "model.onnx"))
        np.savez(
            self.source / "golden.npz", **{"input.x": np.ones((1, 1, 1), "f4"), "output.y": -np.ones((1, 1, 1), "f4")}
        )
        (self.source / "bundle.toml").write_text(
            'name = "press"\nversion = "1"\nsequence = 1\n[files]\npipeline = ""\nbaseline = ""\n'
        )
        self.signature = ""
        self.manifest = ""

    def fill(self, *, leave_out: str = "", sign_key: Path | None = None) -> None:
        """Builds, signs and stores all blobs but the one of the role `leave_out`."""
        builder.build(self.source, self.source / "b.ostn", facts_from_model)
        with archive.read_archive(self.source / "b.ostn") as opened:
            self.manifest = self.blobs.put(opened.manifest_bytes)
            signed = signing.sign_with_key_file(sign_key or self.key, opened.manifest_bytes)
            self.signature = self.blobs.put(signed)
            absent = opened.manifest.layer(leave_out) if leave_out else None  # type: ignore[arg-type]
            for digest in opened.blobs:
                if absent is None or digest != absent.digest:
                    self.blobs.put(opened.open_blob(digest).read())
            self.digests = {layer.media_type: layer.digest for layer in opened.manifest.layers}

    def examine(self, *, content: bool = True) -> Verdict:
        return intake.examine(self.job(content=content))

    def job(self, *, content: bool = True) -> Job:
        return Job(state=str(self.state), manifest=self.manifest, signature=self.signature, at_s=1.8e9, content=content)


def make_key(path: Path) -> tuple[Path, str]:
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return path, public.decode()


def facts_from_model(model: bytes) -> ModelFacts:
    found = onnx_walk.walk_bytes(model)
    specs = [
        [TensorSpec(tensor.name, tensor.datatype, list(tensor.shape or ())) for tensor in side]
        for side in (found.inputs, found.outputs)
    ]
    return ModelFacts(
        ir_version=found.ir_version, opsets=found.opsets, operators=found.operators, inputs=specs[0], outputs=specs[1]
    )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_whole_signed_bundle_is_known_by_its_signer_and_facts(desk: Desk) -> None:
    desk.fill()
    verdict = desk.examine()
    assert (verdict.code, verdict.bundle, verdict.version) == ("", "press", "1")
    assert verdict.signer.startswith("release SHA256:")
    assert verdict.facts is not None
    assert len(verdict.blobs) == 4


def test_before_the_facts_are_here_it_says_what_the_manifest_needs(desk: Desk) -> None:
    desk.fill(leave_out="facts")
    verdict = desk.examine(content=False)
    assert (verdict.code, verdict.facts) == ("", None)
    assert len(verdict.blobs) == 4


def test_i17_nothing_is_parsed_before_the_signature_counts(desk: Desk, tmp_path: Path) -> None:
    """I17: a manifest that is no manifest is refused for its signature, not for its content."""
    stranger, _ = make_key(tmp_path / "stranger")
    rubbish = b"{not a manifest"
    desk.manifest = desk.blobs.put(rubbish)
    desk.signature = desk.blobs.put(signing.sign_with_key_file(stranger, rubbish))
    assert desk.examine().code == "TRUST.SIGNATURE"
    desk.signature = desk.blobs.put(signing.sign_with_key_file(desk.key, rubbish))
    assert desk.examine().code == "BUNDLE.MALFORMED"


@pytest.mark.parametrize("namespace", ["file", "git", "outstation"])
def test_a_signature_for_another_purpose_does_not_count(desk: Desk, namespace: str) -> None:
    desk.fill()
    data = desk.blobs.read(desk.manifest, bytes_max=1 << 20)
    desk.signature = desk.blobs.put(signing.sign_with_key_file(desk.key, data, namespace=namespace))
    assert desk.examine().code == "TRUST.SIGNATURE"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "TRUST.NO_SIGNERS"),
        ("# nobody\n", "TRUST.NO_SIGNERS"),
        ("release ssh-ed25519 AAAA\n", "TRUST.SIGNATURE"),
    ],
)
def test_without_usable_signers_everything_is_refused(desk: Desk, text: str | None, code: str) -> None:
    desk.fill()
    path = desk.state / "allowed_signers"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert desk.examine().code == code


def test_a_flipped_bit_in_any_blob_is_found_before_the_model_is_walked(desk: Desk) -> None:
    desk.fill()
    for digest in desk.digests.values():
        path = desk.blobs.path(digest)
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert desk.examine().code == "BLOB.MISMATCH"
        path.write_bytes(whole)
    assert desk.examine().code == ""


def test_a_missing_blob_is_named_and_is_no_fault_of_the_bundle(desk: Desk) -> None:
    desk.fill(leave_out="model")
    assert desk.examine().code == "DEPLOYMENT.MISSING_BLOBS"


def test_facts_that_say_other_than_the_model_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fill()
    honest = desk.examine()
    assert honest.code == ""
    model = onnx.load(str(desk.source / "model.onnx"))
    facts = facts_from_model((desk.source / "model.onnx").read_bytes())
    model.graph.node[0].op_type = "Abs"
    onnx.save(model, str(desk.source / "model.onnx"))
    builder.build(desk.source, desk.source / "b.ostn", lambda _: facts)
    with archive.read_archive(desk.source / "b.ostn") as opened:
        desk.manifest = desk.blobs.put(opened.manifest_bytes)
        desk.signature = desk.blobs.put(signing.sign_with_key_file(desk.key, opened.manifest_bytes))
        for digest in opened.blobs:
            desk.blobs.put(opened.open_blob(digest).read())
    assert desk.examine().code == "BUNDLE.MALFORMED"


def test_a_model_that_must_not_be_loaded_is_refused(desk: Desk) -> None:
    facts = facts_from_model((desk.source / "model.onnx").read_bytes())
    (desk.source / "model.onnx").write_bytes(b"\x08\x08" + b"\xff" * 40)
    builder.build(desk.source, desk.source / "b.ostn", lambda _: facts)
    with archive.read_archive(desk.source / "b.ostn") as opened:
        desk.manifest = desk.blobs.put(opened.manifest_bytes)
        desk.signature = desk.blobs.put(signing.sign_with_key_file(desk.key, opened.manifest_bytes))
        for digest in opened.blobs:
            desk.blobs.put(opened.open_blob(digest).read())
    assert desk.examine().code == "BUNDLE.MODEL_REFUSED"


def test_the_process_gives_the_same_verdict_under_its_limits(desk: Desk) -> None:
    desk.fill()

    async def ask() -> Verdict:
        return await Verifier(desk.state).verify(desk.manifest, desk.signature, content=True, at_s=1.8e9)

    assert asyncio.run(ask()) == desk.examine()


def test_a_refusal_of_the_process_is_raised_with_its_code(desk: Desk) -> None:
    desk.fill(leave_out="model")

    async def ask() -> Any:
        with pytest.raises(HttpError) as raised:
            await Verifier(desk.state).verify(desk.manifest, desk.signature, content=True, at_s=1.8e9)
        return raised.value.code

    assert asyncio.run(ask()) == "DEPLOYMENT.MISSING_BLOBS"


def test_the_process_can_write_nothing_and_has_a_ceiling(desk: Desk) -> None:
    code = (
        "import resource; from nodeagent.deployment import intake; intake.limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0] == intake.MEMORY_BYTES_MAX,"
        " resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True (0, 0) (0, 0)"


def test_a_job_that_is_none_ends_the_process_and_not_the_caller() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nodeagent.deployment.intake"], input=b"{}", capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(done.stdout, type=Verdict)
