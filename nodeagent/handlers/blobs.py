"""Blobs: how much of one is here, and the next piece of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import admission
from nodeagent.http.body import ClientGone
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import BlobState
from store.blobs import BlobMismatch, BlobOffset, Blobs, is_digest
from store.errors import DiskFull, ReadOnly

PIECE_BYTES = 1 << 20
TOTAL_BYTES_MAX = (2 << 30) - 1


@dataclasses.dataclass(frozen=True)
class BlobHandlers:
    """PUT takes `offset`, `total` and `node_id` in its query; the last byte makes the blob, once its hash is right."""

    blobs: Blobs
    parts: Parts
    node_id: str

    def endpoints(self) -> Endpoints:
        path = "/agent/v1/blobs/{digest}"
        return {("GET", path): self.state, ("PUT", path): self.put}

    async def state(self, call: Call) -> BlobState:
        """0 bytes of a blob that is not here is an answer, not an error."""
        return shown(self.blobs, digest_in(call))

    async def put(self, call: Call) -> BlobState:
        digest = digest_in(call)
        if (named := call.query_text("node_id")) != self.node_id:
            raise HttpError("REQUEST.WRONG_NODE", f"this node is {self.node_id}, not {named or 'unnamed'}")
        admission.admit(self.parts)
        offset = call.query_int("offset", 0, maximum=TOTAL_BYTES_MAX)
        total = call.query_int("total", 0, minimum=1, maximum=TOTAL_BYTES_MAX)
        state = self.blobs.state(digest)
        if not state.complete:
            await self._receive(call, digest, offset, total)
        return shown(self.blobs, digest)

    async def _receive(self, call: Call, digest: str, offset: int, total: int) -> None:
        try:
            async for piece in self._pieces(call):
                async with self.parts.staging.blobs_lock:
                    state = await asyncio.to_thread(self.blobs.put_at, digest, offset, piece, total)
                offset += len(piece)
                if state.complete:
                    return
            if offset == total:
                async with self.parts.staging.blobs_lock:
                    await asyncio.to_thread(self.blobs.finish, digest)
        except BlobOffset as error:
            text = f"the node has {error.received_bytes} bytes of it"
            raise HttpError("BLOB.OFFSET", text, f"Go on at byte {error.received_bytes}.") from error
        except BlobMismatch as error:
            raise HttpError("BLOB.MISMATCH", str(error), "It was thrown away; send it again.") from error
        except DiskFull as error:
            raise HttpError("DEPLOYMENT.DISK_FULL", str(error), "Free space on the node.") from error
        except ReadOnly as error:
            raise HttpError("DEPLOYMENT.READ_ONLY", str(error), "Look at the node's disk.") from error
        except FileNotFoundError as error:
            raise HttpError("BLOB.UNKNOWN", "what was sent of it is gone", "Go on at byte 0.") from error
        except ValueError as error:
            raise HttpError("REQUEST.MALFORMED", str(error)) from error

    async def _pieces(self, call: Call) -> AsyncIterator[bytes]:
        """The body in pieces of PIECE_BYTES, so that a thread is asked once a megabyte.

        Where the connection breaks, what had come is kept: it need not be sent again.
        """
        reader = call.request.reader
        if reader is None:
            yield call.request.body
            return
        held = bytearray()
        broken: ClientGone | None = None
        try:
            async for piece in reader:
                held += piece
                if len(held) >= PIECE_BYTES:
                    yield bytes(held)
                    held.clear()
        except ClientGone as error:
            broken = error
        if held:
            yield bytes(held)
        if broken is not None:
            raise broken


def shown(blobs: Blobs, digest: str) -> BlobState:
    """What the node holds of a blob."""
    state = blobs.state(digest)
    return BlobState(digest=digest, received_bytes=state.received_bytes, complete=state.complete, patches=True)


def digest_in(call: Call) -> str:
    """The digest of the path. Raises REQUEST.MALFORMED."""
    digest = call.path["digest"]
    if not is_digest(digest):
        raise HttpError("REQUEST.MALFORMED", "a digest is sha256: and 64 hexadecimal digits")
    return digest
