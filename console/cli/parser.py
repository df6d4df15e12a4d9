"""Every verb of the command line, declared by its group."""

from __future__ import annotations

import argparse

from console.cli import (
    agent,
    alert,
    backtest,
    bootstrap,
    bundle,
    capsule,
    carry,
    change,
    check,
    data,
    deploy,
    diode,
    doctor,
    export,
    fleet,
    handover,
    inventory,
    keymap,
    kit,
    labels,
    ledger,
    node,
    outside,
    passport,
    receipt,
    replace,
    report,
    rollout,
    service,
    shadow,
    source,
    tag,
    tap,
    trial,
    trust,
)

GROUPS = (
    node,
    bootstrap,
    replace,
    agent,
    inventory,
    fleet,
    check,
    alert,
    data,
    export,
    labels,
    ledger,
    passport,
    deploy,
    trial,
    backtest,
    shadow,
    rollout,
    source,
    tag,
    tap,
    trust,
    change,
    service,
    handover,
    report,
    capsule,
    bundle,
    kit,
    carry,
    receipt,
    diode,
    keymap,
    doctor,
    outside,
)


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Declares all of them. A verb sets `verb` (async) or `direct` (runs its own loop)."""
    verbs = parser.add_subparsers(dest="group", metavar="VERB", title="verbs")
    for group in GROUPS:
        group.add(verbs)
