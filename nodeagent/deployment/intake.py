"""The short-lived process that reads a bundle from outside: a job in, a verdict out.

The order is the point (I17): hash the manifest, check its signature, only then parse it; hash every blob, only then
look into one. It runs under limits on memory, processor time and written bytes, so that a bundle that is built to kill
its reader kills only this.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import msgspec

from nodeagent.deployment.verifier import Job, Verdict
from nodeagent.model import onnx_walk, wire
from nodeagent.pipeline import config as pipeline
from nodeagent.pipeline.errors import ConfigError
from store import builder, bundle, signers, signing, warrant
from store.archive import SIGNATURE_BYTES_MAX
from store.blobs import Blobs
from store.bundle import BundleMalformed, Facts, Manifest
from store.errors import StoreError

MEMORY_BYTES_MAX = 1 << 30
PROCESSOR_S_MAX = 120
FILES_MAX = 64
JOB_BYTES_MAX = 64 << 10


class Refused(Exception):
    """The bundle is refused with a code of protocol.ERRORS."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code = code
        self.hint = hint
        super().__init__(message)


def limit() -> None:
    """Binds this process: it may read, think a while, and write nothing but its answer."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_CPU, PROCESSOR_S_MAX),
        (resource.RLIMIT_NOFILE, FILES_MAX),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (most, most))


def examine(job: Job) -> Verdict:
    """The verdict on a bundle, in the order that this file's first lines give. Never raises for what a bundle holds."""
    try:
        return _examine(job)
    except Refused as refused:
        return Verdict(code=refused.code, message=str(refused), hint=refused.hint)


def _examine(job: Job) -> Verdict:
    state = Path(job.state)
    blobs = Blobs(state)
    manifest_bytes = _read(blobs, job.manifest, bundle.MANIFEST_BYTES_MAX)
    signer = _verified(manifest_bytes, _read(blobs, job.signature, SIGNATURE_BYTES_MAX), state, job.at_s)
    try:
        manifest = bundle.parse_manifest(manifest_bytes)
        facts = _facts(blobs, manifest)
    except BundleMalformed as error:
        raise Refused("BUNDLE.MALFORMED", str(error)) from error
    if job.content:
        if facts is None:
            raise Refused("DEPLOYMENT.MISSING_BLOBS", "the bundle's facts are not here")
        _look_inside(blobs, manifest, facts)
    annotations = manifest.annotations or {}
    permit, permit_error = _permit(job, state) if job.permit is not None else (None, None)
    return Verdict(
        signer=f"{signer.principal} {signer.fingerprint}",
        warnings=list(signer.warnings),
        bundle=annotations.get(bundle.TITLE_ANNOTATION, ""),
        version=annotations.get(bundle.VERSION_ANNOTATION, ""),
        blobs=bundle.blobs_named(manifest),
        facts=None if facts is None else msgspec.to_builtins(facts),
        permit=permit,
        permit_error=permit_error,
    )


def _verified(manifest: bytes, signature: bytes, state: Path, at_s: float) -> signing.Signer:
    hint = "Sign the bundle with a key that the node's allowed_signers names."
    try:
        text = (state / "allowed_signers").read_text("utf-8")
        return signing.verify(manifest, signature, text, at_s=at_s)
    except FileNotFoundError:
        raise Refused("TRUST.NO_SIGNERS", "the node has no allowed signers", _INIT) from None
    except signing.NoSigners as error:
        raise Refused("TRUST.NO_SIGNERS", str(error), _INIT) from error
    except signing.Unsigned as error:
        raise Refused("TRUST.UNSIGNED", f"the bundle bears no signature: {error}", hint) from error
    except signing.OtherContent as error:
        raise Refused("TRUST.MIXED", f"the signature is of another manifest: {error}", hint) from error
    except signing.SignatureRefused as error:
        raise Refused("TRUST.SIGNATURE", str(error), hint) from error
    except (signers.SignersRefused, OSError, UnicodeDecodeError) as error:
        raise Refused("TRUST.SIGNATURE", f"allowed_signers cannot be used: {error}", _INIT) from error


