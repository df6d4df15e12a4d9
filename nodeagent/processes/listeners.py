"""The sockets on which a node listens: made before any worker, kept while they change. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
from pathlib import Path

PATH_BYTES_MAX = 107
BACKLOG = 1024
LISTENERS_MAX = 512


class ListenError(OSError):
    """A socket could not be made; the text names it and what to do."""


class Listeners:
    """Named listening sockets under one run folder: `agent`, `monitor`, `tcp`, `m-<bundle>`, `w-<worker>`."""

    def __init__(self, run: Path, *, group: str = "") -> None:
        self._run = run
        self._gid = _gid(group) if group else None
        self._sockets: dict[str, socket.socket] = {}
        run.mkdir(mode=0o750 if group else 0o700, parents=True, exist_ok=True)
        self._lock = _lock(run / "launcher.lock")

    def __contains__(self, name: str) -> bool:
        return name in self._sockets

    def __getitem__(self, name: str) -> socket.socket:
        return self._sockets[name]

    def path(self, name: str) -> Path:
        """Where the Unix socket `name` is."""
        return self._run / f"{name}.sock"

    def open(self, name: str, *, shared: bool = False) -> socket.socket:
        """The Unix socket `name`, made on first use; mode 0600, or 0660 for the group if shared. Raises ListenError."""
        if name in self._sockets:
            return self._sockets[name]
        if len(self._sockets) >= LISTENERS_MAX:
            raise ListenError(f"more than {LISTENERS_MAX} sockets")
        path = self.path(name)
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise ListenError(
                f"{path} is longer than {PATH_BYTES_MAX} bytes, the limit of a socket's path: set [api] run"
            )
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for_group = shared and self._gid is not None
        umask = os.umask(0o117 if for_group else 0o177)
        try:
            sock.bind(str(path))
        except OSError as error:
            sock.close()
            raise ListenError(f"{path}: {error.strerror}") from error
        finally:
            os.umask(umask)
        if for_group and self._gid is not None:
            os.chown(path, -1, self._gid)
        return self._keep(name, sock)

    def open_tcp(self, address: str) -> socket.socket:
        """The TCP socket `tcp` on HOST:PORT. Raises ListenError."""
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if not host or not port.isdigit():
            raise ListenError(f'[serve] tcp = "{address}" is not HOST:PORT')
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, int(port)))
        except OSError as error:
            sock.close()
            raise ListenError(f"{address}: {error.strerror or error}") from error
        return self._keep("tcp", sock)

    def close(self, name: str) -> None:
        """Closes and unlinks one socket; an unknown name is nothing to do.

        On a disk that only reads the file stays, on which nobody listens: a launcher does not end for that.
        """
        sock = self._sockets.pop(name, None)
        if sock is not None:
            sock.close()
            with contextlib.suppress(OSError):
                self.path(name).unlink(missing_ok=True)

    def close_all(self) -> None:
        for name in list(self._sockets):
            self.close(name)
        os.close(self._lock)

    def _keep(self, name: str, sock: socket.socket) -> socket.socket:
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self._sockets[name] = sock
        return sock


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ListenError(f'[api] group = "{group}": there is no such group') from error


def _lock(path: Path) -> int:
    """A lock that the kernel frees at exit: two launchers never share a run folder."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise ListenError(f"another agent runs with {path.parent}") from error
        undo.pop_all()
    return fd
