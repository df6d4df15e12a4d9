"""What a bundle is: an OCI image manifest with ModelPack media types, whose layers are told apart by their role.

The manifest is what is signed. It names every blob by digest and size, so whoever trusts the manifest trusts all of
the bundle. Both it and the facts are read strictly: known fields only, canonical bytes only (JSON with sorted keys and
without spaces, as `canonical` writes it), every list and string with a limit.
Media types: OCI image-spec 1.1 (artifacts), CNCF ModelPack model-spec v1 (`application/vnd.cncf.model.*`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

MANIFEST_BYTES_MAX = 64 << 10
FACTS_BYTES_MAX = 1 << 20
TAGS_MAX = 1_000
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MODEL_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
FILEPATH_ANNOTATION = "org.cncf.model.filepath"
TITLE_ANNOTATION = "org.opencontainers.image.title"
VERSION_ANNOTATION = "org.opencontainers.image.version"

Role = Literal["facts", "model", "pipeline", "baseline", "golden"]

# Role -> (media type, most bytes). ONNX is protobuf, which ends at 2 GiB.
ROLES: dict[Role, tuple[str, int]] = {
    "facts": ("application/vnd.outstation.bundle.v1+json", FACTS_BYTES_MAX),
    "model": ("application/vnd.cncf.model.weight.v1.raw", (2 << 30) - 1),
    "pipeline": ("application/vnd.outstation.pipeline.v1+toml", 1 << 20),
    "baseline": ("application/vnd.outstation.baseline.v1+json", 16 << 20),
    "golden": ("application/vnd.outstation.golden.v1+npz", 256 << 20),
}
# A further model of the bundle: any number up to MORE_MAX, each named by its file path.
MORE_TYPE = "application/vnd.outstation.model.v1+onnx"
MORE_MAX = 7
_ROLE_OF_TYPE = {media_type: role for role, (media_type, _) in ROLES.items()}

_MORE_PATH = re.compile(r"models/([a-z0-9][a-z0-9_-]{0,63})\.onnx")
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
ModelName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Short = Annotated[str, msgspec.Meta(max_length=256)]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]
Annotations = Annotated[dict[Short, Short], msgspec.Meta(max_length=16)]
Scalar = str | int | float | bool
T = TypeVar("T")


class BundleMalformed(Exception):
    """The bytes are no bundle as we write it; the text says what is wrong with them."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of the model. `datatype` as in Open Inference Protocol v2; -1 is a free dimension."""

    name: Short
    datatype: Short
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=-1, le=(1 << 53) - 1)]], msgspec.Meta(max_length=16)]


class TagSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One plant signal that the pipeline reads: its unit, the range it was trained on or is limited to, how often."""

    name: Short
    unit: Annotated[str, msgspec.Meta(max_length=64)] = ""
    low: float | None = None
    high: float | None = None
    period_s: float | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be read from an ONNX file without running it. `opsets`: version by domain, the standard one is ``."""

    ir_version: Count
    opsets: Annotated[dict[Short, Count], msgspec.Meta(max_length=32)]
    operators: Annotated[list[Short], msgspec.Meta(max_length=1_000)]
    inputs: Annotated[list[TensorSpec], msgspec.Meta(max_length=256)]
    outputs: Annotated[list[TensorSpec], msgspec.Meta(max_length=256)]


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node must know of a bundle before it takes a byte of it.

    `tags`: what its sources read, where the pipeline names it; unset in bundles from before there were any.
    `name` is the bundle, `model` the name that it serves. (`epoch`, `sequence`) is its place in the order of all
    bundles of that name. `bindings` are the `${names}` of its pipeline; `target` limits it to nodes whose labels
    agree, `node_id` included. `more`: models that its pipeline asks after the first, by name; then `ir_version`,
    `opsets` and `operators` are those of all of them together.
    `expires` (ISO date) is a warning only, since plant clocks lie.
    """

    name: Name
    version: Version
    epoch: Count
    sequence: Count
    model: Name
    model_digest: Digest
    model_bytes: Count
    ir_version: Count
    opsets: Annotated[dict[Short, Count], msgspec.Meta(max_length=32)]
    operators: Annotated[list[Short], msgspec.Meta(max_length=1_000)]
    inputs: Annotated[list[TensorSpec], msgspec.Meta(max_length=256)]
    outputs: Annotated[list[TensorSpec], msgspec.Meta(max_length=256)]
    providers: Annotated[list[Short], msgspec.Meta(max_length=16)] = msgspec.field(
        default_factory=lambda: ["CPUExecutionProvider"]
    )
    peak_memory_bytes: Count
    bindings: Annotated[list[Short], msgspec.Meta(max_length=256)] = []
    tags: Annotated[list[TagSpec], msgspec.Meta(max_length=TAGS_MAX)] | msgspec.UnsetType = msgspec.UNSET
    pipeline_digest: Digest | None = None
    baseline_digest: Digest | None = None
    golden_digest: Digest | None = None
    more: dict[ModelName, Digest] | msgspec.UnsetType = msgspec.UNSET
    target: Annotations = {}
    lineage: Annotated[dict[Short, Scalar | dict[Short, Scalar]], msgspec.Meta(max_length=64)] = {}
    issued: Short = ""
    expires: Short = ""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """OCI content descriptor: what a blob is, and which."""

    media_type: Short
    digest: Digest
    size: Count
    artifact_type: Short | msgspec.UnsetType = msgspec.UNSET
    annotations: Annotations | msgspec.UnsetType = msgspec.UNSET


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """OCI image manifest of a bundle or, with a `subject`, of its signature."""

    schema_version: Literal[2]
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"]
    artifact_type: Short
    config: Descriptor
    layers: Annotated[list[Descriptor], msgspec.Meta(min_length=1, max_length=16)]
    subject: Descriptor | msgspec.UnsetType = msgspec.UNSET
    annotations: Annotations | msgspec.UnsetType = msgspec.UNSET

    def layer(self, role: Role) -> Descriptor | None:
        """The layer with this role; None when the bundle has none."""
        return next((layer for layer in self.layers if _ROLE_OF_TYPE.get(layer.media_type) == role), None)

    def more(self) -> dict[str, Descriptor]:
        """Further models by name."""
        return {name: layer for layer in self.layers if (name := _more_name(layer))}


def _more_name(layer: Descriptor) -> str:
    """The name of a further model's layer; empty: it is none, or has no name."""
    if layer.media_type != MORE_TYPE:
        return ""
    path = (layer.annotations or {}).get(FILEPATH_ANNOTATION, "")
    found = _MORE_PATH.fullmatch(path)
    return found[1] if found else ""


def parse_manifest(data: bytes) -> Manifest:
    """A bundle's manifest. BundleMalformed: not canonical, a role missing, doubled, unknown or too large."""
    manifest = read_canonical(data, Manifest, MANIFEST_BYTES_MAX)
    if manifest.artifact_type != MODEL_ARTIFACT or manifest.subject is not msgspec.UNSET:
        raise BundleMalformed(f"the manifest is a {manifest.artifact_type}, not a bundle's")
    if manifest.config.media_type != CONFIG_TYPE or manifest.config.size > FACTS_BYTES_MAX:
        raise BundleMalformed("the manifest's config is not a ModelPack config")
    seen: set[Role] = set()
    further = [layer for layer in manifest.layers if layer.media_type == MORE_TYPE]
    if len(further) > MORE_MAX or len(manifest.more()) != len(further):
        raise BundleMalformed(f"further models have a name each, and there are at most {MORE_MAX}")
    for layer in manifest.layers:
        if layer in further and layer.size <= ROLES["model"][1]:
            continue
        role = _ROLE_OF_TYPE.get(layer.media_type)
        if role is None or role in seen:
            raise BundleMalformed(f"a layer of type {layer.media_type} is unknown or there twice")
        if layer.size > ROLES[role][1]:
            raise BundleMalformed(f"the {role} has {layer.size} bytes; at most {ROLES[role][1]} are taken")
        seen.add(role)
    if not {"facts", "model"} <= seen:
        raise BundleMalformed("a bundle needs facts and a model")
    return manifest


