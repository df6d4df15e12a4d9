"""The lock file: which versions an agent needs, by the arrows that `uv pip compile` writes below each (`# via`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from console.kit.manifest import KitMalformed

ROOT = "outstation"
# sqlite-utils asks for pip only for its own `install` command; a node installs nothing.
LEFT_OUT = frozenset({"pip"})
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"^\s+--hash=(sha256:[0-9a-f]{64})")
_VIA = re.compile(r"^\s+#\s+(?:via\s+)?([A-Za-z0-9][A-Za-z0-9._-]*)")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked version, the hashes of its files, when it counts, and who asked for it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    wanted_by: frozenset[str]

    def counts(self, environment: dict[str, str]) -> bool:
        """Whether a node with this environment (PEP 508 names) takes it."""
        if not self.marker:
            return True
        from packaging.markers import Marker  # only where kits are built

        return bool(Marker(self.marker).evaluate(environment))

    def requirement(self) -> str:
        """A line of a requirements file that pip takes with --require-hashes."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={value}" for value in self.hashes)])


def read_lock(text: str) -> list[Pin]:
    """Every pin of a lock file. Raises KitMalformed when a pin has no hash or nobody who asked for it."""
    pins: list[Pin] = []
    head: re.Match[str] | None = None
    hashes: list[str] = []
    via: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if found := _HASH.match(line):
            hashes.append(found[1])
        elif line.lstrip().startswith("#"):
            if (found := _VIA.match(line)) and line.strip() != "# via":
                via.append(normal(found[1]))
        elif line.strip():
            if head is not None:
                pins.append(_pin(head, hashes, via))
            head, hashes, via = _PIN.match(line), [], []
    if not pins:
        raise KitMalformed("the lock file pins nothing")
    return pins


def _pin(head: re.Match[str], hashes: Sequence[str], via: Sequence[str]) -> Pin:
    if not hashes or not via:
        raise KitMalformed(f"the lock file has no hash or no `# via` for {head[1]}")
    return Pin(normal(head[1]), head[2], (head[3] or "").strip(), tuple(hashes), frozenset(via))


def normal(name: str) -> str:
    """A package's name in the one form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(project: dict[str, Any], extras: Iterable[str]) -> set[str]:
    """Names that the project itself asks for with these extras. Raises KitMalformed for an unknown extra."""
    optional: dict[str, list[str]] = project.get("optional-dependencies", {})
    lines = list(project.get("dependencies", []))
    for extra in extras:
        if extra not in optional:
            raise KitMalformed(f"there is no extra {extra!r}; there are {', '.join(sorted(optional))}")
        lines += optional[extra]
    return {normal(match[0]) for line in lines if (match := _NAME.match(line))}


def closure(pins: Sequence[Pin], names: Collection[str], environment: dict[str, str]) -> list[Pin]:
    """What `names` need in this environment, themselves included, by name. Raises KitMalformed for one not locked."""
    counting = {pin.name: pin for pin in pins if pin.counts(environment) and pin.name not in LEFT_OUT}
    if missing := set(names) - counting.keys():
        raise KitMalformed(f"the lock file does not pin {min(missing)} for this target")
    chosen = set(names)
    while grown := {name for name, pin in counting.items() if pin.wanted_by & chosen} - chosen:
        chosen |= grown
    return [counting[name] for name in sorted(chosen)]


def read_project(text: str) -> dict[str, Any]:
    """The [project] table of a pyproject.toml. Raises KitMalformed when it is another project's."""
    project = tomllib.loads(text).get("project", {})
    if not isinstance(project, dict) or project.get("name") != ROOT:
        raise KitMalformed("the pyproject.toml is not outstation's")
    return project
