"""Alerts: those that stand, the history, that a person has seen one or shelves it, and the rules that raise them."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.health import rules
from nodeagent.health.alert_board import AlertBoard
from nodeagent.health.rule_book import RuleBook
from nodeagent.health.rules import Rule, in_words
from nodeagent.http.message import HttpError
from nodeagent.pipeline.errors import ConfigError
from nodeagent.protocol import (
    PAGE_ROWS_MAX,
    SHELVE_HOURS_MAX,
    Alert,
    AlertRule,
    AlertRules,
    RulesRequest,
    ShelveRequest,
)

NOTE_CHARS_MAX = 512


@dataclasses.dataclass(frozen=True)
class AlertHandlers:
    """Query of the list: `all=1` for the newest ones, cleared ones included, and `limit`."""

    board: AlertBoard
    book: RuleBook

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "/agent/v1/alerts"): self.list,
            ("POST", "/agent/v1/alerts/{id}/acknowledge"): self.acknowledge,
            ("POST", "/agent/v1/alerts/{id}/shelve"): self.shelve,
            ("GET", "/agent/v1/alerts/rules"): self.rules,
            ("PUT", "/agent/v1/alerts/rules"): self.set_rules,
        }

    async def list(self, call: Call) -> list[Alert]:
        if call.query_text("all") != "1":
            return self.board.standing
        return await self.board.newest(call.query_int("limit", 100, minimum=1, maximum=PAGE_ROWS_MAX))

    async def acknowledge(self, call: Call) -> Alert:
        id_ = _number(call)
        found = await self.board.acknowledge(id_, call.actor, call.body.note) if id_ is not None else None
        return _found(found, call)

    async def shelve(self, call: Call) -> Alert:
        request: ShelveRequest = call.body
        if not 0 <= request.hours <= SHELVE_HOURS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"hours is 0 to {SHELVE_HOURS_MAX:.0f}; nothing is shelved for ever")
        if request.hours > 0 and not request.note.strip():
            raise HttpError("REQUEST.MALFORMED", "a reason is needed: the next shift has to know why it is quiet")
        id_, note = _number(call), request.note[:NOTE_CHARS_MAX]
        found = await self.board.shelve(id_, call.actor, note, request.hours * 3_600) if id_ is not None else None
        return _found(found, call)

    async def rules(self, call: Call) -> AlertRules:
        brought = [_line(rule) for rule in self.book.in_force if rule.origin not in (rules.OPERATOR, rules.DEFAULT)]
        return AlertRules(
            text=self.book.text,
            defaults=self.book.defaults_text,
            bundles=brought,
            in_force=[_told(rule) for rule in self.book.in_force],
        )

    async def set_rules(self, call: Call) -> AlertRules:
        request: RulesRequest = call.body
        try:
            if request.dry_run:
                self.book.parse(request.text)
            else:
                await self.board.set_rules(request.text, call.actor)
        except ConfigError as error:
            raise HttpError("ALERT.RULES", str(error), "Correct the line; what was in force still is.") from error
        return await self.rules(call)


def _number(call: Call) -> int | None:
    text = call.path["id"]
    return int(text) if text.lstrip("-").isdigit() and text.isascii() and len(text) < 19 else None


def _found(alert: Alert | None, call: Call) -> Alert:
    if alert is None:
        raise HttpError("ALERT.UNKNOWN", f"there is no alert {call.path['id'][:32]}")
    return alert


def _told(rule: Rule) -> AlertRule:
    options = rule.options
    return AlertRule(
        code=options.code,
        figure=options.figure,
        origin=rule.origin,
        priority=options.priority,
        high=options.high,
        low=options.low,
        deadband=options.deadband,
        on_delay_s=float(options.on_delay),
        off_delay_s=float(options.off_delay),
        says=in_words(options),
        message=options.message,
        advice=options.advice,
        only=options.only,
        enabled=options.enabled,
    )


def _line(rule: Rule) -> str:
    options = rule.options
    limits = [f"{word} {value:g}" for word in ("high", "low") if (value := getattr(options, word)) is not None]
    state = "" if options.enabled else " off"
    return f"{rule.origin}: {options.code} {options.figure} {' '.join(limits)}{state}"
