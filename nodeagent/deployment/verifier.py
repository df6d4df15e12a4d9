"""The supervisor's side of intake: starts the process that reads what came from outside, and hears its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import msgspec

from nodeagent.http.message import HttpError

INTAKE_S_MAX = 180.0
ANSWER_BYTES_MAX = 4 << 20


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What intake is to look at. `content`: all blobs are here; hash them, walk the model, read the pipeline.

    `permit`: its document and its signature, as they came; whether it counts on node `node_id`.
    """

    state: str
    manifest: str
    signature: str
    at_s: float
    content: bool
    node_id: str = ""
    permit: tuple[str, str] | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What intake found. With `code` (of protocol.ERRORS) the bundle is refused and the rest says nothing.

    `blobs`: size by digest of all that the manifest names. `facts` is None while their blob is not here.
    `permit`: id, signer and reason of one that counts for this bundle on this node; `permit_error`: code and reason.
    """

    code: str = ""
    message: str = ""
    hint: str = ""
    signer: str = ""
    warnings: list[str] = []
    bundle: str = ""
    version: str = ""
    blobs: dict[str, int] = {}
    facts: dict[str, Any] | None = None
    permit: tuple[str, str, str] | None = None
    permit_error: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Verifier:
    """Runs intake for one state folder. At most one at a time: its memory is bounded, several would not be."""

    state: Path
    node_id: str = ""
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    async def verify(
        self, manifest: str, signature: str, *, content: bool, at_s: float, permit: tuple[str, str] | None = None
    ) -> Verdict:
        """The verdict on a bundle. Raises HttpError with the code that refuses it, as a reader that died does."""
        job = Job(
            state=str(self.state),
            manifest=manifest,
            signature=signature,
            at_s=at_s,
            content=content,
            node_id=self.node_id,
            permit=permit,
        )
        async with self.lock:
            status, answer, words = await _run(msgspec.json.encode(job))
        if status != 0:
            text = f"reading the bundle ended with status {status}: {words[-300:]}"
            raise HttpError("BUNDLE.MODEL_REFUSED" if content else "BUNDLE.MALFORMED", text, _HINT)
        verdict = msgspec.json.decode(answer, type=Verdict)
        if verdict.code:
            raise HttpError(verdict.code, verdict.message, verdict.hint)
        return verdict


_HINT = "It took more memory or time than reading a bundle may take, or it is built to."


async def _run(job: bytes) -> tuple[int, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nodeagent.deployment.intake"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=ANSWER_BYTES_MAX,
    )
    try:
        async with asyncio.timeout(INTAKE_S_MAX):
            answer, words = await process.communicate(job)
    except TimeoutError:
        return -1, b"", f"not done after {INTAKE_S_MAX:.0f} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, answer, words.decode("utf-8", "replace").strip()
