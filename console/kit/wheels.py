"""Where wheels come from: pip's ordinary client with this environment's own settings, and our own tree by hatchling."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

from console.kit.file import KitRefused
from console.kit.lock import Pin
from console.kit.manifest import Wheel
from console.kit.platforms import pip_arguments

DOWNLOAD_S = 900.0
BUILD_S = 300.0
_ELF = b"\x7fELF"
_METADATA_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Described:
    """One wheel on the disk: what it is, its licence as it names it, and its executable files by hash."""

    path: Path
    wheel: Wheel
    licence: str
    executables: tuple[tuple[str, str], ...]


def download(pins: Sequence[Pin], platform: str, python: str, folder: Path) -> None:
    """Fetches exactly the pinned files for a platform into `folder`. Raises KitRefused with pip's words."""
    requirements = folder / f"{platform}-{python}.txt"
    requirements.write_text("".join(f"{pin.requirement()}\n" for pin in pins))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--dest", str(folder), *pip_arguments(platform, python), "-r", str(requirements)]
    _run(command, DOWNLOAD_S, f"pip finds no wheel for {platform} Python {python}")
    requirements.unlink()


def build_own(source: Path, folder: Path) -> Path:
    """Our own wheel, made of the tree at `source`. Raises KitRefused."""
    made = folder / "own"
    made.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    _run(command, BUILD_S, "the agent's own wheel cannot be built", source)
    (wheel,) = made.glob("outstation-*.whl")
    return wheel.rename(folder / wheel.name)


def _run(command: list[str], timeout_s: float, message: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=folder, check=False)
    except subprocess.TimeoutExpired as error:
        raise KitRefused(f"{message}: no end in {timeout_s:g} s", "is the package index reached from here?") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise KitRefused(f"{message}: {' '.join(errors[-2:])[:600]}", f"run it yourself: {' '.join(command[:6])} ...")


def describe(path: Path) -> Described:
    """Reads a wheel. Raises KitRefused when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            metadata = Parser().parsestr(_metadata(archive, path))
            executables = tuple(found for entry in entries if (found := _executable(archive, entry)) is not None)
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise KitRefused(f"{path.name} is no wheel: {error}") from error
    wheel = Wheel(
        file=path.name,
        sha256=file_hash(path),
        size=path.stat().st_size,
        name=str(metadata["Name"]),
        version=str(metadata["Version"]),
        unpacked=sum(entry.file_size for entry in entries),
    )
    licence = metadata["License-Expression"] or metadata["License"] or ""
    return Described(path, wheel, str(licence).strip().partition("\n")[0][:100], executables)


def _metadata(archive: zipfile.ZipFile, path: Path) -> str:
    name, version = path.name.split("-")[:2]
    entry = archive.getinfo(f"{name}-{version}.dist-info/METADATA")
    if entry.file_size > _METADATA_BYTES_MAX:
        raise KitRefused(f"{path.name}: its METADATA is larger than {_METADATA_BYTES_MAX} bytes")
    return archive.read(entry).decode("utf-8")


def _executable(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, str] | None:
    """(name, SHA-256) of Python code, shared objects and scripts; None for plain data."""
    data = archive.read(entry)
    if entry.filename.endswith((".py", ".so")) or data.startswith((_ELF, b"#!")):
        return entry.filename, hashlib.sha256(data).hexdigest()
    return None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