def facts_of(manifest: Manifest, data: bytes) -> Facts:
    """The facts, from the bytes of the facts layer, which must be that layer's and agree with the manifest."""
    layer = manifest.layer("facts")
    if layer is None or digest_of(data) != layer.digest or len(data) != layer.size:
        raise BundleMalformed("the facts are not those that the manifest names")
    facts = read_canonical(data, Facts, FACTS_BYTES_MAX)
    model = manifest.layer("model")
    if model is None or (facts.model_digest, facts.model_bytes) != (model.digest, model.size):
        raise BundleMalformed("the facts are about another model")
    for role, digest in _optional_digests(facts).items():
        found = manifest.layer(role)
        if digest != (found.digest if found else None):
            raise BundleMalformed(f"the facts are about another {role}")
    told = {name: layer.digest for name, layer in manifest.more().items()}
    if told != (facts.more or {}):
        raise BundleMalformed("the facts are about other further models")
    annotations = manifest.annotations or {}
    if (annotations.get(TITLE_ANNOTATION), annotations.get(VERSION_ANNOTATION)) != (facts.name, facts.version):
        raise BundleMalformed("the manifest's title and version are not those of the facts")
    return facts


def blobs_named(manifest: Manifest) -> dict[str, int]:
    """Every blob that the manifest needs beside itself: size in bytes by digest."""
    return {descriptor.digest: descriptor.size for descriptor in (manifest.config, *manifest.layers)}


def make_manifest(
    facts: Facts, config: bytes, files: dict[Role, bytes], more: Mapping[str, bytes] | None = None
) -> Manifest:
    """The manifest of a bundle whose blobs are `config`, `files` (the facts among them) and `more` models by name."""
    names = {"model": "model.onnx", "pipeline": "pipeline.toml", "baseline": "baseline.json", "golden": "golden.npz"}
    layers = [
        Descriptor(
            media_type=ROLES[role][0],
            digest=digest_of(files[role]),
            size=len(files[role]),
            annotations={FILEPATH_ANNOTATION: names.get(role, "facts.json")},
        )
        for role in ROLES
        if role in files
    ]
    layers += [
        Descriptor(
            media_type=MORE_TYPE,
            digest=digest_of(data),
            size=len(data),
            annotations={FILEPATH_ANNOTATION: f"models/{name}.onnx"},
        )
        for name, data in sorted((more or {}).items())
    ]
    return Manifest(
        schema_version=2,
        media_type="application/vnd.oci.image.manifest.v1+json",
        artifact_type=MODEL_ARTIFACT,
        config=Descriptor(media_type=CONFIG_TYPE, digest=digest_of(config), size=len(config)),
        layers=layers,
        annotations={TITLE_ANNOTATION: facts.name, VERSION_ANNOTATION: facts.version},
    )


def canonical(value: Any) -> bytes:
    """The one way to write `value`: JSON, keys sorted by code point, no spaces."""
    return msgspec.json.encode(value, order="sorted")


def read_canonical(data: bytes, type_: type[T], bytes_max: int) -> T:
    """`data` as a `type_`, if these are exactly the bytes that `canonical` would write."""
    if len(data) > bytes_max:
        raise BundleMalformed(f"{len(data)} bytes; at most {bytes_max} are taken")
    try:
        value = msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleMalformed(str(error)) from error
    if canonical(value) != data:
        raise BundleMalformed("the bytes are not canonical JSON")
    return value


def digest_of(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _optional_digests(facts: Facts) -> dict[Role, str | None]:
    return {"pipeline": facts.pipeline_digest, "baseline": facts.baseline_digest, "golden": facts.golden_digest}
