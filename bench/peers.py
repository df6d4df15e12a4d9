"""Other servers that the figures are taken beside, in virtual environments of their own below build/."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime

FOLDER = Path("build/peers")
START_S = 30.0
INSTALL_S = 600.0


class NoPeer(Exception):
    """It could not be installed or started; the text says why, and stands in the table in place of a figure."""


def environment(folder: Path = FOLDER) -> Path:
    """The Python of the peers' environment, made at the first use from bench/peers.txt. Raises NoPeer."""
    python = folder.absolute() / "bin" / "python"
    if not (folder / ".ready").exists():
        wanted = str(Path(__file__).with_name("peers.txt"))
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "-q", "-r", wanted, f"onnxruntime=={onnxruntime.__version__}"],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_S)
            if done.returncode:
                raise NoPeer(f"not installed: {done.stderr.strip().splitlines()[-1]}")
        (folder / ".ready").touch()
    return python


def start_uvicorn(path: Path, model: Path, pinned: list[str]) -> subprocess.Popen[bytes]:
    """uvicorn with httptools and uvloop on a Unix socket, ready for requests. Raises NoPeer."""
    options = ["--uds", str(path), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"]
    command = [*pinned, str(environment()), "-m", "uvicorn", "bench._peer_uvicorn:app", *options]
    process = subprocess.Popen(command, env=os.environ | {"MODEL": str(model)})
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return process
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise NoPeer("uvicorn did not start")
