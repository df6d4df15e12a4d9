"""What an operator says of a transfer: how much of the link it may take, and that nothing is to be saved."""

from __future__ import annotations

import argparse

from console.cli.session import Session
from console.link.seeds import JUMP
from console.transfer.budget import parse_rate
from console.transfer.ready import make_shipping
from console.transfer.shipping import Shipping


def add_transfer(parser: argparse.ArgumentParser) -> None:
    """`--budget`, `--whole`, `--seed`."""
    add_budget(parser)
    parser.add_argument(
        "--seed",
        default="",
        metavar="NODE|jump",
        help="bring it to this node, or to the jump host, which hands it on with your ssh-agent",
    )
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


def seeds_of(seed: str) -> list[str]:
    """The node that a seed names, if it names one."""
    return [] if seed in ("", JUMP) else [seed]


def shipping_of(session: Session, args: argparse.Namespace) -> Shipping:
    """As the call says."""
    return make_shipping(session.home, bytes_per_s=args.budget, whole=args.whole, seed=args.seed)
