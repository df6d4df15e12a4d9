"""The real launcher, with the doubles of supervisor and worker unless it is told to take the real ones."""

import sys
from pathlib import Path

from nodeagent.processes.launcher import Launcher, supervisor_command, worker_command
from nodeagent.settings import load

HERE = Path(__file__).parent


def supervisor(state: Path, fd: int) -> list[str]:
    real = supervisor_command(state, fd)
    return [sys.executable, str(HERE / sys.argv[2]), *real[real.index("nodeagent.supervisor") + 1 :]]


def worker() -> list[str]:
    return [sys.executable, str(HERE / sys.argv[3])] if len(sys.argv) > 3 else worker_command()


state = Path(sys.argv[1])
sys.exit(Launcher(state, load(state), supervisor=supervisor, worker=worker, silent_s_max=3.0).run())
