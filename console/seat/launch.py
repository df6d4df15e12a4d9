"""The app over this console's own nodes: puts catalog, links, operations and screens together."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from console.seat.asking import SeatPrompter
from console.seat.opening import Opened, OpeningFailed

USAGE = 2
EXIT_TO_DEMO = 75


def run_app(args: argparse.Namespace) -> int:
    """Runs the app until the person leaves; the exit code. Catalog and links are opened after the first paint."""
    from console.home import find_home, operator_name
    from console.seat.app import run
    from console.seat.choices import read

    try:
        operator = operator_name(args.operator, os.environ)
    except ValueError as error:
        print(f"outstation: {error}", file=sys.stderr)
        return USAGE
    prompter = SeatPrompter()
    chosen = read(find_home(args.home, os.environ).catalog).unless(args.look, args.link)
    code = run(
        lambda: open_fleet(args.home, operator, prompter),
        operator=operator,
        operate=args.operate,
        ascii=args.ascii,
        link=chosen.link,
        look=chosen.look,
        prompter=prompter,
        record=args.record,
    )
    if code == EXIT_TO_DEMO:
        os.execv(sys.executable, [sys.executable, "-m", "console", "demo"])
    return code


def open_fleet(home_option: str | None, operator: str, prompter: SeatPrompter) -> Opened:
    """The console's own fleet, not connected yet. Raises OpeningFailed. Blocks, and imports much: for a thread."""
    from console.delivery.mandate import Mandate, Papers
    from console.diode.watch import DiodeDesk
    from console.fleet.fleet import LiveFleet
    from console.home import address_of, find_home
    from console.ledgers.visits import ThreadBook, Visits
    from console.link.ready import make_pool
    from console.receipts import brought
    from console.seat.choices import keep
    from console.seat.live import LiveOperations
    from store.errors import StoreError

    home = find_home(home_option, os.environ)
    try:
        with home.open_catalog() as catalog:
            addresses = [address_of(row) for row in catalog.nodes()]
        diode = DiodeDesk(home.catalog)
        mandate = Mandate(find=Papers(home.warrants).find, brought=partial(brought, home))
        fleet = LiveFleet(addresses, make_pool(home, prompter), operator=operator, mandate=mandate, diode=diode)
    except (StoreError, ValueError) as error:
        raise OpeningFailed(str(error)) from error
    operations = LiveOperations(fleet, home.catalog, operator=operator, prompter=prompter)
    book = ThreadBook(home.catalog)

    def close() -> None:
        operations.close()
        book.close()
        diode.close()

    background = (fleet.run, Visits(fleet, book).run)
    return Opened(fleet, operations, background=background, close=close, keep=partial(keep, home))
