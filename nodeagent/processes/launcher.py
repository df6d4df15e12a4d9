"""The unit's main process: keeps the listening sockets, starts and reaps supervisor and workers, and keeps a trial's
deadline when no supervisor does. Standard library only, one thread, 17 MB; it parses nothing from the network.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nodeagent.clock import Clock, SystemClock
from nodeagent.processes import control
from nodeagent.processes.children import Child, SpawnSpec, describe, start_supervisor, start_worker
from nodeagent.processes.deadline import Armed, Row, Verdict, judge
from nodeagent.processes.listeners import Listeners
from nodeagent.processes.notify import Notifier
from nodeagent.processes.versions import Installed, Versions
from nodeagent.settings import Settings, load

TICK_S = 0.25
# A tick longer than this was a stopped or suspended machine: what did not run is not counted against anyone.
AWAKE_TICK_S_MAX = 0.5
BACKOFF_S_MIN = 0.2
BACKOFF_S_MAX = 30.0
STEADY_S = 60.0
STOP_WORKERS_S = 8.0
STOP_SUPERVISOR_S = 5.0
SUPERVISED_S_MAX = 2.5 * control.ALIVE_EVERY_S
CHILDREN_MAX = 256
ARMED_MAX = 16
WENT_BACK_MAX = 16


def supervisor_command(state: Path, fd: int) -> list[str]:
    """The command line of the supervisor. Tracebacks name lines and no columns: 0.4 MB less."""
    return [
        sys.executable,
        "-X",
        "no_debug_ranges",
        "-m",
        "nodeagent.supervisor",
        "--state",
        str(state),
        "--fd",
        str(fd),
    ]


def worker_command() -> list[str]:
    """The command line of a worker, without its `--spec FILE`."""
    return [sys.executable, "-m", "nodeagent.worker"]


def _load_reader() -> Callable[[Path, str], Row | None]:
    from nodeagent.processes.deadline_row import read_row

    return read_row


class Launcher:
    """One node's launcher. `run` returns at SIGTERM or SIGINT with everything stopped in order."""

    def __init__(
        self,
        state: Path,
        settings: Settings,
        *,
        clock: Clock | None = None,
        supervisor: Callable[[Path, int], list[str]] = supervisor_command,
        worker: Callable[[], list[str]] = worker_command,
        silent_s_max: float = control.SILENT_S_MAX,
        installed: Installed | None = None,
    ) -> None:
        self._state = state
        self._clock = clock or SystemClock()
        self._versions = Versions(state, self._clock, installed)
        self._swapping = False
        self._supervisor_command = supervisor
        self._worker_command = worker
        self._silent_s_max = silent_s_max
        self._notifier = Notifier()
        self._selector = selectors.DefaultSelector()
        self._run = settings.run_dir(state)
        self._listeners = Listeners(self._run, group=settings.api.group)
        self._listeners.open("agent", shared=True)
        self._listeners.open("monitor", shared=True)
        if settings.serve.tcp:
            self._listeners.open_tcp(settings.serve.tcp)
        self._workers: dict[str, Child] = {}
        self._armed: dict[str, Armed] = {}
        self._went_back: list[str] = []
        self._supervisor: Child | None = None
        self._link: socket.socket | None = None
        self._silent_s = 0.0
        self._backoff_s = BACKOFF_S_MIN
        self._start_at_s = 0.0
        self._stop_at_s: float | None = None
        self._stop_asked_s: float | None = None
        self._notified_s = 0.0

    def run(self) -> int:
        """Runs until told to stop. Returns the exit status."""
        wake_read, wake_write = socket.socketpair()
        for end in (wake_read, wake_write):
            end.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: _drain(wake_read))
        last_s = time.monotonic()
        while not self._finished():
            for key, _ in self._selector.select(TICK_S):
                key.data()
            now_s = time.monotonic()
            self._tick(now_s, min(now_s - last_s, AWAKE_TICK_S_MAX))
            last_s = now_s
        self._listeners.close_all()
        return 0

    # ---------------------------------------------------------------- one turn

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD and self._stop_at_s is None:
            self._stop_at_s = time.monotonic()

    def _tick(self, now_s: float, awake_s: float) -> None:
        self._reap(now_s)
        if self._stop_at_s is not None:
            self._stop(now_s)
            return
        self._watch(now_s, awake_s)
        self._keep_deadlines()
        self._keep_version(now_s)
        if self._supervisor is None and now_s >= self._start_at_s:
            self._start_supervisor()
        if self._notifier.watchdog_s is not None and now_s - self._notified_s >= self._notifier.watchdog_s:
            self._notifier.alive()
            self._notified_s = now_s

    def _reap(self, now_s: float) -> None:
        if self._supervisor is not None and (status := self._supervisor.ended()) is not None:
            steady = now_s - self._supervisor.started_s >= STEADY_S
            self._backoff_s = BACKOFF_S_MIN if steady else self._backoff_s
            if self._swapping or self._versions.exited(describe(status)):
                self._say(f"supervisor {self._supervisor.pid}: {describe(status)}; now {self._versions.running}")
                self._swapping, self._start_at_s, self._backoff_s = False, now_s, BACKOFF_S_MIN
            else:
                again = f"; again in {self._backoff_s:.1f} s" if self._stop_at_s is None else ""
                self._say(f"supervisor {self._supervisor.pid}: {describe(status)}{again}")
                self._start_at_s = now_s + self._backoff_s
                self._backoff_s = min(self._backoff_s * 2, BACKOFF_S_MAX)
            self._forget(self._supervisor)
            self._supervisor = None
            self._unlink()
        for name, child in list(self._workers.items()):
            if (status := child.ended()) is not None:
                self._forget(child)
                del self._workers[name]
                self._listeners.close(f"w-{name}")
                event = {"event": "exited", "worker": name, "pid": child.pid, "status": status}
                self._tell({**event, "text": describe(status), "tail": child.tail})

    def _watch(self, now_s: float, awake_s: float) -> None:
        """Kills a supervisor that has been silent too long while we were awake to hear it."""
        self._silent_s += awake_s
        if self._supervisor is not None and self._silent_s > self._silent_s_max:
            self._say(f"supervisor {self._supervisor.pid} silent for {self._silent_s:.0f} s: killed")
            self._supervisor.signal(signal.SIGKILL)
            self._silent_s = 0.0

    def _keep_deadlines(self) -> None:
        now_us = self._clock.boottime_us()
        supervised = self._link is not None and self._silent_s <= SUPERVISED_S_MAX
        for armed in list(self._armed.values()):
            if now_us < armed.deadline_us:
                continue
            row = _load_reader()(self._state / "node.db", armed.deployment)
            verdict = judge(armed, row, now_us=now_us, supervised=supervised)
            if verdict is Verdict.GO_BACK:
                self._go_back(armed)
            elif verdict is Verdict.FORGET:
                del self._armed[armed.bundle]

    def _keep_version(self, now_s: float) -> None:
        """Ends the trial of another version when its time is over, and the supervisor that does not count any more."""
        if self._versions.is_due():
            self._versions.expire()
            self._swapping = True
        if self._swapping and self._supervisor is not None:
            self._supervisor.stop(now_s, grace_s=STOP_SUPERVISOR_S)
            self._supervisor.kill_late(now_s)

    def _go_back(self, armed: Armed) -> None:
        """No supervisor keeps this deadline: one that only sleeps dies first, so that one process acts and not two."""
        self._say(f"{armed.bundle}: trial {armed.deployment} ended unconfirmed with no supervisor: going back")
        if self._supervisor is not None:
            self._supervisor.signal(signal.SIGKILL)
        for child in list(self._workers.values()):
            if child.spec is not None and child.spec.bundle == armed.bundle:
                child.signal(signal.SIGKILL)
        del self._armed[armed.bundle]
        self._went_back = [*self._went_back, armed.deployment][-WENT_BACK_MAX:]
        if armed.spawn is not None:
            self._spawn(armed.spawn)

    def _stop(self, now_s: float) -> None:
        """Workers first, so that they write safe values while the supervisor still stands; then the supervisor."""
        assert self._stop_at_s is not None
        if self._stop_asked_s is None:
            self._notifier.stopping()
            self._tell({"event": "stopping"})
            self._stop_asked_s = now_s
            for child in self._workers.values():
                child.stop(now_s, grace_s=STOP_WORKERS_S)
        for child in self._workers.values():
            child.kill_late(now_s)
        if not self._workers and self._supervisor is not None:
            self._supervisor.stop(now_s, grace_s=STOP_SUPERVISOR_S)
            self._supervisor.kill_late(now_s)

    def _finished(self) -> bool:
        return self._stop_asked_s is not None and not self._workers and self._supervisor is None

    # ---------------------------------------------------------------- children

    def _start_supervisor(self) -> None:
        ours, theirs = control.pair()
        ours.setblocking(False)
        with theirs:
            command = self._versions.command(self._supervisor_command(self._state, theirs.fileno()))
            environment = self._versions.environment(os.environ)
            self._supervisor = start_supervisor(command, theirs.fileno(), environment)
        self._link = ours
        self._silent_s = 0.0
        self._listen_to(self._supervisor)
        self._selector.register(ours, selectors.EVENT_READ, self._hear)
        self._greet()

    def _greet(self) -> None:
        """Tells a new supervisor what there is: the listening sockets, the workers that live, what we did alone."""
        names = [name for name in ("agent", "monitor", "tcp") if name in self._listeners]
        hello = {"event": "hello", "launcher": os.getpid(), "listeners": names, "workers": len(self._workers)}
        hello["went_back"] = self._went_back
        hello["versions"] = self._versions.show()
        self._tell(hello, [self._listeners[name].fileno() for name in names])
        for name, child in self._workers.items():
            assert child.spec is not None
            self._tell({"event": "worker", "worker": name, "pid": child.pid, "spec": child.spec.to_json()})

    def _spawn(self, spec: SpawnSpec) -> Child:
        if len(self._workers) >= CHILDREN_MAX:
            raise OSError(f"more than {CHILDREN_MAX} workers")
        if spec.worker in self._workers:
            raise OSError(f"worker {spec.worker} runs already")
        fds = {name: self._listeners.open(socket_name).fileno() for name, socket_name in spec.listeners.items()}
        command = self._versions.command(self._worker_command())
        child = start_worker(command, spec, fds, self._versions.environment(os.environ))
        self._workers[spec.worker] = child
        self._listen_to(child)
        return child

    def _listen_to(self, child: Child) -> None:
        def read() -> None:
            if not child.listen():
                self._selector.unregister(child.stderr)

        self._selector.register(child.stderr, selectors.EVENT_READ, read)

    def _forget(self, child: Child) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.stderr)
        child.close()

    # ---------------------------------------------------------------- the supervisor's packets

    def _hear(self) -> None:
        assert self._link is not None
        try:
            got = control.receive(self._link)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._say(f"supervisor's packet: {error}")
            got = None
        if got is None:
            self._unlink()
            return
        packet, fds = got
        for fd in fds:
            os.close(fd)
        self._silent_s = 0.0
        self._answer(packet)

    def _answer(self, packet: control.Packet) -> None:
        answer: dict[str, Any] = {"event": "answer", "to": packet.get("id", 0)}
        fds: list[int] = []
        try:
            answer |= self._do(packet, fds)
        except (OSError, KeyError, TypeError, ValueError) as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        if "id" in packet:
            self._tell(answer, fds)

    def _do(self, packet: control.Packet, fds: list[int]) -> dict[str, Any]:
        match packet["op"]:
            case "alive":
                pass
            case "ready":
                self._notifier.ready()
                print(
                    f"launcher: ready; the console finds it at {self._run / 'agent.sock'}", file=sys.stderr, flush=True
                )
            case "listen":
                fds.append(self._listeners.open(str(packet["name"])).fileno())
            case "unlisten":
                self._listeners.close(str(packet["name"]))
            case "spawn" if self._stop_at_s is None:
                return {"pid": self._spawn(SpawnSpec.from_json(packet["spec"])).pid}
            case "signal":
                if (child := self._workers.get(str(packet["worker"]))) is not None:
                    child.signal(int(packet["signal"]))
            case "arm" if len(self._armed) < ARMED_MAX:
                armed = Armed.from_json(packet)
                self._armed[armed.bundle] = armed
                _load_reader()  # now, and not at the deadline, when there may be no memory or disk for it
            case "disarm":
                self._armed.pop(str(packet["bundle"]), None)
            case "versions":
                return self._versions.show()
            case "upgrade" if self._stop_at_s is None:
                self._swapping = self._versions.begin(packet) or self._swapping
                return self._versions.show()
            case "upgrade-confirm":
                self._versions.confirm(str(packet["upgrade"]))
                return self._versions.show()
            case "upgrade-back":
                self._swapping = self._versions.back(str(packet["upgrade"])) or self._swapping
                return self._versions.show()
            case other:
                raise ValueError(f"{other}: unknown, or refused while stopping or full")
        return {}

    def _tell(self, packet: control.Packet, fds: list[int] | None = None) -> None:
        if self._link is None:
            return
        try:
            control.send(self._link, packet, fds)
        except OSError as error:
            # One that does not read hangs: it ends, and the next one is told everything anew.
            self._say(f"supervisor does not read: {error}")
            if self._supervisor is not None:
                self._supervisor.signal(signal.SIGKILL)

    def _unlink(self) -> None:
        if self._link is not None:
            self._selector.unregister(self._link)
            self._link.close()
            self._link = None

    def _say(self, text: str) -> None:
        print(f"launcher: {text}", file=sys.stderr, flush=True)


def main(state: Path, settings: Settings | None = None) -> int:
    """Runs the launcher of the node at `state`. Returns the exit status. Raises SettingsError, ListenError."""
    return Launcher(state, settings or load(state), installed=Installed.here()).run()


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(4_096):
            pass
