"""Where everything of an agent lies on a node: versions beside each other, one link to the one that counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """`prefix` holds the programs, `state` what the node knows. They may lie in each other."""

    prefix: Path
    state: Path

    @property
    def versions(self) -> Path:
        return self.prefix / "versions"

    @property
    def current(self) -> Path:
        """A link to the version that runs."""
        return self.prefix / "current"

    @property
    def staging(self) -> Path:
        """Wheels on their way in; gone when they are unpacked."""
        return self.prefix / "staging"

    @property
    def runtimes(self) -> Path:
        """Pythons that came with a kit."""
        return self.prefix / "runtimes"

    @property
    def journal(self) -> Path:
        return self.prefix / "bootstrap.json"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives; its process id and its agent's stand in it."""
        return self.prefix / "keeper.lock"

    @property
    def keeper_log(self) -> Path:
        return self.prefix / "keeper.log"

    def agent(self) -> Path:
        """The command that always starts the version that counts."""
        return self.current / "outstation-agent"

    def keeper(self) -> Path:
        return self.current / "outstation-keeper"
