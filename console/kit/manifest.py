"""What a kit says of itself: kit.json, the only part of it that is signed, since it names every other by its hash."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

MANIFEST_BYTES_MAX = 1 << 20
WHEELS_MAX = 400
PLATFORMS = ("linux-x86_64", "linux-aarch64")

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
Platform = Literal["linux-x86_64", "linux-aarch64"]
Python = Annotated[str, msgspec.Meta(pattern=r"^3\.[1-9][0-9]$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,198}$")]


class KitMalformed(Exception):
    """The file is no kit of ours; the text says what is wrong with it."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a kit, kept under its SHA-256. `size` in bytes."""

    file: FileName
    sha256: Sha256
    size: Size


class Wheel(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One package. `unpacked` is what its files take, in bytes."""

    name: Text
    version: Text
    unpacked: Size


class Runtime(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Python that the operator supplied: a tar whose `program` is the interpreter."""

    platform: Platform
    python: Python
    program: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./+-]{0,198}$")]
    unpacked: Size


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of node: the wheels for it, and the glibc (major, minor) that the most demanding of them needs."""

    platform: Platform
    python: Python
    glibc: tuple[int, int]
    wheels: Annotated[list[Sha256], msgspec.Meta(min_length=1, max_length=WHEELS_MAX)]

    def __str__(self) -> str:
        return f"{self.platform} Python {self.python}"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of kit.json. `lock` is the SHA-256 of the requirements file that pinned every version."""

    format: Literal[1] = 1
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    lock: Sha256
    extras: list[Text]
    targets: Annotated[list[Target], msgspec.Meta(min_length=1, max_length=64)]
    wheels: Annotated[list[Wheel], msgspec.Meta(min_length=1, max_length=WHEELS_MAX)]
    runtimes: Annotated[list[Runtime], msgspec.Meta(max_length=64)]
    materials: Part
    executables: Part

    def parts(self) -> dict[str, Part]:
        """Every file of the kit by its SHA-256."""
        every: list[Part] = [*self.wheels, *self.runtimes, self.materials, self.executables]
        return {part.sha256: part for part in every}

    def wheels_for(self, target: Target) -> list[Wheel]:
        """The wheels of one target, in its order."""
        by_hash = {wheel.sha256: wheel for wheel in self.wheels}
        return [by_hash[sha256] for sha256 in target.wheels]

    def target(self, platform: str, python: str) -> Target | None:
        """The target of this platform and Python."""
        return next((t for t in self.targets if (t.platform, t.python) == (platform, python)), None)

    def runtime(self, platform: str) -> Runtime | None:
        """The newest Python for this platform that a target of the kit fits."""
        fitting = [r for r in self.runtimes if r.platform == platform and self.target(platform, r.python)]
        return max(fitting, key=lambda runtime: python_key(runtime.python), default=None)


def python_key(text: str) -> tuple[int, ...]:
    """`3.11` as numbers, to be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def encode(manifest: Manifest) -> bytes:
    """The bytes that are signed; the same manifest always gives the same."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def parse(data: bytes) -> Manifest:
    """The manifest in `data`, in the one form that `encode` gives it. Raises KitMalformed."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise KitMalformed(f"kit.json has more than {MANIFEST_BYTES_MAX} bytes")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise KitMalformed(f"kit.json: {error}") from error
    if encode(manifest) != data:
        raise KitMalformed("kit.json is not in the form that `outstation kit build` writes")
    known = {wheel.sha256 for wheel in manifest.wheels}
    for target in manifest.targets:
        if missing := set(target.wheels) - known:
            raise KitMalformed(f"the wheel {min(missing)} of {target} is not in the kit")
    return manifest
