"""The short-lived process that judges an approval: a job in, who gave it or why it does not count out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from nodeagent.processes.limits import Limits, tie_to_parent_of
from nodeagent.state.state_folder import SIGNERS_NAME
from store import warrant
from store.warrant import WarrantRefused

JOB_BYTES_MAX = 128 << 10


class WarrantJob(msgspec.Struct, frozen=True, kw_only=True):
    """`document` and `signature` as they came; `subject`: what it must be for."""

    state: str
    node_id: str
    subject: str
    document: str
    signature: str
    at_s: float


class WarrantVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """With `code` the approval does not count. `principals` and `fingerprint` are its signer's."""

    code: str = ""
    message: str = ""
    id: str = ""
    principals: str = ""
    fingerprint: str = ""
    plan: str = ""
    change: str = ""


def examine(job: WarrantJob) -> WarrantVerdict:
    """The verdict on a job. Never raises for what it holds."""
    try:
        text = (Path(job.state) / SIGNERS_NAME).read_text("utf-8")
        document, signature = job.document.encode(), job.signature.encode()
        found, signer = warrant.verify(
            "approval", document, signature, text, node_id=job.node_id, subject=job.subject, at_s=job.at_s
        )
    except WarrantRefused as error:
        return WarrantVerdict(code=error.code, message=str(error))
    except (OSError, UnicodeError) as error:
        return WarrantVerdict(code="TRUST.SIGNATURE", message=f"allowed_signers cannot be used: {error}")
    return WarrantVerdict(
        id=found.id,
        principals=signer.principal,
        fingerprint=signer.fingerprint,
        plan=found.plan,
        change=found.change,
    )


def main() -> int:
    """Reads a WarrantJob from standard input, writes a WarrantVerdict to standard output."""
    parser = argparse.ArgumentParser(prog="nodeagent.deployment.warrant_check", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s).apply()
    job = msgspec.json.decode(sys.stdin.buffer.read(JOB_BYTES_MAX), type=WarrantJob)
    os.write(1, msgspec.json.encode(examine(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
