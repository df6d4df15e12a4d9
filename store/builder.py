"""From a folder to a bundle: `bundle.toml` beside the model and what belongs to it becomes one .ostn file.

name = "bearing"                 # the bundle
version = "1.4.0"
epoch = 1                        # with `sequence`, its place in the order of all bundles of this name
sequence = 7
model = "bearing-wear"           # the name it serves; `name` where there is none
peak_memory_bytes = 120_000_000  # of its worker, beside the runtime; estimated where there is none
[files]                          # shown with the names that count where there are none
model = "model.onnx"
pipeline = "pipeline.toml"       # "" : the bundle only answers over HTTP
baseline = "baseline.json"       # "" : no drift figures
golden = "golden.npz"
models = { label = "label.onnx" }  # further models, that `[[then]]` of the pipeline asks
[target]                         # only nodes with these labels
[lineage]                        # training run, data digest, metrics
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from store import archive, bundle, errors
from store.bundle import Facts, ModelFacts, Role
from store.tags import tags_in

CONFIG_NAME = "bundle.toml"
_MEMORY_BYTES_LEAST = 64 << 20
_MEMORY_OF_MODEL = 4
# The same form that a node's pipeline reads: a name, and perhaps parts of it.
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_-]*)((?:\.[A-Za-z_][A-Za-z0-9_-]*)*)\}")


class BuildRefused(Exception):
    """The folder does not make a bundle; the text names the file and what to change."""


class Files(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which file of the folder is what; an empty name: the bundle has none."""

    model: str = "model.onnx"
    pipeline: str = "pipeline.toml"
    baseline: str = "baseline.json"
    golden: str = "golden.npz"
    models: dict[bundle.ModelName, str] = {}


class BundleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of bundle.toml."""

    name: bundle.Name
    version: bundle.Version
    epoch: bundle.Count = 1
    sequence: bundle.Count
    model: bundle.Name | None = None
    peak_memory_bytes: bundle.Count | None = None
    providers: list[str] = msgspec.field(default_factory=lambda: ["CPUExecutionProvider"])
    issued: str = ""
    expires: str = ""
    files: Files = Files()
    target: dict[str, str] = {}
    lineage: dict[str, Any] = {}


def build(
    directory: Path, out: Path, facts_from_model: Callable[[bytes], ModelFacts], *, pipeline: str | None = None
) -> Facts:
    """Writes the unsigned bundle of `directory` to `out`; a folder gets NAME-VERSION.ostn. Returns its facts.

    `facts_from_model` reads the ONNX file and raises what it likes. `pipeline`: another file than bundle.toml names.
    Raises BuildRefused, StoreError kinds.
    """
    config = read_config(directory / CONFIG_NAME)
    if pipeline is not None:
        config = msgspec.structs.replace(config, files=msgspec.structs.replace(config.files, pipeline=pipeline))
    files = _read_files(directory, config.files)
    more = _read_more(directory, config.files.models)
    model = together([facts_from_model(data) for data in (files["model"], *more.values())])
    facts, files["facts"] = _checked(_facts(config, files, model, more))
    model_config = _model_config(facts, files)
    manifest = bundle.canonical(bundle.make_manifest(facts, model_config, files, more))
    contents = {bundle.digest_of(data): data for data in (model_config, *files.values(), *more.values())}
    target = out / file_name(facts) if out.is_dir() else out
    archive.write_archive(target, manifest, contents)
    return facts


def together(models: Sequence[ModelFacts]) -> ModelFacts:
    """What a runtime needs for all of them; inputs and outputs are those of the first."""
    opsets: dict[str, int] = {}
    for model in models:
        for domain, version in model.opsets.items():
            opsets[domain] = max(version, opsets.get(domain, 0))
    return msgspec.structs.replace(
        models[0],
        ir_version=max(model.ir_version for model in models),
        opsets=opsets,
        operators=sorted({operator for model in models for operator in model.operators}),
    )


def _read_more(directory: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    if len(names) > bundle.MORE_MAX:
        raise BuildRefused(f"{CONFIG_NAME}: files.models has more than {bundle.MORE_MAX} models")
    return {name: _read(directory / file) for name, file in sorted(names.items())}


def file_name(facts: Facts) -> str:
    """What a bundle's file is called."""
    return f"{facts.name}-{facts.version}.ostn"


