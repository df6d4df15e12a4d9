"""The stdio bridge, as a process of its own between a pipe and a socket."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent import bridge


def run(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "nodeagent", "connect", *arguments]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Path]:
    """A socket that gives back all it hears, in capitals, once the peer has ended its side."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            heard = b""
            while piece := connection.recv(65_536):
                heard += piece
            connection.sendall(heard.upper())

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    thread.join()
    listener.close()


def test_it_says_ack_and_carries_both_directions_to_their_end(echo: Path) -> None:
    data = b"abc" * 300_000
    done = run("--socket", str(echo), data=data)
    assert done.returncode == 0
    assert done.stdout == bridge.CONNECTED + data.upper()


def test_it_names_the_operator_before_anything_else(echo: Path) -> None:
    done = run("--stdio", "--as", "alice", "--role", "monitor", "--socket", str(echo), data=b"GET / HTTP/1.1\r\n\r\n")
    assert done.stdout == bridge.CONNECTED + b"OUTSTATION-AS ALICE MONITOR\nGET / HTTP/1.1\r\n\r\n"


def test_without_an_agent_it_ends_with_66_and_names_the_cause(tmp_path: Path) -> None:
    done = run("--socket", str(tmp_path / "none"))
    assert done.returncode == bridge.EXIT_NO_AGENT
    assert done.stdout == b""
    assert b"the agent does not run" in done.stderr
    assert str(tmp_path / "none").encode() in done.stderr


def test_a_socket_that_nobody_listens_on_is_another_cause(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead"))
    dead.close()
    done = run("--socket", str(tmp_path / "dead"))
    assert (done.returncode, b"the agent has stopped" in done.stderr) == (66, True)


@pytest.mark.parametrize("name", ["", "two words", "line\nbreak", "x" * 65, "-dash", "ünïcode"])
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="operator's name"):
        bridge.preface(name, "operate")


def test_it_imports_the_standard_library_alone() -> None:
    code = (
        "import sys, nodeagent.__main__, nodeagent.bridge, nodeagent.settings\n"
        "ours = {name for name in sys.modules if name.split('.')[0] in ('nodeagent', 'store')}\n"
        "print(sorted(ours), 'msgspec' in sys.modules, 'asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "['nodeagent', 'nodeagent.__main__', 'nodeagent.bridge', 'nodeagent.settings', 'nodeagent.state', "
        "'nodeagent.state.syslog_target'] False False"
    )
