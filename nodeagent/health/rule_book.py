"""The alert rules in force on a node: those of the operator, those that active bundles bring, the defaults."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from nodeagent.health import default_rules, rules, trend_limits
from nodeagent.health.rules import Rule
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import locate
from nodeagent.pipeline.section import Document
from nodeagent.protocol import Telemetry, TrendLimit
from nodeagent.settings import Settings
from store import durable

FILE_NAME: Final = "alerts.toml"
Problem = tuple[str, str]


class RuleBook:
    """`pipeline_of` gives the text of the pipeline of a manifest's digest, and raises ValueError where it cannot."""

    def __init__(self, state: Path, settings: Settings, pipeline_of: Callable[[str], Awaitable[str]]) -> None:
        self._path = state / FILE_NAME
        self._pipeline_of = pipeline_of
        self._defaults = default_rules.defaults(settings)
        self._defaults_text = default_rules.text(settings)
        self._operator: tuple[Rule, ...] = ()
        self._text = ""
        self._bundles: dict[str, tuple[Rule, ...]] = {}
        self._decisions: dict[str, list[TrendLimit]] = {}

    @property
    def in_force(self) -> tuple[Rule, ...]:
        """What counts first stands first."""
        brought = (rule for found in self._bundles.values() for rule in found)
        return (*self._operator, *brought, *self._defaults)

    def limits(self, bundle: str) -> list[TrendLimit]:
        """What stands in the charts of an active bundle, or of the host (empty)."""
        return [*self._decisions.get(bundle, ()), *trend_limits.of_rules(self.in_force, bundle)]

    @property
    def text(self) -> str:
        """What the operator has set; empty: nothing."""
        return self._text

    @property
    def defaults_text(self) -> str:
        return self._defaults_text

    def load(self) -> str:
        """Reads the operator's file; what is wrong with it, or nothing. Blocking."""
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            return f"{self._path.name}: {error}"
        try:
            self._operator = self.parse(text)
        except ConfigError as error:
            return str(error)
        self._text = text
        return ""

    def parse(self, text: str) -> tuple[Rule, ...]:
        """The operator's rules. Raises ConfigError."""
        return rules.parse(text, file=FILE_NAME, origin=rules.OPERATOR, defaults=self._defaults)

    def set(self, text: str) -> None:
        """Puts other rules into force and keeps them. Blocking. Raises ConfigError, StoreError."""
        found = self.parse(text)
        durable.write_file(self._path, text.encode())
        self._operator, self._text = found, text

    async def follow(self, telemetry: Telemetry) -> list[Problem]:
        """Takes the rules of bundles that became active and forgets others; (bundle, problem) of unusable ones."""
        wanted = {bundle.digest: bundle.bundle for bundle in telemetry.bundles}
        self._bundles = {digest: found for digest, found in self._bundles.items() if digest in wanted}
        problems = []
        for digest, bundle in wanted.items():
            if digest in self._bundles:
                continue
            try:
                text = await self._pipeline_of(digest)
                self._bundles[digest] = await asyncio.to_thread(self._read, text, bundle)
            except (ValueError, ConfigError) as error:
                self._bundles[digest] = ()
                problems.append((bundle, str(error)))
        return problems

    def _read(self, text: str, bundle: str) -> tuple[Rule, ...]:
        raw = tomllib.loads(text)
        self._decisions[bundle] = trend_limits.of_decision(raw)
        if "alert" not in raw:
            return ()
        document = Document(file="pipeline.toml", lines=locate(text))
        return rules.read(raw, document, origin=bundle, defaults=self._defaults)
