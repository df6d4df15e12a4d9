"""Which verb of the command line does what a key does. What is only about the screen has none, and says so here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console.seat.commands import Command

# By the name of the command; docs/keys.md shows them beside the keys.
VERBS: Final = {
    "open": "node show NODE",
    "screen_fleet": "status",
    "screen_alerts": "alerts",
    "screen_rollouts": "rollout list",
    "screen_catalog": "catalog list",
    "screen_logs": "logs NODE --follow",
    "screen_records": "records NODE BUNDLE",
    "screen_ledger": "ledger verify",
    "logs_of": "logs NODE",
    "checks": "check NODE",
    "alert_rules": "alert rules NODE",
    "acknowledge": "ack NODE 1",
    "shelve": "alert shelve NODE 1 --for 4h --reason WHY",
    "alert_history": "alerts NODE",
    "review": "review-queue NODE BUNDLE",
    "label": "label NODE BUNDLE 1 LABEL",
    "deploy": "deploy BUNDLE NODE",
    "bundle_deploy": "deploy BUNDLE NODE",
    "rollback": "rollback NODE",
    "hold": "hold NODE",
    "service": "out-of-service NODE --reason WHY",
    "watch": "history NODE",
    "confirm": "confirm NODE",
    "past_gate": "deploy BUNDLE NODE --past-gate",
    "extend": "extend NODE --confirm-within 10m",
    "rollout_plan": "rollout plan POLICY BUNDLE",
    "rollout_go": "rollout start ID",
    "rollout_pause": "rollout pause ID",
    "rollout_retry": "rollout retry ID",
    "rollout_past": "rollout resume ID --past-gate",
    "rollout_keep": "rollout abort ID --keep",
    "rollout_revert": "rollout abort ID --revert",
    "bundle_add": "catalog import FILE",
    "bundle_fits": "passport BUNDLE NODE",
    "verify": "ledger verify NODE",
    "at": "ledger at 14:05 NODE",
    "accept_break": "ledger accept NODE --reason WHY",
    "capsule": "capsule make NODE -o FILE",
    "node_add": "node add NAME USER@HOST",
    "demo": "demo",
    "histogram": "trend NODE BUNDLE",
    "help": "keys",
}
_SEAT: Final = (
    "back", "history_back", "history_on", "next_tab", "last_tab", "read_left", "read_right", "read_far_left",
    "read_far_right", "next_figure", "last_figure", "zoom_out", "zoom_in", "beside", "next_bundle", "filter", "faults",
    "mark", "mark_all", "unmark", "sort", "sort_reverse", "group", "wall", "level", "pause", "find", "find_next",
    "find_last", "more", "less", "records_anew", "operate", "yank", "print", "export", "palette", "work", "cancel",
    "repaint", "quit", "output", "time_back", "time_on", "time_far_back", "time_far_on",
)  # fmt: skip
_SEAT_PREFIXES: Final = ("theme_", "link_", "tap_", "drill_", "replay_")


def verb_of(command: Command) -> str:
    """The words after `outstation`; "" for what is about this screen alone."""
    return VERBS.get(command.name, "")


def is_of_the_seat(name: str) -> bool:
    """Whether a command moves, shows or copies, and so has no verb."""
    return name in _SEAT or name.startswith(_SEAT_PREFIXES)


def page(commands: Sequence[Command]) -> str:
    """The table of docs/keys.md."""
    rows = [
        f"| `{c.name}` | {_cell(c.shown)} | {c.word} | {_screens(c)} | {c.help}{' (OPERATE)' if c.operate else ''} "
        f"| {_cell(verb_of(c))} |"
        for c in commands
    ]
    head = "| name | key | word | screens | what it does | `outstation ...` |\n| --- | --- | --- | --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return f"`{text}`" if text else ""


def _screens(command: Command) -> str:
    from console.seat.commands import EVERYWHERE, MAIN

    if set(command.screens) >= set(EVERYWHERE):
        return "all"
    return "all lists" if set(command.screens) >= set(MAIN) else ", ".join(command.screens)
