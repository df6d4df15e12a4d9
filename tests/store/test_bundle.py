from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from store import bundle
from store.bundle import BundleMalformed, Facts, TensorSpec

MODEL, PIPELINE, CONFIG = b"model bytes", b'a = "${plc}"', b'{"config":{"format":"onnx"}}'


def make_facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "name": "bearing", "version": "1.4.0", "epoch": 1, "sequence": 7, "model": "wear",
        "model_digest": bundle.digest_of(MODEL), "model_bytes": len(MODEL), "ir_version": 9, "opsets": {"": 17},
        "operators": ["Add"], "inputs": [TensorSpec("x", "FP32", [-1, 3])], "outputs": [], "peak_memory_bytes": 1,
        "pipeline_digest": bundle.digest_of(PIPELINE),
    }  # fmt: skip
    return Facts(**(values | changes))


def make(facts: Facts) -> tuple[bytes, bytes]:
    """The manifest's and the facts' bytes."""
    data = bundle.canonical(facts)
    files: dict[bundle.Role, bytes] = {"facts": data, "model": MODEL, "pipeline": PIPELINE}
    return bundle.canonical(bundle.make_manifest(facts, CONFIG, files)), data


def test_a_manifest_and_its_facts_are_read_back_as_they_were() -> None:
    facts = make_facts(lineage={"run": "a", "metrics": {"auc": 0.5}}, target={"site": "north"})
    manifest_bytes, facts_bytes = make(facts)
    manifest = bundle.parse_manifest(manifest_bytes)
    assert bundle.facts_of(manifest, facts_bytes) == facts
    assert manifest.layer("golden") is None
    assert bundle.blobs_named(manifest) == {
        bundle.digest_of(data): len(data) for data in (CONFIG, facts_bytes, MODEL, PIPELINE)
    }


def test_it_is_an_oci_artifact_with_modelpack_types() -> None:
    told = json.loads(make(make_facts())[0])
    assert told["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert told["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert told["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert told["layers"][1]["mediaType"] == "application/vnd.cncf.model.weight.v1.raw"
    assert told["layers"][1]["annotations"] == {"org.cncf.model.filepath": "model.onnx"}


def _changed(path: str, value: Any) -> bytes:
    """The manifest with the value at `path` (keys and numbers, dots between) replaced; None removes it."""
    told = json.loads(make(make_facts())[0])
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    target: Any = told
    for part in way:
        target = target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schemaVersion", 1),
        ("schemaVersion", 2.0),
        ("mediaType", "application/vnd.oci.image.index.v1+json"),
        ("artifactType", "application/vnd.other"),
        ("config.mediaType", "application/vnd.oci.image.config.v1+json"),
        ("config.size", -1),
        ("config.size", 1.5),
        ("config.digest", "sha256:" + "A" * 64),
        ("config.digest", "sha256:" + "a" * 64 + "\n"),
        ("config.urls", ["http://elsewhere"]),
        ("layers", []),
        ("layers.0.mediaType", "application/vnd.cncf.model.weight.v1.raw"),
        ("layers.1.mediaType", "application/vnd.cncf.model.code.v1.tar"),
        ("layers.1.size", 1 << 31),
        ("layers.1.size", 1 << 64),
        ("layers.2.size", (1 << 20) + 1),
        ("layers.0", None),
        ("layers.1", None),
        ("annotations", {"k": "v" * 257}),
        ("subject", {"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": 1}),
        ("unknown", 1),
    ],
)
def test_a_manifest_that_is_not_exactly_ours_is_refused(path: str, value: Any) -> None:
    with pytest.raises(BundleMalformed):
        bundle.parse_manifest(_changed(path, value))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data.replace(b'"schemaVersion":2', b'"schemaVersion":2,"schemaVersion":2'),
        lambda data: data.replace(b"bearing", b"b\\u0065aring"),
        lambda data: b'{"schemaVersion":2,' + data.replace(b',"schemaVersion":2', b"")[1:],
        lambda data: data.replace(b"}", b"} ", 1),
        lambda data: data[:-1],
        lambda data: b"[" * 100_000,
        lambda data: data + b" " * bundle.MANIFEST_BYTES_MAX,
        lambda data: b"",
        lambda data: b"\xff" + data,
    ],
)
def test_other_bytes_for_the_same_manifest_are_refused(change: Any) -> None:
    with pytest.raises(BundleMalformed):
        bundle.parse_manifest(change(make(make_facts())[0]))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_digest": bundle.digest_of(b"other")},
        {"model_bytes": 12},
        {"pipeline_digest": None},
        {"golden_digest": bundle.digest_of(b"")},
        {"name": "Bearing"},
        {"name": "../x"},
        {"name": "x" * 65},
        {"model": "a/b"},
        {"version": "1 2"},
        {"epoch": -1},
        {"sequence": 1 << 53},
        {"inputs": [TensorSpec("x", "FP32", [-2])]},
        {"operators": ["x"] * 1_001},
        {"lineage": {"a": {"b": {"c": 1}}}},
        {"lineage": {"a": [1]}},
    ],
)
def test_facts_that_break_a_limit_or_are_about_other_blobs_are_refused(changes: dict[str, Any]) -> None:
    facts = make_facts(**changes)
    manifest_bytes, facts_bytes = make(facts)
    with pytest.raises(BundleMalformed):
        bundle.facts_of(bundle.parse_manifest(manifest_bytes), facts_bytes)


def test_facts_of_another_bundle_are_refused() -> None:
    manifest = bundle.parse_manifest(make(make_facts())[0])
    with pytest.raises(BundleMalformed, match="not those"):
        bundle.facts_of(manifest, make(make_facts(sequence=8))[1])


def test_a_title_that_differs_from_the_facts_is_refused() -> None:
    facts = make_facts()
    files: dict[bundle.Role, bytes] = {"facts": bundle.canonical(facts), "model": MODEL, "pipeline": PIPELINE}
    manifest = bundle.make_manifest(msgspec.structs.replace(facts, name="other"), CONFIG, files)
    with pytest.raises(BundleMalformed, match="title"):
        bundle.facts_of(manifest, files["facts"])
