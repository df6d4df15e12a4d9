"""Which console of this person carries a rollout out now: a lock that the kernel frees, however the console ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.home import Home
from store import durable


class CarriedOut(Exception):
    """Another process has the rollout."""

    hint = "it goes on there; watch it with `outstation rollout show`"


def lock_file(home: Home, rollout: str) -> Path:
    return home.path / "rollouts" / f"{rollout}.lock"


@contextmanager
def carrying_out(home: Home, rollout: str) -> Iterator[None]:
    """Has the rollout for the block. Raises CarriedOut where another process has it, StoreError kinds."""
    path = lock_file(home, rollout)
    durable.make_dir(path.parent, 0o700)
    if not path.exists():
        durable.append(path, b"")
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CarriedOut(f"another console here carries {rollout} out") from error
        yield
    finally:
        os.close(fd)


def is_carried_out(home: Home, rollout: str) -> bool:
    """Whether some process of this person has the rollout now."""
    path = lock_file(home, rollout)
    if not path.exists():
        return False
    try:
        with carrying_out(home, rollout):
            return False
    except CarriedOut:
        return True
