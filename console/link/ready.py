"""The pool as a console uses it. asyncssh is imported at the first login, in a thread: it takes 0.3 s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.home import Home
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.seat.prompts import Prompter

if TYPE_CHECKING:
    from console.link.ssh import Ssh


def make_pool(home: Home, prompter: Prompter) -> Pool:
    """How servers are reached: host keys pinned in the console's own file, people asked by `prompter`."""
    home.make()

    def make() -> Ssh:
        from console.link.ssh import Ssh

        return Ssh(HostKeys(home.known_hosts), Secrets(prompter))

    return Pool(make)
