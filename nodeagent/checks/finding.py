"""What one check finds, and how all are asked: a check that cannot look says so, and never reads as well."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import psutil

from nodeagent.protocol import Check
from nodeagent.state.database import NotWritable
from store.errors import StoreError

Verdict = Literal["ok", "warn", "bad", "unknown"]
TEXT_CHARS_MAX = 400
# What a machine that will not be looked at can raise; anything else is a bug of ours.
NOT_TOLD = (OSError, StoreError, NotWritable, psutil.Error, sqlite3.Error, ValueError)


class Finding(NamedTuple):
    """`advice` says what to do about it; one that is well has none."""

    verdict: Verdict
    text: str
    advice: str = ""


def ok(text: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", text)


def warn(text: str, advice: str) -> Finding:
    """Somebody should look, not at once."""
    return Finding("warn", text, advice)


def bad(text: str, advice: str) -> Finding:
    """Something does not work, or will not the next time it is needed."""
    return Finding("bad", text, advice)


def unknown(text: str, advice: str = "") -> Finding:
    """It cannot be seen from here, which is not the same as well."""
    return Finding("unknown", text, advice)


def name_of(check: Callable[..., Any]) -> str:
    """A check is called what its function is called: `open_files` is `open-files`."""
    return check.__name__.strip("_").replace("_", "-")


def row(name: str, finding: Finding) -> Check:
    """The check as it travels."""
    verdict, text, advice = finding
    return Check(name=name, verdict=verdict, text=text[:TEXT_CHARS_MAX], advice=advice[:TEXT_CHARS_MAX])


def ask(checks: Iterable[Callable[[Any], Finding]], subject: Any) -> list[Check]:
    """Asks each; blocking, for a thread."""
    found = []
    for check in checks:
        try:
            finding = check(subject)
        except NOT_TOLD as error:
            finding = unseen(error)
        found.append(row(name_of(check), finding))
    return found


def unseen(error: BaseException) -> Finding:
    """A check that could not look."""
    return unknown(f"cannot be looked at: {error or type(error).__name__}")
