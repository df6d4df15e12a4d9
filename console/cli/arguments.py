"""Words that several verbs take, and how durations and pairs are read."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from console.cli.session import Session
from console.times import span_s

Verb = Callable[[Session, argparse.Namespace], Awaitable[int]]


def add_verb(
    group: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    verb: Verb,
    *,
    summary: str,
    json: bool = True,
) -> argparse.ArgumentParser:
    """One verb. `summary` is the line in --help."""
    parser = group.add_parser(name, help=summary, description=summary[:1].upper() + summary[1:] + ".")
    parser.set_defaults(verb=verb)
    parser.add_argument("--accept", action="append", default=[], metavar="SHA256:...", help="accept this host key")
    if json:
        parser.add_argument("--json", action="store_true", help="machine-readable output")
    return parser


def add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def add_break_lease(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--break-lease",
        action="store_true",
        help="take the node from whoever is changing it now; both names go into its ledger",
    )


def add_receipt(parser: argparse.ArgumentParser) -> None:
    """`--receipt FILE`; `seen` is what a caller has of a folder that came as a whole."""
    parser.add_argument(
        "--receipt", type=Path, metavar="FILE", help="a scan station's receipt (default: beside the file, FILE.receipt)"
    )
    parser.set_defaults(seen=None)


def add_change(parser: argparse.ArgumentParser, *, emergency: bool = False) -> None:
    """What a change brings along where a node's policy asks for it; `emergency`: for what needs a second person."""
    parser.add_argument(
        "--change", dest="change_number", default="", metavar="NUMBER", help="its number in your books, for the ledger"
    )
    if emergency:
        parser.add_argument(
            "--emergency",
            default="",
            metavar="REASON",
            help="without the second person; an alert stands until another person reviews it",
        )


def duration_s(text: str) -> float:
    """`90`, `90s`, `10m`, `1.5h`, `1d` in seconds. Raises ArgumentTypeError."""
    seconds = span_s(text)
    if seconds is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 10m or 2h")
    return seconds


def pair(text: str) -> tuple[str, str]:
    """`name=value`. Raises ArgumentTypeError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name.strip(), value.strip()


def toml_value(text: str) -> Any:
    """`text` as a TOML value where it is one, otherwise the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
