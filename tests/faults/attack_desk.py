"""A node's staging desk to attack: the real staging over a real database, with intake in this process.

Every attack begins at a fresh desk that takes the unmutated bundle, the attack's twin; only then something is changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nodeagent.deployment import intake
from nodeagent.deployment.rows import Rows
from nodeagent.deployment.staging import Staging
from nodeagent.deployment.transitions import no_fence
from nodeagent.deployment.verifier import Job, Verdict, Verifier
from nodeagent.http.message import HttpError
from nodeagent.protocol import StageRequest
from nodeagent.state.database import NodeDatabase
from nodeagent.state.standing import Standing
from store import archive, bundle, durable, signing
from store.blobs import Blobs
from store.node import revisions
from tests.faults.race import RaceClock

NODE_ID = "node-1"
LABELS = {"node_id": NODE_ID, "name": "press-07", "site": "hall-2"}


@dataclasses.dataclass(frozen=True)
class InProcess(Verifier):
    """Intake without a process of its own: a few hundred verdicts a second."""

    async def verify(
        self, manifest: str, signature: str, *, content: bool, at_s: float, permit: tuple[str, str] | None = None
    ) -> Verdict:
        verdict = intake.examine(
            Job(
                state=str(self.state), manifest=manifest, signature=signature, at_s=at_s, content=content,
                node_id=self.node_id, permit=permit,
            )
        )  # fmt: skip
        if verdict.code:
            raise HttpError(verdict.code, verdict.message, verdict.hint)
        return verdict


@dataclasses.dataclass
class Desk:
    """One node, and a bundle in pieces before it: what an attack changes. `key` signs for `allowed`."""

    state: Path
    key: Path
    stranger: Path
    manifest: bytes
    signature: bytes
    blobs: dict[str, bytes]
    other: tuple[bytes, bytes, dict[str, bytes]]
    request: dict[str, Any] = dataclasses.field(default_factory=dict)
    stored: dict[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def signers(self) -> Path:
        return self.state / "allowed_signers"

    def told(self) -> Any:
        """The manifest as a document to be changed; `signed` makes it the manifest again."""
        return json.loads(self.manifest)

    def signed(self, manifest: Any, key: Path | None = None) -> None:
        """Another manifest, properly signed."""
        self.manifest = manifest if isinstance(manifest, bytes) else bundle.canonical(manifest)
        self.signature = signing.sign_with_key_file(key or self.key, self.manifest)

    def facts(self, **changes: Any) -> None:
        """Other facts, and the manifest that names them, properly signed."""
        told = self.told()
        layer = next(layer for layer in told["layers"] if layer["mediaType"] == bundle.ROLES["facts"][0])
        new = bundle.canonical(json.loads(self.blobs.pop(layer["digest"])) | changes)
        self.blobs[bundle.digest_of(new)] = new
        layer |= {"digest": bundle.digest_of(new), "size": len(new)}
        self.signed(told)

    def content(self, role: Any, data: bytes, **facts: Any) -> None:
        """Another blob for a role, with the manifest and facts that name it, properly signed."""
        told, digest = self.told(), bundle.digest_of(data)
        layer = next((layer for layer in told["layers"] if layer["mediaType"] == bundle.ROLES[role][0]), None)
        if layer is None:
            layer = {"mediaType": bundle.ROLES[role][0]}
            told["layers"].insert(2, layer)
        layer |= {"digest": digest, "size": len(data)}
        self.blobs[digest] = data
        self.manifest = bundle.canonical(told)
        self.facts(**{f"{role}_digest": digest}, **facts)

    def floor(self, epoch: int, sequence: int) -> None:
        """As if a bundle of that place had been committed."""
        with contextlib.closing(sqlite3.connect(self.state / "node.db", isolation_level=None)) as connection:
            revisions.raise_floor(connection, "press", revisions.Floor(epoch, sequence))

    def ssh_keygen_takes(self) -> bool:
        """The oracle: whether `ssh-keygen -Y verify` counts the signature of the manifest."""
        (self.state / "sig").write_bytes(self.signature)
        command = ["ssh-keygen", "-Y", "verify", "-f", self.signers, "-I", "release", "-n", signing.BUNDLE_NAMESPACE]
        done = subprocess.run(
            [*command, "-s", self.state / "sig"], input=self.manifest, capture_output=True, check=False
        )
        return done.returncode == 0

    def stage(self, id_: str) -> str:
        """Sends everything and stages: the state of the row, or the code that refuses."""
        return asyncio.run(self._stage(id_))

    async def _stage(self, id_: str) -> str:
        blobs, clock = Blobs(self.state), RaceClock.at(1_800_000_000_000_000)
        names = {name: blobs.put(data) for name, data in (("m", self.manifest), ("s", self.signature))}
        for digest, data in (self.blobs | self.stored).items():
            path = blobs.path(digest)
            if digest in self.stored:
                path.chmod(0o600)
                path.write_bytes(data)
            else:
                blobs.put(data)
        database = NodeDatabase(self.state / "node.db", ballast=durable.Ballast(self.state / "ballast", 1))
        await database.open()
        try:
            standing = Standing(database, clock)
            staging = Staging(
                database=database, rows=Rows(database, standing), blobs=blobs, standing=standing, labels=LABELS,
                verifier=InProcess(self.state, NODE_ID),
            )  # fmt: skip
            body = {"node_id": NODE_ID, "id": id_, "manifest": names["m"], "signature": names["s"]} | self.request
            row = await staging.stage(StageRequest(**body), "mallory", no_fence)
            return row.error.code if row.error is not None else row.state
        except HttpError as error:
            return error.code
        finally:
            await database.close()


def pieces(path: Path) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Manifest, signature and blobs of a signed bundle."""
    with archive.read_archive(path) as opened:
        blobs = {digest: opened.open_blob(digest).read() for digest in opened.blobs}
        return opened.manifest_bytes, opened.signature_bytes or b"", blobs


class Desks:
    """Makes fresh desks from one empty node and two signed bundles."""

    def __init__(self, folder: Path, workshop: Any) -> None:
        self._folder, self._workshop, self._number = folder, workshop, 0
        self._empty = folder / "empty"
        Blobs(self._empty).create()
        asyncio.run(self._migrate())
        self._bundle = pieces(workshop.bundle(20, sequence=20))
        self._other = pieces(workshop.bundle(21, sequence=21))
        self._stranger = folder / "stranger"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._stranger], check=True)

    async def _migrate(self) -> None:
        database = NodeDatabase(self._empty / "node.db", ballast=durable.Ballast(self._empty / "ballast", 1))
        await database.open()
        await database.close()

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Desk]:
        """A desk of its own, gone afterwards."""
        self._number += 1
        state = self._folder / f"desk-{self._number}"
        shutil.copytree(self._empty, state)
        shutil.copy(self._workshop.signers, state / "allowed_signers")
        manifest, signature, blobs = self._bundle
        try:
            yield Desk(state, self._workshop.key, self._stranger, manifest, signature, dict(blobs), self._other)
        finally:
            shutil.rmtree(state)
