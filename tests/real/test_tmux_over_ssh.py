"""The app in tmux, in a login over a real sshd: typed to by send-keys, looked at by capture-pane."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WAIT_S = 40.0
ROOT = Path(__file__).parents[2]


class Tmux:
    """A tmux server of this test alone."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def __call__(self, *words: str) -> str:
        environ = {k: v for k, v in os.environ.items() if k != "TMUX"} | {"LC_ALL": "C.UTF-8"}
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout

    def until(self, text: str) -> str:
        end = time.monotonic() + WAIT_S
        while text not in (shown := self("capture-pane", "-p", "-t", "seat")):
            assert time.monotonic() < end, f"never came: {text}\n{shown}"
            time.sleep(0.1)
        return shown


def test_the_fleet_is_drawn_moved_in_and_left_in_tmux_over_a_real_sshd(ssh_lab: Any, tmp_path: Path) -> None:
    server = ssh_lab.sshd()
    python = shlex.quote(sys.executable)
    app = f"cd {shlex.quote(str(ROOT))} && LC_ALL=C.UTF-8 {python} -m console.sample.fleet; echo left $?; read x"
    login = shlex.join(
        ["ssh", "-tt", "-F", "/dev/null", "-p", str(server.port), "-i", str(ssh_lab.identity), "-l", server.user,
         "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
         "127.0.0.1", app]
    )  # fmt: skip
    tmux = Tmux(tmp_path / "t")
    tmux("new-session", "-d", "-s", "seat", "-x", "80", "-y", "24", login)
    try:
        shown = tmux.until("? help")
        assert "■ALRM press-07" in shown
        assert len(shown.rstrip("\n").split("\n")) == 24
        tmux("send-keys", "-t", "seat", "2")
        tmux.until("STATE ACK")
        tmux("resize-window", "-t", "seat", "-x", "120", "-y", "30")
        tmux("send-keys", "-t", "seat", "1")
        tmux.until("STATE NODE")
        tmux("send-keys", "-t", "seat", "q")
        tmux.until("left 0")
    finally:
        tmux("kill-server")
