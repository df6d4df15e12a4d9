"""Wheels made again from what is installed beside us, where no index is reached. For the demo alone.

The lock names the hashes of the index's files, and these are others: the kit then says what runs here, signed by
whoever signs it, and not what the index published. Every file is compared with its own RECORD on the way.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from console.kit.file import KitRefused
from console.kit.lock import Pin

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)
_QUICK = 1
# What an installer wrote, and what it compiled.
_INSTALLERS = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def collect(pins: Sequence[Pin], platform: str, python: str, folder: Path) -> None:
    """A wheel a pin, in `folder`, as `wheels.download` would fetch it. Raises KitRefused, which names the package."""
    for pin in pins:
        try:
            found = distribution(pin.name)
        except PackageNotFoundError as error:
            raise _refused(f"{pin.name} is not installed here, and a node needs {pin.version} of it") from error
        if found.version != pin.version:
            raise _refused(f"{pin.name} {found.version} is installed here, and the lock names {pin.version}")
        _zip(found, folder / _file_name(found))


def _refused(why: str) -> KitRefused:
    return KitRefused(
        why, "install the locked versions: scripts/setup-venv; or build the kit where an index is reached"
    )


def _file_name(found: Distribution) -> str:
    """As PEP 427 names it, from the tags that the installed package keeps of its wheel."""
    lines = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").strip() for line in lines if line.startswith("Tag: ")]
    if not tags:
        raise _refused(f"{found.name} was not installed from a wheel")
    pythons, abis, platforms = (
        ".".join(dict.fromkeys(column)) for column in zip(*(t.split("-") for t in tags), strict=True)
    )
    name = str(found.name).replace("-", "_").replace(".", "_")
    return f"{name}-{found.version}-{pythons}-{abis}-{platforms}.whl"


def _zip(found: Distribution, path: Path) -> None:
    listed: list[tuple[str, str, str]] = []
    info = f"{path.name.split('-')[0]}-{found.version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_QUICK) as archive:
        for name, data in _files(found, info):
            archive.writestr(zipfile.ZipInfo(name, _FIRST_TIME), data, zipfile.ZIP_DEFLATED, _QUICK)
            listed.append((name, f"sha256={_digest(data)}", str(len(data))))
        record = io.StringIO()
        csv.writer(record, lineterminator="\n").writerows([*listed, (f"{info}/RECORD", "", "")])
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", _FIRST_TIME), record.getvalue())


def _files(found: Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    """What the wheel brought into the library's folder; commands beside it are nothing that a node starts."""
    for file in found.files or ():
        parts = file.parts
        if parts[0] == ".." or file.suffix == ".pyc" or (parts[0].endswith(".dist-info") and file.name in _INSTALLERS):
            continue
        data = file.read_binary()
        if file.hash is not None and file.hash.mode == "sha256" and file.hash.value != _digest(data):
            raise _refused(f"{found.name}: {file} was changed since it was installed")
        yield "/".join((info, *parts[1:]) if parts[0].endswith(".dist-info") else parts), data


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