def _permit(job: Job, state: Path) -> tuple[tuple[str, str, str] | None, tuple[str, str] | None]:
    """Id, signer and reason of a permit that counts for this bundle, on this node, now; or why it does not."""
    document, signature = job.permit or ("", "")
    try:
        found, signer = warrant.verify(
            "permit",
            document.encode(),
            signature.encode(),
            (state / "allowed_signers").read_text("utf-8"),
            node_id=job.node_id,
            subject=job.manifest,
            at_s=job.at_s,
        )
    except warrant.WarrantRefused as error:
        return None, (error.code, str(error))
    return (found.id, f"{signer.principal} {signer.fingerprint}", found.reason), None


_INIT = "Run outstation-agent init --allow-signer FILE on the node."


def _facts(blobs: Blobs, manifest: Manifest) -> Facts | None:
    layer = manifest.layer("facts")
    if layer is None or not blobs.state(layer.digest).complete:
        return None
    return bundle.facts_of(manifest, _read(blobs, layer.digest, bundle.FACTS_BYTES_MAX))


def _look_inside(blobs: Blobs, manifest: Manifest, facts: Facts) -> None:
    for digest, size in sorted(bundle.blobs_named(manifest).items()):
        state = blobs.state(digest)
        if not state.complete:
            raise Refused("DEPLOYMENT.MISSING_BLOBS", f"{digest} is not here")
        if state.received_bytes != size or not blobs.scrub(digest):
            raise Refused("BLOB.MISMATCH", f"{digest} is not what it should be; send it again")
    _walk(blobs, facts)
    _read_pipeline(blobs, facts)


def _walk(blobs: Blobs, facts: Facts) -> None:
    """What the model's file says must be what the facts say, since the passport judged the facts."""
    try:
        paths = [blobs.path(digest) for digest in (facts.model_digest, *(facts.more or {}).values())]
        found = builder.together([_model_facts(onnx_walk.walk(path)) for path in paths])
    except wire.Refused as error:
        raise Refused("BUNDLE.MODEL_REFUSED", str(error), "Export the model without what it names.") from error
    except OSError as error:
        raise Refused("BLOB.MISMATCH", f"the model cannot be read: {error.strerror}") from error
    for name in ("ir_version", "opsets", "operators"):
        if getattr(found, name) != getattr(facts, name):
            raise Refused("BUNDLE.MALFORMED", f"the facts and the model disagree on {name}", "Build the bundle anew.")


def _model_facts(found: onnx_walk.ModelFacts) -> bundle.ModelFacts:
    return bundle.ModelFacts(
        ir_version=found.ir_version, opsets=found.opsets, operators=found.operators, inputs=[], outputs=[]
    )


def _read_pipeline(blobs: Blobs, facts: Facts) -> None:
    if facts.pipeline_digest is None:
        return
    data = _read(blobs, facts.pipeline_digest, bundle.ROLES["pipeline"][1])
    try:
        needed = pipeline.bindings_needed(pipeline.load(data.decode("utf-8")))
    except (ConfigError, UnicodeDecodeError) as error:
        raise Refused("BUNDLE.PIPELINE", str(error), "Run outstation pipeline check FILE before you sign.") from error
    if set(needed) != set(facts.bindings):
        raise Refused(
            "BUNDLE.PIPELINE", f"the facts name the bindings {facts.bindings}, the pipeline uses {list(needed)}"
        )


def _read(blobs: Blobs, digest: str, bytes_max: int) -> bytes:
    try:
        return blobs.read(digest, bytes_max=bytes_max)
    except FileNotFoundError:
        raise Refused("DEPLOYMENT.MISSING_BLOBS", f"{digest} is not here") from None
    except ValueError as error:
        raise Refused("BUNDLE.MALFORMED", str(error)) from error
    except StoreError as error:
        raise Refused("BLOB.MISMATCH", str(error)) from error


def main() -> int:
    """Reads a Job from standard input, writes a Verdict to standard output."""
    limit()
    job = msgspec.json.decode(sys.stdin.buffer.read(JOB_BYTES_MAX), type=Job)
    answer: dict[str, Any] | Verdict = examine(job)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
