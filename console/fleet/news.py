"""What changed on the board since it was looked at last, in lines of words: for screen readers and serial lines."""

from __future__ import annotations

from collections import Counter
from typing import Final

from console.figures import clock
from console.fleet.board import Board, BoardAlert, NodeState
from console.fleet.view import Condition, LinkState

LINES_MAX = 20
WORDS: Final = {
    Condition.ALARM: "ALRM",
    Condition.WARN: "WARN",
    Condition.UNKNOWN: "UNKN",
    Condition.MAINTENANCE: "MMNT",
    Condition.OK: "OK",
}


def word_of(state: NodeState) -> str:
    """The word that `status` has for it."""
    return "TRIAL" if state.condition is Condition.OK and state.trial is not None else WORDS[state.condition]


def settled(board: Board) -> bool:
    """Whether every node has answered, or failed to."""
    return all(state.view.link is not LinkState.CONNECTING for state in board.nodes.values())


def summary(board: Board) -> str:
    """The fleet in a sentence, worst first."""
    if not board.nodes:
        return "no nodes yet: `node add NAME USER@HOST` adds one, `demo` shows a plant on this machine"
    counts = Counter(word_of(state) for state in sorted(board.nodes.values(), key=lambda s: s.condition))
    parts = ", ".join(f"{count} {word}" for word, count in counts.items())
    waiting = len(board.waiting)
    alerts = f"; {waiting} alert{'s wait' if waiting != 1 else ' waits'} to be acknowledged" if waiting else ""
    return f"{len(board.nodes)} node{'s' if len(board.nodes) != 1 else ''}: {parts}{alerts}"


def news(before: Board, now: Board) -> list[str]:
    """One line a change, the worst first, at most LINES_MAX and how many more."""
    changed = [(s.condition, s.view.name, _node(before.nodes.get(s.view.name), s)) for s in now.nodes.values()]
    lines = [line for _, _, line in sorted(changed) if line]
    lines += [f"{name} is no longer in the fleet" for name in before.nodes if name not in now.nodes]
    known = {alert.key for alert in before.waiting}
    shown = {s.view.name for s in now.nodes.values() if s.condition is Condition.UNKNOWN}
    lines += [_alert(alert) for alert in now.waiting if alert.key not in known and not _is_told(alert, shown)]
    over = {alert.key for alert in now.waiting}
    still = {alert.key for alert in now.alerts if not alert.waits}
    lines += [
        f"{a.node} alert over: {a.message}"
        for a in before.waiting
        if a.id and a.key not in over and a.key not in still and a.node in now.nodes and now.nodes[a.node].known
    ]
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], f"and {len(lines) - LINES_MAX} more: `status` and `alerts` tell all"]
    return [f"{clock(now.wall_s)} {line}" for line in lines]


def _node(before: NodeState | None, now: NodeState) -> str:
    """What changed about a node, "" for nothing."""
    word = word_of(now)
    reason = f": {now.reason}" if now.reason else ""
    if before is None:
        return f"{now.view.name} is in the fleet, {word}{reason}"
    old = word_of(before)
    return "" if old == word else f"{now.view.name} {word}{reason} (was {old})"


def _alert(alert: BoardAlert) -> str:
    number = f" {alert.id}" if alert.id else ""
    advice = f". Next: {alert.advice}" if alert.advice else ""
    return f"{alert.node} alert{number}, priority {alert.priority}: {alert.message}{advice}"


def _is_told(alert: BoardAlert, unknown: set[str]) -> bool:
    """An alert of this console about a node that it cannot reach is told by the node's own line."""
    return alert.id == 0 and alert.node in unknown
