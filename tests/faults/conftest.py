"""The real node of tests/nodeagent/agent, for the tests that kill it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "real_agent", Path(__file__).parents[1] / "nodeagent" / "agent" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

workshop = _MODULE.workshop
make_agents = _MODULE.make_agents
