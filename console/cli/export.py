"""`export`: records of nodes as a data set for training."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from console import figures
from console.cli.arguments import add_verb, duration_s
from console.cli.session import Session
from console.failure import OK, Failure
from console.records.export import Query, export, facts_path
from console.records.forms import form_of
from console.records.parquet import NoDuckDB
from store.errors import StoreError


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    exported = add_verb(verbs, "export", run, summary="records of one or more nodes as a data set, with its lineage")
    exported.add_argument("nodes", nargs="+", metavar="NODE")
    exported.add_argument("--bundle", required=True)
    exported.add_argument("--since", type=duration_s, metavar="24h", help="not older than this; left out: all")
    exported.add_argument("--context", default="", metavar="'product=A4 shift=2'", help="only of these, all of them")
    exported.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="its end says the form")
    exported.add_argument(
        "--format", choices=("parquet", "csv", "jsonl", "labelstudio"), default="", help="where it does not"
    )


async def run(session: Session, args: argparse.Namespace) -> int:
    """Writes the file and dataset.json beside it."""
    try:
        form = form_of(args.output, args.format)
    except ValueError as error:
        raise Failure(str(error), code=2) from error
    nodes = list(dict.fromkeys(args.nodes))
    since_us = None if args.since is None else time.time_ns() // 1000 - round(args.since * 1e6)
    query = Query(bundle=args.bundle, nodes=nodes, since_us=since_us, context=args.context)
    async with session.fleet(nodes) as fleet:
        readers = {node: fleet.client(node) for node in nodes}
        try:
            facts = await export(
                readers, query, args.output, by=session.operator, clock_us=lambda: time.time_ns() // 1000, form=form
            )
        except NoDuckDB as error:
            raise Failure(str(error), code=2) from error
        except (StoreError, OSError) as error:
            raise Failure(f"{args.output}: {error}", "nothing was written") from error
    if session.as_json:
        session.json(facts)
        return OK
    for node in nodes:
        lost = facts["lost"][node]
        session.line(f"{node}: {facts['rows'][node]} records" + (f", {lost} were lost on the node" if lost else ""))
    (file,) = facts["files"]
    session.line(f"{args.output}: {figures.size(file['bytes'])}, sha256 {file['sha256']}")
    session.line(f"{facts_path(args.output)}: where it comes from")
    return OK
