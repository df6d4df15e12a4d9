"""Wheels into one folder by unzipping them: no pip, no venv, nothing fetched, nothing run.

Thousands of small files: they are written plainly, all of them synced at once, and only then is the folder renamed to
its name, so that a version is there whole or not at all.
"""

from __future__ import annotations

import compileall
import hashlib
import io
import os
import py_compile
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath

from nodeagent.installation.journal import SetupError
from store import durable, errors

FILES_MAX = 60_000
# Of our own wheel a node needs the agent and its store; the console stays on the laptop.
OURS = "outstation-"
OURS_LEFT_OUT = ("console/", "widgets/")
_LIBRARY_PARTS = ("purelib", "platlib")


def check(staged: Path, sha256: str) -> None:
    """Raises SetupError when a staged file is not what it should be; it is removed, so that it is sent again."""
    try:
        with staged.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise SetupError(f"{staged.name} was not copied", "run the same command again") from error
    if found != sha256:
        durable.unlink(staged)
        raise SetupError(f"{staged.name} arrived damaged and was removed", "run the same command again")


def unpack(wheels: Sequence[tuple[str, Path]], target: Path) -> int:
    """Unzips (file name, staged file) into the new folder `target`; returns the number of files. SetupError."""
    if target.exists():
        shutil.rmtree(target)
    written: dict[str, str] = {}
    try:
        os.makedirs(target, 0o755)
        for name, staged in wheels:
            with zipfile.ZipFile(staged) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir() and (place := _place(entry.filename, name)) is not None:
                        _write(archive, entry, target, place, written, name)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise errors.from_os(error, "unpack", target) from error
    except (zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise SetupError(f"a wheel cannot be unpacked: {error}") from error
    return len(written)


def _place(entry: str, wheel: str) -> str | None:
    """Where a member of a wheel goes, below the target; None: nowhere. Raises ValueError for one that leads out."""
    path = PurePosixPath(entry)
    if path.is_absolute() or ".." in path.parts or "\\" in entry or not path.parts:
        raise ValueError(f"{wheel} holds {entry!r}")
    if wheel.startswith(OURS) and entry.startswith(OURS_LEFT_OUT):
        return None
    if path.parts[0].endswith(".data"):
        inside = path.parts[2:]
        return "/".join(inside) if path.parts[1] in _LIBRARY_PARTS and inside else None
    return str(path)


def _write(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, place: str, written: dict[str, str], wheel: str
) -> None:
    if place in written:
        raise ValueError(f"{wheel} and {written[place]} both hold {place}")
    if len(written) >= FILES_MAX:
        raise ValueError(f"more than {FILES_MAX} files")
    written[place] = wheel
    path = target / place
    path.parent.mkdir(0o755, parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    path.chmod(0o644)


def compile_all(folder: Path) -> None:
    """Compiles what is there, so that nothing executable is written later. A file for another Python is no error."""
    with redirect_stdout(io.StringIO()):
        compileall.compile_dir(
            str(folder), quiet=2, workers=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )


def settle(new: Path, final: Path) -> None:
    """Makes everything below `new` durable and gives it its name."""
    os.sync()
    if final.exists():
        shutil.rmtree(final)
    try:
        os.rename(new, final)
    except OSError as error:
        raise errors.from_os(error, "rename", new) from error
    durable.sync_dir(final.parent)
