"""What the app is opened on where it is opened on a capsule."""

from __future__ import annotations

from console.capsule.file import Capsule
from console.capsule.fleet import CapsuleClock, CapsuleFleet
from console.capsule.operations import CapsuleOperations
from console.capsule.trusted import Maker
from console.seat.opening import Opened

NAME = "capsule, read only"


def opened_on(capsule: Capsule, maker: Maker) -> tuple[Opened, CapsuleClock]:
    """The app's fleet and clock, at the moment that the capsule is about or the last before it that it has."""
    manifest = capsule.manifest
    clock = CapsuleClock(max(manifest.first_s, min(manifest.around_s, manifest.last_s)))
    fleet = CapsuleFleet(capsule, clock)
    words = f"A capsule by {manifest.made_by}, read only: left and right go through its time. {maker.text}"
    return Opened(fleet, CapsuleOperations(fleet, NAME), move=fleet.move, words=words), clock
