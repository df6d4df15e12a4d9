"""What an operator says of a transfer: how much of the link it may take, and that nothing is to be saved."""

from __future__ import annotations

import argparse

from console.cli.session import Session
from console.transfer.budget import parse_rate
from console.transfer.ready import make_shipping
from console.transfer.shipping import Shipping


def add_transfer(parser: argparse.ArgumentParser) -> None:
    """`--budget`, `--whole`."""
    add_budget(parser)
    parser.add_argument("--whole", action="store_true", help="whole files, no differences to what the node holds")


def add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget", type=rate, metavar="RATE", help="all uploads together take at most this, such as 2MB/s"
    )


def rate(text: str) -> float:
    """Bytes a second. Raises ArgumentTypeError."""
    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def shipping_of(session: Session, args: argparse.Namespace) -> Shipping:
    """As the call says."""
    return make_shipping(session.home, bytes_per_s=args.budget, whole=args.whole)
