"""Who may do what on a real node: every write against every role, as a key's forced command names it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nodeagent.protocol import ROUTES

MONITOR, OPERATE, RELEASE = "monitor", "operate", "release"
ROLES = (MONITOR, OPERATE, RELEASE)
# The least role of every write. A new one has to be put here by whoever adds its route.
LEAST = {
    "POST /records/{key}/label": MONITOR,
    "POST /alerts/{id}/acknowledge": MONITOR,
    "POST /passport": MONITOR,
    "POST /hold": MONITOR,
    "POST /handover": MONITOR,
    "POST /hold/release": OPERATE,
    "POST /alerts/{id}/shelve": OPERATE,
    "PUT /alerts/rules": OPERATE,
    "POST /clock": OPERATE,
    "POST /sources/probe": OPERATE,
    "POST /sources/accept": OPERATE,
    "POST /tags/mark": OPERATE,
    "POST /deployments/{id}/confirm": OPERATE,
    "POST /deployments/{id}/extend": OPERATE,
    "POST /deployments/{id}/rollback": OPERATE,
    "POST /bundles/{name}/revert": OPERATE,
    "POST /lease": OPERATE,
    "POST /out-of-service": OPERATE,
    "POST /rehearse": OPERATE,
    "POST /review": OPERATE,
    "POST /tap/{bundle}/replay": OPERATE,
    "POST /upgrade/confirm": OPERATE,
    "POST /upgrade/rollback": OPERATE,
    "POST /upgrade": RELEASE,
    "POST /imports": RELEASE,
    "PUT /blobs/{digest}": RELEASE,
    "POST /blobs/{digest}/patch": RELEASE,
    "POST /deployments": RELEASE,
    "POST /deployments/{id}/preflight": RELEASE,
    "POST /deployments/{id}/gate": RELEASE,
    "POST /deployments/{id}/shadow": RELEASE,
    "POST /deployments/{id}/activate": RELEASE,
    "PUT /bindings": RELEASE,
    "POST /trust": RELEASE,
}
WRITES = {f"{method} {path.removeprefix('/agent/v1')}" for method, path in ROUTES if method != "GET"}
LEAST = {verb: least for verb, least in LEAST.items() if verb in WRITES}
REFUSED = {MONITOR: "ACCESS.MONITOR_ONLY", OPERATE: "ACCESS.RELEASE_ONLY"}


def asked(node: Any, verb: str, role: str | None, **more: Any) -> str:
    """The code of the answer to a write with an empty body, "" where it was done."""
    method, path = verb.split(" ")
    preface = f"OUTSTATION-AS alice {role}\n" if role else ""
    try:
        node.ask(method, re.sub(r"\{\w+\}", "1", path), {}, preface=preface, **more)
    except node.refusal as refusal:
        return str(refusal.code)
    return ""


@pytest.fixture(scope="module")
def node(make_agents: Any) -> Any:
    return make_agents().start()


def test_every_write_of_the_protocol_has_its_least_role_here() -> None:
    assert set(LEAST) == WRITES


def test_every_write_is_taken_from_the_roles_that_may_and_refused_to_the_others(node: Any) -> None:
    found, expected = {}, {}
    for verb, least in LEAST.items():
        for role in ROLES:
            code = asked(node, verb, role)
            found[verb, role] = code if code.startswith("ACCESS.") else "may"
            may = ROLES.index(role) >= ROLES.index(least)
            expected[verb, role] = "may" if may else REFUSED[role]
    assert found == expected


def test_the_operate_socket_alone_may_release_and_the_monitor_socket_raises_no_role(node: Any) -> None:
    for verb, least in LEAST.items():
        assert not asked(node, verb, None).startswith("ACCESS."), verb
        for role in (None, *ROLES):
            code = asked(node, verb, role, where="monitor.sock")
            assert (verb, role, code == "ACCESS.MONITOR_ONLY") == (verb, role, least != MONITOR)


def test_every_role_may_read_everything(node: Any) -> None:
    for role in ROLES:
        for path in ("/status", "/ledger", "/alerts", "/deployments", "/bindings", "/trust", "/checks"):
            node.get(path, preface=f"OUTSTATION-AS alice {role}\n")


def test_a_node_that_is_only_watched_takes_a_hold_from_every_role_and_nothing_else(make_agent: Any) -> None:
    agent = make_agent()
    toml = (agent.state / "node.toml").read_text().replace("[node]", '[node]\naccess = "monitor"')
    (agent.state / "node.toml").write_text(toml)
    agent.start()
    for role in ROLES:
        for verb in LEAST:
            refused = asked(agent, verb, role).startswith("ACCESS.")
            assert (verb, role, refused) == (verb, role, verb not in ("POST /hold", "POST /passport"))
        agent.post("/hold", {"reason": "smoke"}, preface=f"OUTSTATION-AS alice {role}\n")
