"""The real node of tests/nodeagent/agent, for the tests that kill it."""

from __future__ import annotations

from tests.faults import real_agent

workshop = real_agent.workshop
make_agents = real_agent.make_agents
