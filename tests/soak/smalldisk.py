"""A small disk of a node's own: an ext4 file system in a file. It lives in a mount namespace that ends with the run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS = 0x00020000
DISK_BYTES = 256 << 20
PIECE_BYTES = 1 << 20


def own_mounts(folder: Path) -> str:
    """Gives this process mounts of its own; why no disk can be made, or "". Before there is a second thread."""
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
    probe = folder / "probe"
    probe.mkdir()
    try:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
        _mount(folder / "probe.ext4", probe)
        subprocess.run(["umount", probe], check=True, capture_output=True)
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    except subprocess.CalledProcessError as error:
        return f"{error.cmd[0]}: {error.stderr.decode(errors='replace').strip()}"
    finally:
        (folder / "probe.ext4").unlink(missing_ok=True)
    return ""


def _mount(image: Path, at: Path) -> None:
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-E", "root_owner", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, at], check=True, capture_output=True)


@dataclass(frozen=True)
class SmallDisk:
    """The disk below a node's state folder."""

    state: Path

    @property
    def _ballast(self) -> Path:
        return self.state / "soak-ballast"

    def fill(self) -> int:
        """Takes every free byte; how many there were."""
        size = PIECE_BYTES
        with self._ballast.open("ab", buffering=0) as file:
            while size >= 512:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2
            return file.tell()

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


def move(state: Path, image: Path) -> SmallDisk:
    """Puts the state folder of a node that does not run onto a disk of DISK_BYTES. Raises CalledProcessError."""
    kept = state.with_name(f"{state.name}.moved")
    state.rename(kept)
    state.mkdir(mode=kept.stat().st_mode & 0o777)
    _mount(image, state)
    (state / "lost+found").rmdir()
    state.chmod(kept.stat().st_mode & 0o777)
    for path in kept.iterdir():
        if not path.is_socket():
            with contextlib.suppress(shutil.Error):  # sockets in subfolders; the agent makes them again
                shutil.copytree(path, state / path.name, symlinks=True) if path.is_dir() else shutil.copy2(path, state)
    shutil.rmtree(kept)
    return SmallDisk(state)


def unmount(disk: SmallDisk) -> None:
    """Lets the disk go, once nothing runs on it."""
    subprocess.run(["umount", "-l", disk.state], check=True, capture_output=True)
