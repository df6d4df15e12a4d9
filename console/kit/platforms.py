"""Platforms as wheels and markers name them: which tags a node takes, and which glibc a wheel's name promises."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# The newest glibc that a kit may ask for. A wheel for a newer one is not looked for.
GLIBC_MAX = (2, 28)
_GLIBC_FIRST = 17
_ALIASES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")


def machine(platform: str) -> str:
    """`x86_64` of `linux-x86_64`."""
    return platform.removeprefix("linux-")


def pip_arguments(platform: str, python: str) -> list[str]:
    """What makes `pip download` choose wheels for another machine. pip expands no tag: each is listed."""
    arch, compact = machine(platform), python.replace(".", "")
    tags = [f"manylinux_2_{minor}_{arch}" for minor in range(GLIBC_MAX[1], _GLIBC_FIRST - 1, -1)]
    arguments = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for tag in (*tags, f"manylinux2014_{arch}"):
        arguments += ["--platform", tag]
    for abi in (f"cp{compact}", "abi3", "none"):
        arguments += ["--abi", abi]
    return arguments


def environment(platform: str, python: str) -> dict[str, str]:
    """The marker environment (PEP 508) of such a node."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine(platform),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }


def glibc_of(file: str) -> tuple[int, int]:
    """The oldest glibc on which a wheel with this file name runs; (0, 0): it has no compiled part."""
    tags = file.removesuffix(".whl").rsplit("-", 1)[-1].split(".")
    found = [version for tag in tags if (version := _version(tag)) is not None]
    return min(found, default=(0, 0))


def _version(tag: str) -> tuple[int, int] | None:
    if match := _MANYLINUX.match(tag):
        return int(match[1]), int(match[2])
    return next((version for alias, version in _ALIASES.items() if tag.startswith(f"{alias}_")), None)


def glibc_for(files: Iterable[str]) -> tuple[int, int]:
    """The glibc that the most demanding of these wheels needs."""
    return max((glibc_of(file) for file in files), default=(0, 0))


def fits(file: str, platform: str, python: str) -> bool:
    """Whether a wheel with this file name is for the platform and Python (PEP 425 tags of its name)."""
    parts: Sequence[str] = file.removesuffix(".whl").split("-")
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    own = f"cp{python.replace('.', '')}"
    if platforms == ["any"]:
        return "py3" in pythons and abis == ["none"]
    right_machine = any(tag.endswith(f"_{machine(platform)}") and "musl" not in tag for tag in platforms)
    exact = own in abis and own in pythons
    stable = "abi3" in abis and any(_not_newer(tag, own) for tag in pythons)
    neutral = abis == ["none"] and ("py3" in pythons or own in pythons)
    return right_machine and (exact or stable or neutral)


def _not_newer(tag: str, own: str) -> bool:
    return tag.startswith("cp3") and tag[3:].isdigit() and int(tag[3:]) <= int(own[3:])
