"""The real node of tests/nodeagent/agent, for what kills it: launcher, supervisor and workers as on a plant."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def _load() -> ModuleType:
    path = Path(__file__).parents[1] / "nodeagent" / "agent" / "conftest.py"
    spec = importlib.util.spec_from_file_location("real_agent", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MODULE = _load()
Agent = _MODULE.Agent
Refusal = _MODULE.Refusal
Workshop = _MODULE.Workshop
agents = _MODULE.agents
workshop = _MODULE.workshop
make_agents = _MODULE.make_agents
