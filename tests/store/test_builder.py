from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodeagent.pipeline import references
from store import archive, builder, bundle
from store.builder import BuildRefused
from store.bundle import ModelFacts, TensorSpec

CONFIG = 'name = "bearing"\nversion = "1.4.0"\nsequence = 7\n'
PIPELINE = """
# url = "${commented}"
[[source]]
url = "opc.tcp://${plc.host}:${plc.port}"
tags = ["${tag_1}", "plain"]
[model.more]
limit = "${limit}"
"""


def facts_from_model(model: bytes) -> ModelFacts:
    return ModelFacts(
        ir_version=9, opsets={"": 17}, operators=["Mul", "Add"], inputs=[TensorSpec("x", "FP32", [-1, 3])], outputs=[]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "bearing"
    made.mkdir()
    files: dict[str, Any] = {"bundle.toml": CONFIG, "pipeline.toml": PIPELINE, "baseline.json": "{}"}
    files |= {"model.onnx": "onnx", "golden.npz": "g"}
    for name, text in files.items():
        (made / name).write_text(text)
    return made


def test_a_folder_becomes_an_archive_whose_facts_come_from_its_files(folder: Path, tmp_path: Path) -> None:
    facts = builder.build(folder, tmp_path, facts_from_model)
    assert facts.bindings == ["limit", "plc", "tag_1"]
    assert (facts.name, facts.model, facts.epoch, facts.sequence) == ("bearing", "bearing", 1, 7)
    assert (facts.model_bytes, facts.operators, facts.opsets) == (4, ["Add", "Mul"], {"": 17})
    assert facts.peak_memory_bytes == (64 << 20) + 16
    with archive.read_archive(tmp_path / "bearing-1.4.0.ostn") as found:
        assert found.facts() == facts
        assert found.signature_bytes is None
        assert found.damaged() == []
        layer = found.manifest.layer("pipeline")
        assert layer is not None
        assert found.open_blob(layer.digest).read().decode() == PIPELINE


def test_another_pipeline_of_the_folder_may_be_named_for_one_build(folder: Path, tmp_path: Path) -> None:
    (folder / "pipeline.simulate.toml").write_text('seed = "${seed}"\n')
    facts = builder.build(folder, tmp_path, facts_from_model, pipeline="pipeline.simulate.toml")
    assert (facts.name, facts.bindings) == ("bearing", ["seed"])
    with pytest.raises(builder.BuildRefused, match=r"pipeline\.other\.toml is missing"):
        builder.build(folder, tmp_path, facts_from_model, pipeline="pipeline.other.toml")


def test_building_twice_makes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        builder.build(folder, tmp_path / name, facts_from_model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_the_author_declared_is_in_the_facts(folder: Path, tmp_path: Path) -> None:
    more = """
        epoch = 2
        model = "wear"
        peak_memory_bytes = 5
        providers = ["CUDAExecutionProvider"]
        expires = "2027-01-01"
        [files]
        baseline = ""
        pipeline = ""
        [target]
        site = "north"
        [lineage]
        day = 2026-01-01
        metrics = { auc = 0.9 }
    """
    (folder / "bundle.toml").write_text(CONFIG + more)
    facts = builder.build(folder, tmp_path, facts_from_model)
    assert (facts.epoch, facts.model, facts.peak_memory_bytes, facts.expires) == (2, "wear", 5, "2027-01-01")
    assert (facts.baseline_digest, facts.pipeline_digest, facts.bindings) == (None, None, [])
    assert (facts.target, facts.lineage) == ({"site": "north"}, {"day": "2026-01-01", "metrics": {"auc": 0.9}})


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("bundle.toml", None, "bundle.toml is missing"),
        ("bundle.toml", CONFIG + "sequense = 1\n", "sequense"),
        ("bundle.toml", 'name = "bearing"\nversion = "1"\n', "sequence"),
        ("bundle.toml", CONFIG.replace("bearing", "Bearing!"), "name"),
        ("bundle.toml", CONFIG + "=", "line 4"),
        ("bundle.toml", CONFIG + '[files]\ngolden = ""\n', "needs a golden"),
        ("bundle.toml", CONFIG + '[lineage]\nx = { y = { z = 1 } }\n', "lineage"),
        ("model.onnx", None, "model.onnx is missing"),
        ("baseline.json", None, "name another file, or none"),
        ("pipeline.toml", "a = ", "no TOML"),
        ("pipeline.toml", "x" * ((1 << 20) + 1), "larger"),
    ],
)  # fmt: skip
def test_a_folder_that_makes_no_bundle_is_refused_with_what_to_change(
    folder: Path, tmp_path: Path, file: str, text: str | None, reason: str
) -> None:
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(BuildRefused, match=reason):
        builder.build(folder, tmp_path, facts_from_model)
    assert not list(tmp_path.glob("*.ostn"))


def test_the_builder_and_the_node_agree_on_what_a_reference_is() -> None:
    assert builder.REFERENCE.pattern == references.REFERENCE.pattern


def test_what_is_built_is_named_by_bundle_and_version(folder: Path, tmp_path: Path) -> None:
    facts = builder.build(folder, tmp_path / "x.ostn", facts_from_model)
    assert builder.file_name(facts) == "bearing-1.4.0.ostn"
    with archive.read_archive(tmp_path / "x.ostn") as found:
        assert found.manifest.annotations == {bundle.TITLE_ANNOTATION: "bearing", bundle.VERSION_ANNOTATION: "1.4.0"}
