"""Building a kit: from the project's tree and its lock file to one file. Signing is a step of its own."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.kit import lock, materials, platforms, wheels
from console.kit.file import PIECE_BYTES, KitRefused, write_kit
from console.kit.manifest import Manifest, Part, Runtime, Target, encode
from store import durable

EXECUTABLES_NAME = "executables.sha256"
SOURCE = Path(__file__).resolve().parents[2]

Say = Callable[[str], None]
# (pins, platform, python, folder): brings a wheel a pin into the folder.
Fetch = Callable[[Sequence[lock.Pin], str, str, Path], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What a kit is to hold. `source` is the project's tree, with pyproject.toml and requirements.lock.

    `fetch`: where the wheels come from, the package index with the lock's hashes unless told otherwise.
    """

    platforms: tuple[str, ...]
    pythons: tuple[str, ...]
    extras: tuple[str, ...] = ()
    runtimes: tuple[tuple[str, Path], ...] = ()
    source: Path = SOURCE
    fetch: Fetch = wheels.download


def build(order: Order, out: Path, say: Say) -> Manifest:
    """Writes the unsigned kit to `out`. Raises KitRefused, KitMalformed, StoreError kinds. Takes up to minutes."""
    project_file, lock_file = order.source / "pyproject.toml", order.source / "requirements.lock"
    if not project_file.is_file() or not lock_file.is_file():
        raise KitRefused(
            f"{order.source} is not outstation's tree: a kit is built from it and its requirements.lock",
            "name the tree with --source FOLDER",
        )
    names = lock.wanted(lock.read_project(project_file.read_text("utf-8")), ["agent", *order.extras])
    pins = lock.read_lock(lock_file.read_text("utf-8"))
    with tempfile.TemporaryDirectory(prefix="outstation-kit-") as temporary:
        folder = Path(temporary)
        own = wheels.build_own(order.source, folder)
        chosen: dict[tuple[str, str], list[lock.Pin]] = {}
        for platform in order.platforms:
            for python in order.pythons:
                chosen[platform, python] = lock.closure(pins, names, platforms.environment(platform, python))
                say(f"{platform} Python {python}: {len(chosen[platform, python])} packages")
                order.fetch(chosen[platform, python], platform, python, folder)
        described = {path.name: wheels.describe(path) for path in sorted(folder.glob("*.whl"))}
        targets = [_target(described, own, key, names_of(found)) for key, found in chosen.items()]
        return _write(out, order, described, targets, described[own.name].wheel.version, wheels.file_hash(lock_file))


def names_of(pins: Sequence[lock.Pin]) -> dict[str, str]:
    """Version by name."""
    return {pin.name: pin.version for pin in pins}


def _target(described: dict[str, wheels.Described], own: Path, key: tuple[str, str], pins: dict[str, str]) -> Target:
    platform, python = key
    files = [own.name]
    for name, version in pins.items():
        fitting = [
            file
            for file, one in described.items()
            if (lock.normal(one.wheel.name), one.wheel.version) == (name, version)
            and platforms.fits(file, platform, python)
        ]
        if len(fitting) != 1:
            raise KitRefused(f"{platform} Python {python}: {len(fitting)} wheels of {name} {version} fit, not one")
        files += fitting
    hashes = [described[file].wheel.sha256 for file in files]
    return Target(platform=platform, python=python, glibc=platforms.glibc_for(files), wheels=hashes)  # type: ignore[arg-type]  # msgspec checks it when it is read


def _write(
    out: Path,
    order: Order,
    described: dict[str, wheels.Described],
    targets: list[Target],
    version: str,
    lock_hash: str,
) -> Manifest:
    runtimes = {read_runtime(platform, path): path for platform, path in order.runtimes}
    ordered = sorted(described.values(), key=lambda one: one.wheel.file)
    texts = {
        materials.FILE_NAME: materials.bill(version, ordered, list(runtimes)),
        EXECUTABLES_NAME: _executables(ordered),
    }
    parts = {name: _part(name, data) for name, data in texts.items()}
    manifest = Manifest(
        version=version,
        lock=lock_hash,
        extras=sorted(order.extras),
        targets=targets,
        wheels=[one.wheel for one in ordered],
        runtimes=list(runtimes),
        materials=parts[materials.FILE_NAME],
        executables=parts[EXECUTABLES_NAME],
    )
    files = {one.wheel.sha256: one.path for one in ordered} | {r.sha256: path for r, path in runtimes.items()}
    small = {parts[name].sha256: data for name, data in texts.items()}

    def pieces(sha256: str) -> Iterator[bytes]:
        if sha256 in small:
            return iter([small[sha256]])
        return _file_pieces(files[sha256])

    durable.make_dir(out.resolve().parent, 0o755)
    write_kit(out, encode(manifest), pieces)
    return manifest


def _executables(described: Sequence[wheels.Described]) -> bytes:
    """`sha256sum`'s lines: every file that a node runs or maps as code, named as wheel/path."""
    lines = [f"{sha256}  {one.wheel.file}/{name}\n" for one in described for name, sha256 in one.executables]
    return "".join(lines).encode()


def _part(name: str, data: bytes) -> Part:
    return Part(file=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _file_pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def read_runtime(platform: str, path: Path) -> Runtime:
    """A Python for `platform` that the operator supplies: a tar with .../bin/python3.N in it. Raises KitRefused."""
    try:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
    except (OSError, tarfile.TarError) as error:
        raise KitRefused(f"{path} is no tar of a Python: {error}") from error
    programs = sorted(m.name.removeprefix("./") for m in members if _is_python(m.name))
    if len(programs) != 1:
        raise KitRefused(f"{path} holds {len(programs)} files bin/python3.N, not one", "give the tar of one Python")
    return Runtime(
        file=path.name,
        sha256=wheels.file_hash(path),
        size=path.stat().st_size,
        platform=platform,  # type: ignore[arg-type]  # msgspec checks it when it is read
        python=programs[0].rsplit("python", 1)[-1],
        program=programs[0],
        unpacked=sum(member.size for member in members),
    )


def _is_python(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    major, _, minor = file.partition(".")
    return folder.endswith("bin") and major == "python3" and minor.isdigit()
