"""From a revision's row to everything a worker needs: paths by digest, resolved bindings, whether write-back is armed.

Manifests and facts are read again from their blobs and hashed as they are read; intake verified them before.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import msgspec

from nodeagent.deployment import bindings
from nodeagent.deployment.binding_store import BindingStore
from nodeagent.deployment.bindings import BindingError
from nodeagent.settings import Settings
from nodeagent.spec import Activation
from store import bundle
from store.blobs import Blobs
from store.bundle import Facts, Manifest
from store.node.revisions import Revision

CACHE_MAX = 64


class MissingBindings(BindingError):
    """The bundle uses names that are not bound on this node."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"not bound on this node: {', '.join(names)}")


@dataclasses.dataclass(frozen=True)
class Place:
    """Who and where the node is, as every worker is told. `boot_number` numbers this boot for record keys."""

    state: Path
    node_id: str
    node_name: str
    site: str
    boot_number: int


class Activations:
    """Makes Activations. Reads blobs in a thread."""

    def __init__(self, place: Place, blobs: Blobs, store: BindingStore, settings: Settings) -> None:
        self._place = place
        self._blobs = blobs
        self._bindings = store
        self._settings = settings
        self._known: dict[str, tuple[Manifest, Facts]] = {}

    async def facts(self, digest: str) -> tuple[Manifest, Facts]:
        """The manifest with this digest and its facts. Raises Corrupt, FileNotFoundError, BundleMalformed."""
        if digest not in self._known:
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            self._known[digest] = await asyncio.to_thread(self._read, digest)
        return self._known[digest]

    async def blobs_of(self, digest: str, signature: str = "") -> set[str]:
        """Every blob that a revision with this manifest needs, the manifest and its signature included."""
        manifest, _ = await self.facts(digest)
        return {digest, *bundle.blobs_named(manifest), *({signature} if signature else ())}

    async def intact(self, digest: str, signature: str = "") -> bool:
        """Whether each blob is its digest on the disk: hashed, not parsed."""
        try:
            named = await self.blobs_of(digest, signature)
            return await asyncio.to_thread(lambda: all(self._blobs.scrub(blob) for blob in sorted(named)))
        except (OSError, bundle.BundleMalformed, ValueError):
            return False

    async def of(self, row: Revision, *, trial: bool, previous: Revision | None = None) -> Activation:
        """The activation of a revision. Raises MissingBindings, BindingError, and as `facts`.

        Write-back is armed where the local switch names this model and binding revision; in a trial only where the
        previous revision was armed with the same pipeline under the same bindings, else it is a dry run until COMMIT.
        """
        _, facts = await self.facts(row.digest)
        values = await self._bindings.at(row.binding_revision)
        if absent := bindings.missing(facts.bindings, values):
            raise MissingBindings(absent)
        armed = self._is_armed(facts, row)
        if trial and armed:
            armed = previous is not None and await self._same_writes(facts, row, previous)
        place = self._place
        return Activation(
            bundle=facts.name,
            model=facts.model,
            version=facts.version,
            revision=row.revision,
            digest=row.digest,
            model_path=str(self._blobs.path(facts.model_digest)),
            pipeline_path=self._path(facts.pipeline_digest) or "",
            baseline_path=self._path(facts.baseline_digest),
            golden_path=self._path(facts.golden_digest),
            model_digest=facts.model_digest,
            more_models={name: str(self._blobs.path(digest)) for name, digest in (facts.more or {}).items()},
            pipeline_digest=facts.pipeline_digest or "",
            bindings={name: values[name] for name in facts.bindings},
            binding_revision=row.binding_revision,
            peak_memory_bytes=facts.peak_memory_bytes,
            boot_number=place.boot_number,
            trial=trial,
            write_back="armed" if armed else "dry_run",
            records_dir=str(place.state / "records" / facts.name),
            work_dir=str(place.state / "work" / facts.name),
            node_id=place.node_id,
            node_name=place.node_name,
            site=place.site,
        )

    def in_safe(self, stored: Activation, boot_number: int) -> Activation:
        """An activation that was kept without its secrets, for a node that has nothing else. Write-back stays dry."""
        values = self._bindings.with_secrets(stored.bindings)
        return msgspec.structs.replace(
            stored, bindings=values, boot_number=boot_number, trial=False, write_back="dry_run"
        )

    async def _same_writes(self, facts: Facts, row: Revision, previous: Revision) -> bool:
        _, before = await self.facts(previous.digest)
        same = before.pipeline_digest == facts.pipeline_digest and previous.binding_revision == row.binding_revision
        return same and self._is_armed(before, previous)

    def _is_armed(self, facts: Facts, row: Revision) -> bool:
        """Whether the node's local switch names this model under these bindings."""
        return f"{facts.model_digest}@{row.binding_revision}" in self._settings.write_back.armed

    def _path(self, digest: str | None) -> str | None:
        return str(self._blobs.path(digest)) if digest else None

    def _read(self, digest: str) -> tuple[Manifest, Facts]:
        manifest = bundle.parse_manifest(self._blobs.read(digest, bytes_max=bundle.MANIFEST_BYTES_MAX))
        layer = manifest.layer("facts")
        if layer is None:
            raise bundle.BundleMalformed("a bundle needs facts")
        return manifest, bundle.facts_of(manifest, self._blobs.read(layer.digest, bytes_max=bundle.FACTS_BYTES_MAX))
