"""The app over this console's own nodes: puts catalog, links, operations and screens together."""

from __future__ import annotations

import argparse
import os
import sys

from console.asking import SeatPrompter
from console.fleet import LiveFleet
from console.home import address_of, find_home, operator_name
from console.link.ready import make_pool
from console.live import LiveOperations
from store.errors import StoreError

FAILED = 1
USAGE = 2


def run_app(args: argparse.Namespace) -> int:
    """Runs the app until the person leaves; the exit code. The links start after the first paint."""
    from console.app import run

    try:
        home, operator = find_home(args.home, os.environ), operator_name(args.operator, os.environ)
        catalog = home.open_catalog()
    except (StoreError, ValueError) as error:
        print(f"outstation: {error}", file=sys.stderr)
        return FAILED if isinstance(error, StoreError) else USAGE
    with catalog:
        prompter = SeatPrompter()
        fleet = LiveFleet([address_of(row) for row in catalog.nodes()], make_pool(home, prompter))
        operations = LiveOperations(fleet, home.catalog, operator=operator)
        try:
            return run(
                fleet,
                operations,
                operate=args.operate,
                ascii=args.ascii,
                link=args.link,
                look=args.look,
                background=(fleet.run,),
                prompter=prompter,
            )
        finally:
            operations.close()
