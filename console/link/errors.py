"""Why a node cannot be reached, in the operator's words."""

from __future__ import annotations

from console.fleet.view import LinkState


class LinkError(Exception):
    """A node, or a host on the way to it, did not answer as it should.

    `state` is what the fleet shows, `subject` the host or node meant, `hint` what to do. The cause hangs on
    `__cause__` and is not repeated in `message`.
    """

    def __init__(self, state: LinkState, subject: str, message: str, hint: str = "") -> None:
        super().__init__(f"{subject}: {message}")
        self.state, self.subject, self.message, self.hint = state, subject, message, hint


def one_way(name: str) -> LinkError:
    """Why nothing is asked of a node behind a data diode, and what to do instead."""
    hint = (
        "what it tells comes as files (`outstation diode import FOLDER`); a bundle is carried to it and taken with "
        "`outstation-agent import FILE.ostn` on the node"
    )
    return LinkError(LinkState.ONE_WAY, name, "it is one-way, behind a data diode: nothing can be sent to it", hint)


class ChannelRefused(LinkError):
    """The SSH server did not open a channel: forbidden, or nobody listens. sshd tells the two apart for nobody."""


class BridgeRefused(LinkError):
    """The stdio bridge on the node ran and could not reach the agent; `message` is what the bridge said."""


class NotListening(LinkError):
    """SSH stands and the agent is not behind it; the login can be used again for the next try."""
