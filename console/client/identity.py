"""Whether what answered is the node that was meant, in a language that we speak. Pure."""

from __future__ import annotations

import msgspec

from console.client.clean import clean
from console.fleet.view import LinkState
from console.link.errors import LinkError
from nodeagent.protocol import PROTOCOL_MAJOR, PROTOCOL_MINOR


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a status that every version of the protocol can read."""

    node_id: str
    protocol_major: int
    protocol_minor: int = 0
    agent_version: str = ""


def read_greeting(node: str, body: bytes) -> Greeting:
    """Raises LinkError when `body` is not an agent's status, or of a major version that is not ours."""
    try:
        greeting = msgspec.json.decode(body, type=Greeting)
    except msgspec.MsgspecError as error:
        message = "what answered is not an outstation agent"
        raise LinkError(LinkState.WRONG_PROTOCOL, node, message, "check the socket path of the node") from error
    if greeting.protocol_major != PROTOCOL_MAJOR:
        theirs = f"{greeting.protocol_major}.{greeting.protocol_minor}"
        older = "agent" if greeting.protocol_major < PROTOCOL_MAJOR else "console"
        raise LinkError(
            LinkState.WRONG_PROTOCOL,
            node,
            f"agent {clean(greeting.agent_version, 40)} speaks protocol {theirs}, this console {PROTOCOL_MAJOR}."
            f"{PROTOCOL_MINOR}",
            f"update the {older}",
        )
    return greeting


def check_node_id(node: str, pinned: str, told: str) -> None:
    """Raises LinkError when the node id is not the one pinned. An empty `pinned` takes any."""
    if pinned and told != pinned:
        raise LinkError(
            LinkState.REFUSED,
            node,
            f"NODE ID CHANGED. pinned {pinned}; shown {clean(told, 80)}. No command is sent.",
            "another machine answers at this address, or the state folder was made anew: "
            "check it, then remove and add the node",
        )


def check_not_doubled(node: str, node_id: str, others: dict[str, str]) -> None:
    """Raises LinkError when another node of the fleet (name -> node id) has this id already."""
    for name, other in sorted(others.items()):
        if name != node and other and other == node_id:
            raise LinkError(
                LinkState.REFUSED,
                node,
                f"NODE ID DOUBLED. {node} and {name} both answer as {clean(node_id, 80)}. No command is sent.",
                "one state folder was copied to two machines: make a new one with `outstation-agent init`, "
                "or remove the second name",
            )
