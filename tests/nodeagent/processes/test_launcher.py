"""The launcher keeps sockets and workers while everything else dies, and stops in order."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil


def spec(state: Path, worker: str, revision: int = 1, **document: Any) -> dict[str, Any]:
    return {
        "worker": worker,
        "bundle": "press",
        "revision": revision,
        "role": "active",
        "document": {"worker": worker, "revision": revision, "folder": str(state), **document},
        "listeners": {"model": "m-press", "control": f"w-{worker}"},
        "limits": {},
    }


def call(state: Path) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(state / "run" / "m-press.sock"))
        return sock.recv(100).decode().strip()


def test_the_supervisor_gets_the_api_sockets_and_they_are_private(node, state):
    node.start()
    told = node.ask("tell")
    assert told["listeners"] == {name: str(state / "run" / f"{name}.sock") for name in ("agent", "monitor")}
    assert stat.S_IMODE((state / "run" / "agent.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "run").stat().st_mode) == 0o700


def test_a_killed_supervisor_comes_back_and_finds_the_workers_that_went_on(node, state, until):
    node.start()
    pid = node.ask("spawn", spec=spec(state, "1"))["pid"]
    assert until(lambda: call(state), "the worker answers") == "1 r1"
    first = node.ask("tell")["pid"]
    os.kill(first, signal.SIGKILL)
    assert call(state) == "1 r1"
    told = until(lambda: (got := node.ask("tell"))["pid"] != first and got, "another supervisor")
    assert [(worker["worker"], worker["pid"]) for worker in told["running"]] == [("1", pid)]
    assert told["running"][0]["document"]["revision"] == 1


def test_a_supervisor_that_stops_speaking_is_killed_and_replaced(node, frozen, until):
    node.start()
    first = node.ask("tell")["pid"]
    frozen(first)
    assert until(lambda: (got := node.ask_once("tell"))["pid"] != first and got, "another supervisor")


def test_connections_wait_for_the_next_worker_when_one_dies(node, state, until):
    node.start()
    pid = node.ask("spawn", spec=spec(state, "1"))["pid"]
    assert until(lambda: call(state), "the first worker answers") == "1 r1"
    os.kill(pid, signal.SIGSEGV)
    exits = until(lambda: node.ask("tell")["exits"], "the exit is told")
    assert [(ended["worker"], ended["text"]) for ended in exits] == [("1", "killed by SIGSEGV")]
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(20)
        waiting.connect(str(state / "run" / "m-press.sock"))
        node.ask("spawn", spec=spec(state, "2"))
        assert waiting.recv(100) == b"2 r1\n"


def test_the_last_words_of_a_failed_worker_are_told(node, state, until):
    node.start()
    node.ask("spawn", spec=spec(state, "1", fails=True))
    (ended,) = until(lambda: node.ask("tell")["exits"], "the exit is told")
    assert (ended["status"], ended["tail"]) == (3, "worker 1 speaks")


def test_everything_stops_when_the_launcher_is_killed(node, state, until, lives):
    node.start()
    worker = node.ask("spawn", spec=spec(state, "1"))["pid"]
    supervisor = node.ask("tell")["pid"]
    node.launcher.kill()
    until(lambda: not lives(worker) and not lives(supervisor), "worker and supervisor end")


def test_a_launcher_started_after_all_were_killed_serves_again(node, state, until):
    node.start()
    node.ask("spawn", spec=spec(state, "1"))
    node.end()
    node.start()
    assert node.ask("tell")["running"] == []
    node.ask("spawn", spec=spec(state, "2"))
    assert until(lambda: call(state), "the worker answers") == "2 r1"


def test_a_term_signal_stops_workers_first_then_the_supervisor_and_exits_clean(node, state, until, capfd):
    node.start()
    node.ask("spawn", spec=spec(state, "1"))
    assert until(lambda: call(state), "the worker answers")
    node.launcher.terminate()
    assert node.process.wait(timeout=30) == 0
    worker, supervisor = state / "stopped-1", state / "supervisor-stopped"
    assert worker.stat().st_mtime_ns <= supervisor.stat().st_mtime_ns
    assert supervisor.read_text() == "True"
    assert not list((state / "run").glob("*.sock"))
    told = capfd.readouterr().err
    assert "exit status 0\n" in told
    assert "again in" not in told


def test_two_launchers_never_share_a_run_folder(node, state):
    node.start()
    node.ask("tell")
    second = subprocess.run(node._command, capture_output=True, text=True, timeout=30)
    assert second.returncode != 0
    assert "another agent runs" in second.stderr
    assert node.ask("tell")["launcher"] == node.process.pid


def test_a_worker_is_limited_and_its_document_is_on_no_disk(node, state, until):
    node.start()
    limits = {"memory_bytes": 700 << 20, "cpu_s": 77, "nice": 3}
    pid = node.ask("spawn", spec={**spec(state, "1", secret="CANARY"), "limits": limits})["pid"]
    until(lambda: call(state), "the worker answers")
    process = psutil.Process(pid)
    assert process.rlimit(psutil.RLIMIT_AS) == (700 << 20, 700 << 20)
    assert process.rlimit(psutil.RLIMIT_CPU) == (77, 77)
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert process.nice() == psutil.Process().nice() + 3
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
    assert not [path for path in state.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]
    assert "CANARY" not in " ".join(process.cmdline()) + str(process.environ())


def test_the_service_manager_hears_ready_and_the_watchdog(node, state, until):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(state / "notify"))
        manager.settimeout(20)
        node.environment = {"NOTIFY_SOCKET": str(state / "notify"), "WATCHDOG_USEC": "400000"}
        node.start()
        assert manager.recv(100) == b"WATCHDOG=1"
        node.ask("ready")
        until(lambda: manager.recv(100) == b"READY=1", "READY")
        node.launcher.terminate()
        until(lambda: manager.recv(100) == b"STOPPING=1", "STOPPING")


def test_a_socket_asked_for_twice_is_the_same_socket(node, state):
    node.start()
    assert node.ask("listen", name="m-press")["path"] == str(state / "run" / "m-press.sock")
    first = (state / "run" / "m-press.sock").stat().st_ino
    node.ask("listen", name="m-press")
    assert (state / "run" / "m-press.sock").stat().st_ino == first


def test_a_path_too_long_for_a_socket_is_refused_with_the_way_out(state):
    (state / "node.toml").write_text(f'[api]\nrun = "{state}/{"x" * 100}"\n')
    code = f"from nodeagent.processes.launcher import main; from pathlib import Path; main(Path({str(state)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "set [api] run" in done.stderr


def test_the_launcher_imports_the_standard_library_alone():
    code = (
        "import sys; before = set(sys.modules); import nodeagent.processes.launcher\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names) - {'nodeagent'}), 'asyncio' in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
