"""A blob made of another one that the node holds: the difference came as a blob of its own, at its own pace."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import admission
from nodeagent.handlers.blobs import TOTAL_BYTES_MAX, digest_in, shown
from nodeagent.health.host import disk
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import BlobState, PatchRequest
from nodeagent.runtime.probation_start import run_limited
from store import delta
from store.blobs import Blobs, is_digest
from store.delta import DeltaMalformed

MODULE = "nodeagent.deployment.patching"
MEMORY_BYTES = 192 << 20
CPU_S = 600
WALL_S = 1_800.0


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says; it is nodeagent.deployment.patching.PatchVerdict."""

    code: str = ""
    message: str = ""


@dataclasses.dataclass(frozen=True)
class PatchHandlers:
    """One at a time. It goes on when the console is cut off, and who asks again waits for the same one."""

    blobs: Blobs
    parts: Parts
    running: dict[str, asyncio.Task[None]] = dataclasses.field(default_factory=dict)
    one: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/blobs/{digest}/patch"): self.patch}

    async def patch(self, call: Call) -> BlobState:
        digest, request = digest_in(call), call.body
        if not is_digest(request.old) or not is_digest(request.delta):
            raise HttpError("REQUEST.MALFORMED", "old and delta are digests: sha256: and 64 hexadecimal digits")
        admission.admit(self.parts)
        if not self.blobs.state(digest).complete:
            task = self.running.get(digest)
            if task is None:
                task = self.running[digest] = asyncio.create_task(self._make(digest, request))
                task.add_done_callback(lambda _: self.running.pop(digest, None))
            await asyncio.shield(task)
        return shown(self.blobs, digest)

    async def _make(self, digest: str, request: PatchRequest) -> None:
        async with self.one:
            size = self._size_made(request.delta)
            job = {"state": str(self.parts.state), "new": digest, "old": request.old, "delta": request.delta}
            document = msgspec.json.encode(job)
            try:
                self._check_room(size)
                ended = await run_limited(MODULE, document, memory_bytes=MEMORY_BYTES, cpu_s=CPU_S, wall_s=WALL_S)
            finally:
                async with self.parts.staging.blobs_lock:
                    await asyncio.to_thread(self.blobs.delete, request.delta)
        if ended.status != 0:
            raise HttpError("BLOB.DELTA", f"applying the difference {ended.words}", _HINT)
        verdict = msgspec.json.decode(ended.out, type=_Verdict)
        if verdict.code:
            raise HttpError(verdict.code, verdict.message, _HINT)

    def _size_made(self, digest: str) -> int:
        """Bytes of what the difference says it makes. Raises where it is not here or none.

        What is no difference is left alone: it may be a blob that something needs.
        """
        try:
            with self.blobs.path(digest).open("rb") as file:
                size = delta.read_header(file).size
        except FileNotFoundError:
            raise HttpError("BLOB.UNKNOWN", "the difference is not here", "Send it first.") from None
        except DeltaMalformed as error:
            raise HttpError("BLOB.DELTA", f"the difference cannot be used: {error}", "Send the whole blob.") from error
        return size

    def _check_room(self, size: int) -> None:
        if size > TOTAL_BYTES_MAX:
            raise HttpError("BLOB.DELTA", f"it makes {size} bytes; at most {TOTAL_BYTES_MAX} are taken", _HINT)
        _, free = disk(self.parts.state)
        least = self.parts.settings.disk.bytes_free_min
        if free is not None and free < size + least:
            text = f"{free / 1e6:.0f} MB free, {(size + least) / 1e6:.0f} MB are needed"
            raise HttpError("DEPLOYMENT.DISK_FULL", text, "Free space, or lower [records] bytes_max in node.toml.")


_HINT = "The difference was thrown away; send the whole blob."
