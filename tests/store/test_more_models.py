"""Further models of a bundle: named, signed with it, and what a runtime needs is said of all together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from store import builder, bundle
from store.archive import read_archive
from store.bundle import BundleMalformed, Descriptor, Manifest, ModelFacts, TensorSpec


def facts_of(data: bytes) -> ModelFacts:
    """Stands for the reader of ONNX files: the content is the number of the opset."""
    spec = [TensorSpec("x", "FP32", [-1, 1])]
    return ModelFacts(ir_version=8, opsets={"": int(data)}, operators=[f"Op{data.decode()}"], inputs=spec, outputs=spec)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for name, content in {"model.onnx": "12", "a.onnx": "17", "b.onnx": "9", "golden.npz": "g"}.items():
        (tmp_path / name).write_text(content)
    files = 'models = { label = "a.onnx", crop = "b.onnx" }\npipeline = ""\nbaseline = ""\n'
    (tmp_path / "bundle.toml").write_text(f'name = "two"\nversion = "1"\nsequence = 1\n[files]\n{files}')
    builder.build(tmp_path, tmp_path / "two.ostn", facts_of)
    return tmp_path / "two.ostn"


def test_the_facts_are_of_all_models_together_and_name_each(built: Path) -> None:
    with read_archive(built) as archive:
        facts, manifest = archive.facts(), archive.manifest
        assert not archive.damaged()
    assert facts.more == {"crop": bundle.digest_of(b"9"), "label": bundle.digest_of(b"17")}
    assert (facts.opsets, facts.operators) == ({"": 17}, ["Op12", "Op17", "Op9"])
    assert {name: layer.size for name, layer in manifest.more().items()} == {"crop": 1, "label": 2}
    assert {bundle.digest_of(data) for data in (b"12", b"17", b"9")} <= bundle.blobs_named(manifest).keys()


def changed(manifest: Manifest, path: str, count: int = 1) -> bytes:
    """The manifest with its further models all called `path`, `count` of them."""
    layer: Descriptor = manifest.more()["crop"]
    further = [msgspec.structs.replace(layer, annotations={bundle.FILEPATH_ANNOTATION: path})] * count
    rest = [each for each in manifest.layers if each.media_type != bundle.MORE_TYPE]
    return bundle.canonical(msgspec.structs.replace(manifest, layers=[*rest, *further]))


@pytest.mark.parametrize(
    ("path", "count"),
    [("models/crop.onnx", 2), ("models/../crop.onnx", 1), ("/etc/passwd", 1), ("", 1), ("models/Crop.onnx", 1)],
)
def test_a_further_model_has_a_plain_name_of_its_own(built: Path, path: str, count: int) -> None:
    with read_archive(built) as archive:
        data = changed(archive.manifest, path, count)
    with pytest.raises(BundleMalformed, match="further models have a name each"):
        bundle.parse_manifest(data)


def test_facts_about_other_further_models_are_refused(built: Path) -> None:
    with read_archive(built) as archive:
        manifest = bundle.parse_manifest(changed(archive.manifest, "models/crop.onnx"))
        layer = manifest.layer("facts")
        assert layer is not None
        facts = archive.open_blob(layer.digest).read()
    with pytest.raises(BundleMalformed, match="other further models"):
        bundle.facts_of(manifest, facts)
