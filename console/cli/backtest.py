"""`outstation backtest BUNDLE NODE --since 24h`: a bundle over what a node recorded, here, without a deployment."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from console.cli.arguments import add_verb, duration_s
from console.cli.bundle import taken_bundle
from console.cli.session import Session
from console.client.client import AgentClient
from console.delivery.gate import in_full
from console.failure import FAILED, NOT_REACHED, OK, USAGE, Failure
from nodeagent.protocol import PAGE_ROWS_MAX, GateVerdict, Record
from store.archive import read_archive

MODULE = "nodeagent.runtime.backtest"
LIMIT = 10_000
LIMIT_MAX = 100_000
VALUES_MAX = 8_000_000
PAGE_ROWS = 200
RUN_S = 900.0
_FIGURES = (
    *("rows", "errors", "first_wall_us", "last_wall_us", "flips", "score_shift_mean", "score_shift_p95"),
    *("score_shift_max", "latency_ms_p50", "latency_ms_p95", "worst", "contexts"),
)


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    verb = add_verb(verbs, "backtest", backtest, summary="a bundle over what a node recorded, on this machine")
    verb.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    verb.add_argument("node")
    verb.add_argument("--since", type=duration_s, default=86_400.0, metavar="TIME", help="so far back (24h)")
    verb.add_argument("-n", "--limit", type=int, default=LIMIT, help=f"at most so many predictions ({LIMIT})")
    verb.add_argument("--agreement", type=float, default=0.9, metavar="SHARE", help="exit code 1 below it (0.9)")


async def backtest(session: Session, args: argparse.Namespace) -> int:
    """Nothing on the node changes. Exit code 1 when the bundle agrees less than it should, 3 when nothing is known."""
    if not 0 < args.limit <= LIMIT_MAX:
        raise Failure(f"--limit is 1 to {LIMIT_MAX}", code=USAGE)
    path = taken_bundle(session, args.bundle).absolute()
    with read_archive(path) as archive:
        facts = archive.facts()
    async with session.client(args.node) as client:
        bindings = (await client.bindings()).values
        rows = await recorded(client, facts.name, since_s=args.since, limit=args.limit)
    answer = await _run(path, bindings, rows)
    verdict = _verdict(answer, args.agreement, config=facts.pipeline_digest or "")
    if session.as_json:
        session.json(verdict)
    else:
        session.line(f"{facts.name} {facts.version} over {len(rows):,} records of {args.node}")
        session.lines(in_full(verdict, machine="this machine"))
    return {"passed": OK, "failed": FAILED}.get(verdict.verdict, NOT_REACHED)


async def recorded(client: AgentClient, bundle: str, *, since_s: float, limit: int) -> list[Record]:
    """Records with their inputs of the last `since_s` by the node's own clock, oldest first."""
    now_us = (await client.status()).telemetry.wall_us
    found: list[Record] = []
    before, values = None, 0
    while len(found) < limit and values < VALUES_MAX:
        size = min(PAGE_ROWS, PAGE_ROWS_MAX, limit - len(found))
        page = await client.records(bundle, before=before, limit=size, newest_first=True)
        new = [row for row in page.records if row.wall_us >= now_us - since_s * 1e6]
        values += sum(len(row.inputs or ()) for row in new)
        found += new
        before = page.next
        if before is None or len(new) < len(page.records):
            break
    return found[::-1]


async def _run(path: Path, bindings: dict[str, Any], rows: list[Record]) -> dict[str, Any]:
    """The agent's own code in a process of this environment: the console imports no model."""
    job = msgspec.json.encode({"archive": str(path), "bindings": bindings, "records": rows})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_S):
            out, errors = await process.communicate(job)
    except TimeoutError as error:
        raise Failure(f"not done after {RUN_S:.0f} s", "take fewer records: --limit") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = (errors.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
        hint = "is the agent installed here? pip install 'outstation[agent]'"
        raise Failure(f"running the bundle ended with {process.returncode}: {said}", hint)
    answer: dict[str, Any] = msgspec.json.decode(out)
    return answer


def _verdict(answer: dict[str, Any], agreement_min: float, *, config: str) -> GateVerdict:
    if answer.get("problem"):
        return GateVerdict(verdict="unknown", reasons=[str(answer["problem"])])
    share = answer["agreed"] / answer["decided"] if answer["decided"] else None
    reasons = [f"the model failed on {answer['errors']} rows"] if answer["errors"] else []
    if share is not None and share < agreement_min:
        reasons.append(f"agrees on {share:.1%} of the decisions, at least {agreement_min:.1%} are wanted")
    notes = ["steps of the pipeline differ: the recorded inputs are those of the steps that made them"]
    shown = {name: answer[name] for name in _FIGURES}
    differs = bool(set(answer["configs"]) - {config})
    told = {"verdict": "failed" if reasons else "passed", "reasons": reasons, "agreement": share}
    return msgspec.convert({**shown, **told, "notes": notes if differs else []}, GateVerdict)
