"""OpenSSH and other servers that are not ours: on free loopback ports, with throw-away keys, ended by their pid."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
START_S = 10.0
SERVER_S = 60.0
ROOT = Path(__file__).parents[2]
OPCUA_VERSION = "2.182.2"


def ssh_keygen(path: Path, *options: str) -> str:
    """A new ed25519 key at `path`; returns the public line's first two words."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path), *options], check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sshd:
    """One sshd. `port`, `host_public` (two words), `log` and what it is running."""

    def __init__(self, folder: Path, client_public: str, *lines: str, prefix: str = "", host_key: Path | None = None):
        folder.mkdir(parents=True)
        self.folder, self.port, self.user = folder, free_port(), getpass.getuser()
        key = host_key or folder / "host_key"
        self.host_public = ssh_keygen(key) if host_key is None else " ".join(Path(f"{key}.pub").read_text().split()[:2])
        self._config = folder / "sshd_config"
        (folder / "authorized_keys").write_text(f"{prefix} {client_public}\n".lstrip())
        self._config.write_text(
            "\n".join(
                (
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {key}",
                    f"AuthorizedKeysFile {folder / 'authorized_keys'}",
                    f"PidFile {folder / 'sshd.pid'}",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "PermitRootLogin yes",
                    "LogLevel VERBOSE",
                    *lines,
                    # bash reads the user's .bashrc for a command over SSH unless it is a shell below another one;
                    # what stands there may be slow, and may leave a lock behind when a test kills it.
                    # sshd takes the first SetEnv that stands here, and no other.
                    "SetEnv SHLVL=1",
                    "",
                )
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Sshd:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = (self.folder / "sshd.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self._config)], stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start: {self.log}")
            time.sleep(0.02)

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def sessions(self) -> list[int]:
        """Processes of the logins that are open now, oldest first."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def descendants(self) -> list[int]:
        """Every process below this server."""
        found: list[int] = []
        todo = [self.pid]
        while todo:
            listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(todo.pop())], capture_output=True, text=True)
            children = [int(pid) for pid in listed.stdout.split()]
            found += children
            todo += children
        return found

    def signal_all(self, number: int) -> None:
        for pid in self.descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Ends the server and every login of it."""
        if self._process is None:
            return
        below = self.descendants()
        self._process.terminate()
        self._process.wait(5)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        self._process = None


class SshLab:
    """Makes servers in a short folder (socket paths are at most 107 bytes) and stops them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = folder / "id"
        self.public = ssh_keygen(self.identity)
        self._servers: list[Sshd] = []

    def sshd(self, *lines: str, prefix: str = "", host_key: Path | None = None) -> Sshd:
        """One started server with extra configuration `lines`; `prefix` stands before the key in authorized_keys."""
        server = Sshd(self.folder / f"s{len(self._servers)}", self.public, *lines, prefix=prefix, host_key=host_key)
        self._servers.append(server)
        return server.start()

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


@pytest.fixture
def ssh_lab() -> Iterator[SshLab]:
    """Servers of one test."""
    with _lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def standing_lab() -> Iterator[SshLab]:
    """Servers that the tests of one file share."""
    with _lab() as lab:
        yield lab


@contextlib.contextmanager
def _lab() -> Iterator[SshLab]:
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    lab = SshLab(folder)
    try:
        yield lab
    finally:
        lab.stop()
        shutil.rmtree(folder)


class Server:
    """A process that answers on `port`; may be killed, frozen and started again on the same port."""

    def __init__(self, *command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.folder = ""
        self._command, self._cwd, self._env = command, cwd, env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        words = [word.replace("{port}", str(self.port)) for word in (*self._command, *more)]
        self._process = subprocess.Popen(
            words,
            cwd=self._cwd,
            env=os.environ | (self._env or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + SERVER_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server() -> type[Server]:
    """Makes servers of other programs; who makes one ends it."""
    return Server


def npm_modules(package: str) -> Path:
    """node_modules that hold `package` (NAME@VERSION), from npm into build/npm, once for all processes."""
    folder = ROOT / "build" / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / f"{package}.ready"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            npm = shutil.which("npm") or "npm"
            words = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
            done = subprocess.run([npm, *words, package], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"npm install {package}: {done.stderr[-2000:]}"
            ready.touch()
    return folder / "node_modules"


@pytest.fixture(scope="session")
def opcua_modules() -> Path:
    """With node-opcua-server: 20 seconds and 70 MB on a new machine."""
    return npm_modules(f"node-opcua-server@{OPCUA_VERSION}")


@pytest.fixture(scope="session")
def tahu_modules() -> Path:
    """With Eclipse Tahu's payloads of Sparkplug B."""
    return npm_modules("sparkplug-payload@1")


@pytest.fixture(scope="module")
def standing_opcua(opcua_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a file, since it takes seconds to start."""
    words = (shutil.which("node") or "node", str(Path(__file__).parent / "sources" / "opcua_server.js"), "{port}")
    made = Server(*words, env={"OPCUA_MODULES": str(opcua_modules), "HOME": os.environ["HOME"]})
    made.folder = str(tmp_path_factory.mktemp("pki"))
    yield made
    made.kill()


@pytest.fixture
def opcua(standing_opcua: Server) -> Server:
    """It runs, with three tags."""
    if not standing_opcua.running:
        standing_opcua.start("3", standing_opcua.folder)
    return standing_opcua