def read_config(path: Path) -> BundleConfig:
    """The bundle.toml at `path`. Raises BuildRefused with the key that is wrong."""
    try:
        return msgspec.convert(tomllib.loads(_read(path).decode("utf-8")), BundleConfig)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BuildRefused(f"{path.name}: {error}") from error


def bindings_in(pipeline: bytes) -> list[str]:
    """The names of the `${...}` in a pipeline.toml, sorted. Comments do not count. Raises BuildRefused."""
    try:
        found = _references(tomllib.loads(pipeline.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BuildRefused(f"the pipeline is no TOML: {error}") from error
    return sorted(found)


def _references(value: object) -> set[str]:
    if isinstance(value, str):
        return {match[1] for match in REFERENCE.finditer(value)}
    if isinstance(value, Mapping):
        return set().union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(item) for item in value))
    return set()


def _read_files(directory: Path, files: Files) -> dict[Role, bytes]:
    roles: dict[Role, str] = {
        "model": files.model,
        "pipeline": files.pipeline,
        "baseline": files.baseline,
        "golden": files.golden,
    }
    found: dict[Role, bytes] = {}
    for role, name in roles.items():
        if not name and role in ("model", "golden"):
            raise BuildRefused(f"{CONFIG_NAME}: a bundle needs a {role} file")
        if name:
            found[role] = _read(directory / name)
            if len(found[role]) > bundle.ROLES[role][1]:
                raise BuildRefused(f"{name} is larger than the {bundle.ROLES[role][1]} bytes that a {role} may have")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BuildRefused(f"{path} is missing; name another file, or none, under [files]") from error
    except OSError as error:
        raise errors.from_os(error, "read", path) from error


def _facts(config: BundleConfig, files: Mapping[Role, bytes], model: ModelFacts, more: Mapping[str, bytes]) -> Facts:
    weights = len(files["model"]) + sum(map(len, more.values()))
    estimate = _MEMORY_BYTES_LEAST + _MEMORY_OF_MODEL * weights
    return Facts(
        name=config.name,
        version=config.version,
        epoch=config.epoch,
        sequence=config.sequence,
        model=config.model or config.name,
        model_digest=bundle.digest_of(files["model"]),
        model_bytes=len(files["model"]),
        ir_version=model.ir_version,
        opsets=model.opsets,
        operators=sorted(model.operators),
        inputs=model.inputs,
        outputs=model.outputs,
        providers=config.providers,
        peak_memory_bytes=estimate if config.peak_memory_bytes is None else config.peak_memory_bytes,
        bindings=bindings_in(files["pipeline"]) if "pipeline" in files else [],
        tags=(tags_in(files["pipeline"], files.get("baseline")) if "pipeline" in files else []) or msgspec.UNSET,
        pipeline_digest=_digest(files, "pipeline"),
        baseline_digest=_digest(files, "baseline"),
        golden_digest=_digest(files, "golden"),
        more={name: bundle.digest_of(data) for name, data in more.items()} if more else msgspec.UNSET,
        target=config.target,
        lineage=config.lineage,
        issued=config.issued,
        expires=config.expires,
    )


def _digest(files: Mapping[Role, bytes], role: Role) -> str | None:
    return bundle.digest_of(files[role]) if role in files else None


def _checked(facts: Facts) -> tuple[Facts, bytes]:
    """The facts as a node will read them, and their bytes. A date of the author's TOML becomes text here."""
    data = bundle.canonical(facts)
    try:
        return bundle.read_canonical(data, Facts, bundle.FACTS_BYTES_MAX), data
    except bundle.BundleMalformed as error:
        raise BuildRefused(f"{CONFIG_NAME}: {error}") from error


def _model_config(facts: Facts, files: Mapping[Role, bytes]) -> bytes:
    """The ModelPack config, for registries and their tools; a node reads the facts."""
    return bundle.canonical(
        {
            "config": {"format": "onnx"},
            "descriptor": {"name": facts.name, "version": facts.version},
            "modelfs": {"diffIds": [bundle.digest_of(files[r]) for r in bundle.ROLES if r in files], "type": "layers"},
        }
    )
