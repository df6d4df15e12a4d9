"""What a device tells of itself, remembered: another firmware or program behind the same address is another device.

Its samples are Uncertain `source changed` until a person accepts it (`outstation-agent source accept`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nodeagent.clock import Clock
from nodeagent.frame import UNCERTAIN, Frame
from store import durable
from store.errors import StoreError

FACTS_MAX: Final = 32
FACT_CHARACTERS_MAX: Final = 200
LOOKED_S: Final = 1.0
REASON: Final = "source changed"


class Device(msgspec.Struct, frozen=True):
    """The facts that a person accepted (the first ever heard are), and the newest."""

    accepted: dict[str, str]
    heard: dict[str, str]


class DeviceMemory:
    """One source's device. `heard` on each connection, `mark` on each frame."""

    def __init__(self, work_dir: Path, id: str, clock: Clock) -> None:  # noqa: A002
        self.changed = ""
        self.problem = ""
        self._path = device_file(work_dir, id)
        self._clock = clock
        self._looked_us = 0

    def heard(self, facts: Mapping[str, str]) -> None:
        """Compares with what was accepted. Reads and writes a small file: not for every sweep."""
        told = {key[:FACT_CHARACTERS_MAX]: facts[key][:FACT_CHARACTERS_MAX] for key in sorted(facts)[:FACTS_MAX]}
        if not told:
            return
        known = self._read()
        device = Device(told if known is None else known.accepted, told)
        self.changed = difference(device)
        if device != known:
            try:
                durable.write_file(self._path, msgspec.json.encode(device))
            except StoreError as error:
                self.problem = f"what the device is was not kept: {error}"

    def mark(self, frame: Frame) -> Frame:
        """`frame`, Uncertain while the change is not accepted."""
        if not self.changed:
            return frame
        now_us = self._clock.boottime_us()
        if now_us - self._looked_us > LOOKED_S * 1e6:
            self._looked_us = now_us
            known = self._read()
            self.changed = self.changed if known is None else difference(known)
        if self.changed:
            frame.mark_all(UNCERTAIN, self.changed)
        return frame

    def _read(self) -> Device | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Device)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            self.problem = f"what the device was is not known: {self._path.name} was damaged: {error}"
            return None


def device_file(work_dir: Path, id: str) -> Path:  # noqa: A002
    """Where a source keeps what its device is."""
    return work_dir / f"device-{id}.json"


def difference(device: Device) -> str:
    """What changed, in words; empty where nothing did."""
    changes = [
        f"{key} {device.accepted.get(key, 'nothing')} -> {device.heard.get(key, 'nothing')}"
        for key in sorted({*device.accepted, *device.heard})
        if device.accepted.get(key) != device.heard.get(key)
    ]
    return f"{REASON}: {', '.join(changes)}" if changes else ""


def main(argv: Sequence[str]) -> int:
    """`outstation-agent source accept WORK_DIR ID`. 0: accepted, 1: there is nothing to accept, and why."""
    parser = argparse.ArgumentParser(prog="outstation-agent source accept", description=main.__doc__)
    parser.add_argument("work_dir", type=Path, metavar="WORK_DIR", help="the bundle's work folder, STATE/work/BUNDLE")
    parser.add_argument("id", metavar="ID", help="the source's id in the pipeline")
    arguments = parser.parse_args(argv)
    try:
        changed = accept(arguments.work_dir, arguments.id)
    except FileNotFoundError:
        print(f"outstation-agent source accept: {arguments.id} has told nothing of its device yet", file=sys.stderr)
        return 1
    except (OSError, StoreError, msgspec.DecodeError) as error:
        print(f"outstation-agent source accept: {error}", file=sys.stderr)
        return 1
    print(f"accepted: {changed.removeprefix(f'{REASON}: ') or 'nothing had changed'}")
    return 0


def accept(work_dir: Path, id: str) -> str:  # noqa: A002
    """Takes the device as it is now for the right one; what changed, in words. Raises FileNotFoundError, StoreError."""
    path = device_file(work_dir, id)
    device = msgspec.json.decode(path.read_bytes(), type=Device)
    changed = difference(device)
    durable.write_file(path, msgspec.json.encode(Device(device.heard, device.heard)))
    return changed
