"""Every write, sync, rename and unlink of a node's life fails once, or from there on: ENOSPC, EIO, EROFS.

What fails is a `StoreError` and nothing else, what was told before it stays, and with a disk that works again the node
recovers. The lives are lived in forks of one process under disklog.c: `python -m tests.faults.errors FOLDER STEP BUG`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from store.errors import StoreError
from tests.faults import power
from tests.faults.disk import MEMORY
from tests.faults.life import Life
from tests.faults.planted import LIVES

ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS}


class Case(NamedTuple):
    """The `at`-th call fails with `error`; `lasting`: and all after it."""

    at: int
    error: str
    lasting: bool


def run(folder: Path, step: int = 1, bug: str = "Correct") -> tuple[int, list[str]]:
    """How many cases were tried, and what did not hold in which. Every `step`-th call is one that fails."""
    library = power.build(folder)
    with tempfile.TemporaryDirectory(dir=MEMORY) as lives:
        power.make_node(Path(lives) / "base")
        command = [sys.executable, "-m", "tests.faults.errors", lives, str(step), bug]
        environment = os.environ | {"LD_PRELOAD": str(library), "DISKLOG_ROOT": lives}
        done = subprocess.run(command, env=environment, cwd=power.ROOT, stdout=subprocess.PIPE, check=True)
    tried, wrong = json.loads(done.stdout)
    return tried, wrong


def _cases(calls: int, step: int) -> Iterator[Case]:
    number = 0
    for at in range(1, calls + 1, step):
        for error in ERRORS:
            # With a step the kinds take turns, and each is there.
            number += 1
            for lasting in (False, True) if step == 1 else (bool(number % 2),):
                yield Case(at, error, lasting)


def _main(folder: Path, step: int, lived: type[Life]) -> None:
    disk = ctypes.CDLL(None)
    disk.disklog_seen.restype = ctypes.c_long
    calls = int(_forked(lambda: _count(folder, disk)))
    cases = list(_cases(calls, step))
    wrong = []
    for case in cases:
        found = json.loads(_forked(lambda case=case: _try(folder, disk, case, lived)))  # type: ignore[misc]
        wrong += [f"{case}: {text}" for text in found]
        if wrong and lived is not Life:  # a planted bug is found
            break
    print(json.dumps([len(cases), wrong]))


def _forked(work: Callable[[], str]) -> str:
    """What `work` returns, in a process of its own."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            answer = work()
        except BaseException:  # noqa: BLE001 the border of a process: whatever it is, it is told
            answer = json.dumps([traceback.format_exc()])
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answers:
        answer = answers.read().decode()
    os.waitpid(child, 0)
    return answer


def _count(folder: Path, disk: ctypes.CDLL) -> str:
    """The calls that could fail in one life."""
    state = folder / "counted"
    shutil.copytree(folder / "base", state)
    disk.disklog_fail(0, 0, 0)
    life = Life(state)
    life.live()
    life.close()
    return str(disk.disklog_seen())


def _try(folder: Path, disk: ctypes.CDLL, case: Case, lived: type[Life]) -> str:
    state = folder / "tried"
    shutil.copytree(folder / "base", state)
    disk.disklog_fail(case.at, ERRORS[case.error], case.lasting)
    wrong = []
    try:
        life = lived(state)
        life.live()
        life.close()
    except StoreError:
        pass
    except Exception as error:  # noqa: BLE001 whatever is not a StoreError is a finding
        wrong.append(f"not a StoreError: {error!r}")
    disk.disklog_fail(0, 0, 0)
    file = state / "told"
    told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    wrong += power.recovered(state, told, Life.recover, rebooted=False)
    shutil.rmtree(state)
    return json.dumps(wrong)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), Life if sys.argv[3] == "Correct" else LIVES[sys.argv[3]])
