"""`source probe`: what a plant address has to tell, asked from the node; `source accept`: a changed device is right."""

from __future__ import annotations

import argparse

from console.cli.arguments import add_verb
from console.cli.session import Session
from console.failure import OK
from nodeagent.protocol import ProbeRequest, ProbeRow

RATE_PER_S = 10


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    group = verbs.add_parser("source", help="where data comes from").add_subparsers(
        dest="source_verb", required=True, metavar="VERB"
    )
    probe = add_verb(group, "probe", probe_source, summary="registers, topics or nodes behind an address, from a node")
    probe.add_argument("node")
    probe.add_argument(
        "url", help="tcp:// rtu:// (Modbus), mqtt://, opc.tcp://, s7://, eip:// or file://, as the node sees it"
    )
    probe.add_argument("--table", default="holding", choices=("holding", "input", "coil", "discrete"))
    probe.add_argument("--unit-id", type=int, default=1, help="of the Modbus device (1)")
    probe.add_argument("--first", type=int, default=0, help="the first register or byte (0)")
    probe.add_argument("--count", type=int, default=32, help="how many (32)")
    probe.add_argument("--at", default="", help="an MQTT topic, an OPC UA node, an S7 block: where to begin")
    probe.add_argument("--seconds", type=float, default=5.0, help="how long to listen (5)")
    accept = add_verb(group, "accept", accept_source, summary="say that the changed device behind a source is right")
    accept.add_argument("node")
    accept.add_argument("bundle")
    accept.add_argument("source", help="its id in the pipeline")
    accept.add_argument("--note", default="", help="why, for the ledger")


async def accept_source(session: Session, args: argparse.Namespace) -> int:
    """Its samples are Good again, and write-back that was taken away acts again at the next valid decision."""
    async with session.operate([args.node]) as lane:
        done = await lane.client(args.node).accept_source(args.bundle, args.source, args.note)
    if session.as_json:
        session.json(done)
    else:
        session.line(f"{args.node}: {done.source} of {done.bundle} accepted by {done.by}: {done.changed}")
    return OK


async def probe_source(session: Session, args: argparse.Namespace) -> int:
    """Says what it will do to the plant before it does it, then shows what was found."""
    if not session.as_json:
        session.line(
            f"{args.node} opens one connection to {args.url}, reads at most {RATE_PER_S} times a second, writes nothing"
        )
        session.flush()
    async with session.operate([args.node]) as lane:
        client = lane.client(args.node)
        request = ProbeRequest(
            node_id=await client.identify(),
            url=args.url,
            table=args.table,
            unit_id=args.unit_id,
            first=args.first,
            count=args.count,
            at=args.at,
            seconds=args.seconds,
        )
        probe = await client.probe(request)
    if session.as_json:
        session.json(probe)
        return OK
    columns: list[str] = []
    rows: list[list[str]] = []
    for found in [*probe.rows, ProbeRow(note="")]:
        if found.row:
            rows.append(found.row)
            continue
        if columns:
            session.table(columns, rows)
        columns, rows = found.columns, []
        if found.note:
            session.line(found.note)
    return OK
