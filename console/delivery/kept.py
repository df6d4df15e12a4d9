"""Bundles that this console keeps: taking one in, looking into one, and how they descend from each other."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from console import figures
from console.client.clean import clean, clean_all
from console.failure import Failure
from console.seat.shelf import Inspection
from store import durable, signing
from store.archive import Archive, read_archive
from store.bundle import Facts, TensorSpec
from store.catalog import BundleRow

SUFFIX: Final = ".ostn"
STICKS: Final = ("/media", "/run/media", "/mnt")
STICK_DEPTH: Final = 3
FILES_MAX: Final = 200
FOLDERS_MAX: Final = 2_000


def expanded(path: str) -> Path:
    """A path as a person types it."""
    return Path(path).expanduser()


def take_bundle(folder: Path, path: Path) -> BundleRow:
    """Checks every blob of the archive at `path` and keeps a copy in `folder`. Raises Failure, BundleMalformed."""
    path = path.expanduser()
    with read_archive(path) as archive:
        if archive.damaged():
            raise Failure(f"{path}: a blob is damaged; nothing was taken", "copy the file again")
        facts = archive.facts()
        kept = folder / f"{archive.manifest_digest.removeprefix('sha256:')}{SUFFIX}"
        durable.make_dir(folder, 0o700)
        with path.open("rb") as source, durable.replacing(kept) as target:
            while piece := source.read(1 << 20):
                target.write(piece)
        signer = ""
        if archive.signature_bytes is not None:
            signer = signing.parse(archive.signature_bytes).key.fingerprint
        return BundleRow(
            digest=archive.manifest_digest,
            name=facts.name,
            version=facts.version,
            epoch=facts.epoch,
            sequence=facts.sequence,
            path=str(kept),
            size_bytes=kept.stat().st_size,
            signer=signer,
            facts=msgspec.to_builtins(facts),
            added_wall_s=time.time(),
        )


def signer_of(archive: Archive) -> str:
    """Whose key signed it, not whether a node allows that key."""
    if archive.signature_bytes is None:
        return "NONE: no node takes it"
    try:
        return f"by key {signing.parse(archive.signature_bytes).key.fingerprint}, not verified here"
    except signing.SignatureRefused as error:
        return f"UNREADABLE: {error}"


def tensor_text(spec: TensorSpec) -> str:
    """`vibration FP32[?, 8]`."""
    return f"{spec.name} {spec.datatype}{[('?' if size < 0 else size) for size in spec.shape]}".replace("'", "")


def facts_pairs(facts: Facts, digest: str = "") -> list[tuple[str, str]]:
    """What a bundle is, as (name, text), for the command line and the screen alike. `facts` are cleaned."""
    opsets = ", ".join(f"{domain or 'onnx'} {version}" for domain, version in facts.opsets.items())
    return [
        ("bundle", f"{facts.name} {facts.version} (epoch {facts.epoch}, sequence {facts.sequence})"),
        *([("digest", digest)] if digest else []),
        ("model", f"{facts.model}, {figures.size(facts.model_bytes)}, opset {opsets}, IR {facts.ir_version}"),
        ("inputs", ", ".join(map(tensor_text, facts.inputs))),
        ("outputs", ", ".join(map(tensor_text, facts.outputs))),
        ("memory", figures.size(facts.peak_memory_bytes)),
        ("bindings", ", ".join(facts.bindings) or "none"),
        *([("target", ", ".join(f"{k}={v}" for k, v in facts.target.items()))] if facts.target else []),
        *([("expires", facts.expires)] if facts.expires else []),
    ]


def inspect(row: BundleRow, others: Sequence[BundleRow]) -> Inspection:
    """Opens the kept file of `row` and hashes every blob. Raises BundleMalformed, StoreError kinds."""
    with read_archive(Path(row.path)) as archive:
        facts = clean_all(archive.facts())
        damaged = tuple(archive.damaged())
        blobs = tuple((digest, size) for digest, (_, size) in archive.blobs.items())
        signer = clean(signer_of(archive))
    parents, children = family(row, others)
    return Inspection(
        facts=(*facts_pairs(facts, row.digest), ("signature", signer)),
        blobs=blobs,
        lineage=tuple(_flat(facts.lineage)),
        parents=parents,
        children=children,
        damaged=damaged,
    )


def _flat(lineage: dict[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in lineage.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        found += [(f"{key} {name}".strip(), str(text)) for name, text in inner]
    return found


Relation = tuple[str, str, str]


def family(row: BundleRow, others: Sequence[BundleRow]) -> tuple[tuple[Relation, ...], tuple[Relation, ...]]:
    """What the bundle descends from and what descends from it: by its lineage, else the one before by number."""
    before = _before(row, others)
    parents = [before] if before is not None else []
    named = _named(row)
    parents += [other for other in others if other.digest != row.digest and other not in parents and _is(other, named)]
    children = [
        other
        for other in others
        if other.digest != row.digest and (_is(row, _named(other)) or _before(other, others) == row)
    ]
    return tuple(map(_relation, parents)), tuple(map(_relation, children))


def _before(row: BundleRow, others: Sequence[BundleRow]) -> BundleRow | None:
    older = [o for o in others if o.name == row.name and (o.epoch, o.sequence) < (row.epoch, row.sequence)]
    return max(older, key=lambda other: (other.epoch, other.sequence), default=None)


def _named(row: BundleRow) -> set[str]:
    """Every text in the lineage of a bundle."""
    lineage = row.facts.get("lineage")
    return {text for _, text in _flat(lineage)} if isinstance(lineage, dict) else set()


def _is(row: BundleRow, named: set[str]) -> bool:
    return bool({row.digest, row.facts.get("model_digest"), f"{row.name} {row.version}"} & named)


def _relation(row: BundleRow) -> Relation:
    return clean(row.name), clean(row.version), row.digest


def bundle_files(folder: Path, sticks: Sequence[str] = STICKS) -> list[str]:
    """.ostn files in `folder`, under it, and on mounted sticks, the newest first; at most FILES_MAX. Blocking."""
    found: dict[str, float] = {}
    for root in (folder.expanduser(), *map(Path, sticks)):
        _collect(root, found)
    return sorted(found, key=lambda path: -found[path])[:FILES_MAX]


def _collect(root: Path, found: dict[str, float]) -> None:
    depth_of_root = len(root.parts)
    for seen, (here, folders, names) in enumerate(os.walk(root)):
        if seen >= FOLDERS_MAX:
            return
        if len(Path(here).parts) - depth_of_root >= STICK_DEPTH:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.endswith(SUFFIX) and (path := Path(here, name)).is_file():
                found[str(path)] = path.stat().st_mtime
