"""What everything about deployments works with, wired once by the supervisor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from nodeagent.clock import Clock
from nodeagent.deployment.activations import Activations
from nodeagent.deployment.binding_store import BindingStore
from nodeagent.deployment.rows import Rows
from nodeagent.deployment.staging import Staging
from nodeagent.deployment.switcher import Switcher
from nodeagent.runtime.runtime import Runtimes
from nodeagent.settings import Settings
from nodeagent.state.database import NodeDatabase
from nodeagent.state.logs import Level
from nodeagent.state.standing import Standing

AGENT = "agent"


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of one node."""

    state: Path
    settings: Settings
    clock: Clock
    database: NodeDatabase
    rows: Rows
    staging: Staging
    switcher: Switcher
    runtimes: Runtimes
    activations: Activations
    bindings: BindingStore
    standing: Standing
    log: Callable[[Level, str, str], object]
