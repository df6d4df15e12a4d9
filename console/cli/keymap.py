"""`outstation keys`: the keys of the app, with the person's own; says what is wrong with their file."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import get_args

from console.cli.arguments import add_verb
from console.cli.session import Session
from console.failure import FAILED, OK
from console.seat import verbs
from console.seat.commands import Screen
from console.seat.keymap import config_file, from_environment


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    shown = add_verb(verbs, "keys", show, summary="the keys of the app, and whether your own are used")
    shown.add_argument("screen", nargs="?", choices=sorted(get_args(Screen)), help="default: all screens")
    shown.add_argument("--markdown", action="store_true", help="as the table of docs/keys.md")


async def show(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 when the file cannot be used: the usual keys are shown then."""
    keymap, refused = from_environment()
    table = keymap.on(args.screen) if args.screen else keymap.table
    if args.markdown:
        session.lines(verbs.page(table).splitlines())
        return OK
    if session.as_json:
        plain = [dataclasses.asdict(c) | {"verb": verbs.verb_of(c), "own": c.name in keymap.own} for c in table]
        session.json({"file": str(config_file(os.environ)), "refused": refused, "keys": plain})
        return FAILED if refused else OK
    rows = [
        (c.shown + (" *" if c.name in keymap.own else ""), c.word, c.help + (" (OPERATE)" if c.operate else ""), c.name)
        for c in table
    ]
    session.table(("KEY", "WORD", "WHAT IT DOES", "NAME"), rows)
    for word, words in keymap.aliases.items():
        session.line(f"alias {word}: {words}")
    if refused:
        session.line(f"X your keys are not used: {refused}")
        return FAILED
    if keymap.own or keymap.aliases:
        session.line(f"* your own, from {config_file(os.environ)}")
    return OK
