"""The software bill of materials of a kit: CycloneDX 1.6 as JSON, a component a wheel. No time, so that it repeats."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from console.kit.lock import normal
from console.kit.manifest import Runtime
from console.kit.wheels import Described

FILE_NAME = "bom.cdx.json"


def bill(version: str, wheels: Sequence[Described], runtimes: Sequence[Runtime]) -> bytes:
    """The document. Licences are named as each package names its own, not judged."""
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "outstation-agent", "version": version}},
        "components": [*map(_package, wheels), *map(_runtime, runtimes)],
    }
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def _package(one: Described) -> dict[str, object]:
    wheel = one.wheel
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": wheel.sha256,
        "name": wheel.name,
        "version": wheel.version,
        "purl": f"pkg:pypi/{normal(wheel.name)}@{wheel.version}?file_name={wheel.file}",
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    if one.licence:
        component["licenses"] = [{"license": {"name": one.licence}}]
    return component


def _runtime(runtime: Runtime) -> dict[str, object]:
    return {
        "type": "framework",
        "bom-ref": runtime.sha256,
        "name": "python",
        "version": runtime.python,
        "description": f"supplied by the operator for {runtime.platform}: {runtime.file}",
        "hashes": [{"alg": "SHA-256", "content": runtime.sha256}],
    }
