"""The short-lived process that judges a signed change of trust: a job in, the new list or a refusal out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from nodeagent.processes.limits import Limits, tie_to_parent_of
from nodeagent.state.state_folder import SIGNERS_NAME
from store import signers, trust
from store.trust import ChangeRefused

JOB_BYTES_MAX = 64 << 10


class TrustJob(msgspec.Struct, frozen=True, kw_only=True):
    """`change` and `signature` as they came; without them only the list is read."""

    state: str
    node_id: str
    change: str = ""
    signature: str = ""
    at_s: float = 0.0


class TrustVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """With `code` the change is refused. `listed`: principals, fingerprint, namespaces of each signer of `text`."""

    code: str = ""
    message: str = ""
    text: str = ""
    signer: str = ""
    told: str = ""
    listed: list[tuple[str, str, list[str]]] = []


def examine(job: TrustJob) -> TrustVerdict:
    """The verdict on a job. Never raises for what it holds."""
    path = Path(job.state) / SIGNERS_NAME
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        told = who = ""
        if job.change:
            change, signature = job.change.encode(), job.signature.encode()
            text, made, signer = trust.apply(text, change, signature, node_id=job.node_id, at_s=job.at_s)
            told = f"{made.action} {made.line or made.fingerprint}"
            who = f"{signer.principal} {signer.fingerprint}"
        listed = [(",".join(s.principals), s.key.fingerprint, sorted(s.namespaces)) for s in signers.parse(text)]
        return TrustVerdict(text=text, told=told, signer=who, listed=listed)
    except ChangeRefused as error:
        return TrustVerdict(code=error.code, message=str(error))
    except (signers.SignersRefused, OSError, UnicodeError) as error:
        return TrustVerdict(code="TRUST.SIGNATURE", message=f"allowed_signers cannot be used: {error}")


def main() -> int:
    """Reads a TrustJob from standard input, writes a TrustVerdict to standard output."""
    parser = argparse.ArgumentParser(prog="nodeagent.deployment.trust_change", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s).apply()
    job = msgspec.json.decode(sys.stdin.buffer.read(JOB_BYTES_MAX), type=TrustJob)
    os.write(1, msgspec.json.encode(examine(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
