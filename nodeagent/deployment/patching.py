"""The short-lived process that makes a blob out of one that is here and a difference that came from outside.

It needs a few megabytes whatever the blobs' size, and what it writes becomes a blob only under its own digest.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from nodeagent.processes.limits import Limits, tie_to_parent_of
from store import delta
from store.blobs import BlobMismatch, Blobs
from store.delta import DeltaMalformed
from store.errors import DiskFull, ReadOnly, StoreError

JOB_BYTES_MAX = 64 << 10
NICE = 10


class PatchJob(msgspec.Struct, frozen=True, kw_only=True):
    """`new` is to be made of `old` and `delta`; digests."""

    state: str
    new: str
    old: str
    delta: str


class PatchVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """With `code` (of protocol.ERRORS) nothing was made."""

    code: str = ""
    message: str = ""


def patch(job: PatchJob) -> PatchVerdict:
    """Makes the blob. Never raises for what the difference holds or the disk does."""
    blobs = Blobs(Path(job.state))
    try:
        with blobs.path(job.old).open("rb") as old, blobs.path(job.delta).open("rb") as file:
            header = delta.read_header(file)
            if (header.old, header.new) != (job.old, job.new):
                raise DeltaMalformed(f"it makes {header.new} of {header.old}")
            blobs.make(job.new, delta.patched(old, file, header.size))
    except FileNotFoundError as error:
        return PatchVerdict(code="BLOB.UNKNOWN", message=f"{Path(error.filename or '').name} is not here")
    except DeltaMalformed as error:
        return PatchVerdict(code="BLOB.DELTA", message=f"the difference cannot be used: {error}")
    except BlobMismatch as error:
        return PatchVerdict(code="BLOB.DELTA", message=f"the difference makes another blob: {error}")
    except DiskFull as error:
        return PatchVerdict(code="DEPLOYMENT.DISK_FULL", message=str(error))
    except ReadOnly as error:
        return PatchVerdict(code="DEPLOYMENT.READ_ONLY", message=str(error))
    except StoreError as error:
        return PatchVerdict(code="BLOB.DELTA", message=str(error))
    return PatchVerdict()


def main() -> int:
    """Reads a PatchJob from standard input, writes a PatchVerdict to standard output."""
    parser = argparse.ArgumentParser(prog="nodeagent.deployment.patching", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s, nice=NICE).apply()
    job = msgspec.json.decode(sys.stdin.buffer.read(JOB_BYTES_MAX), type=PatchJob)
    os.write(1, msgspec.json.encode(patch(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
