"""An agent onto a node and off it again, over a real sshd, as this user, in a home folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.kit.file import KIT_NAMESPACE, open_kit, sign_kit, write_kit
from console.kit.manifest import encode
from store.signing import sign_with_key_file

CRONTAB = """#!/bin/sh
# A crontab(1) whose table is one file: the machine's own is not the test's to change.
case $1 in
-l) cat "$HOME/.table" 2>/dev/null || { echo "no crontab" >&2; exit 1; } ;;
-r) rm -f "$HOME/.table" ;;
-) cat > "$HOME/.table" ;;
esac
"""
START_S = 60.0

# Hundreds of megabytes are copied, unpacked, compiled and removed again, on a machine that others use too.
pytestmark = pytest.mark.timeout(400)


class Box:
    """A machine to be made a node: its own home and PATH behind an sshd, and a console that knows it."""

    def __init__(self, lab: Any, kit: Any, capsys: pytest.CaptureFixture[str], *lines: str) -> None:
        self.home, self.console, self.bin = lab.folder / "home", lab.folder / "console", lab.folder / "bin"
        for folder in (self.home, self.bin):
            folder.mkdir(exist_ok=True)
        (self.bin / "crontab").write_text(CRONTAB)
        (self.bin / "crontab").chmod(0o755)
        self.server = lab.sshd(f"SetEnv SHLVL=1 HOME={self.home} PATH={self.bin}:/usr/bin:/bin", *lines)
        told = ["ssh-keygen", "-lf", str(self.server.folder / "host_key.pub")]
        self._fingerprint = subprocess.run(told, capture_output=True, text=True, check=True).stdout.split()[1]
        self._kit, self._capsys = kit, capsys
        self.prefix, self.state = self.home / ".outstation", self.home / ".outstation" / "state"
        where = f"{self.server.user}@127.0.0.1:{self.server.port}"
        words = ["node", "add", "press-07", where, "-i", str(lab.identity), "--unseen", "--ssh-config", "/dev/null"]
        assert self.run(*words)[0] == 0

    def run(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = main(["--home", str(self.console), "--operator", "alice", *words])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def bootstrap(self, *words: str, kit: Path | None = None) -> tuple[int, str, str]:
        base = [
            "--kit",
            str(kit or self._kit.path),
            "--signers",
            str(self._kit.signers_file),
            "--prefix",
            str(self.prefix),
        ]
        return self.run(
            "node", "bootstrap", "press-07", *base, "--accept", self._fingerprint, "--start", "cron", "--yes", *words
        )

    def processes(self) -> list[int]:
        """Process ids of everything that runs from the home folder."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    line = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.prefix).encode() in line and b"nodeagent" in line:
                    found.append(int(folder.name))
        return found

    def keeper(self) -> list[int]:
        return [int(word) for word in (self.prefix / "keeper.lock").read_text().split()]


@pytest.fixture
def box(ssh_lab: Any, made_kit: Any, capsys: pytest.CaptureFixture[str]) -> Iterator[Box]:
    made = Box(ssh_lab, made_kit, capsys)
    try:
        yield made
    finally:
        for pid in sorted(made.processes()):
            os.kill(pid, signal.SIGKILL)


def programs(prefix: Path) -> dict[str, tuple[int, int]]:
    """Every file of the installed versions, with its size and when it was written."""
    files = [path for path in (prefix / "versions").rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def until(check: Any) -> None:
    deadline = time.monotonic() + START_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_node_is_looked_at_bootstrapped_twice_kept_alive_and_wiped_to_nothing(box: Box, tmp_path: Path) -> None:
    (box.home / ".table").write_text("0 3 * * * other\n")
    signers = tmp_path / "signers"
    public = " ".join(box._kit.signers.split()[-2:])
    signers.write_text(f'release namespaces="outstation-bundle" {public}\n')
    code, out, err = box.bootstrap("--check")
    assert (code, err) == (0, "")
    assert "what will be done" in out
    assert not box.prefix.exists()

    code, out, err = box.bootstrap("--allow-signer", str(signers))
    assert (code, err) == (0, "")
    node_id = (box.state / "node.id").read_text().strip()
    assert f"press-07 runs outstation 0.1.0, node id {node_id}" in out
    assert not (box.prefix / "staging").exists()
    assert not list((box.prefix / "versions").glob("*/site/console"))
    assert not list((box.prefix / "versions").glob("*/site/pip"))
    installed = programs(box.prefix)
    table = (box.home / ".table").read_text()
    assert "0 3 * * * other\n" in table
    assert f"@reboot {box.prefix}/current/outstation-keeper {box.prefix} " in table
    shown = json.loads(box.run("node", "show", "press-07", "--json")[1])
    assert (shown["status"]["node_id"], shown["status"]["signers"]) == (node_id, 1)
    assert shown["address"]["agent"] == f"{box.prefix}/current/outstation-agent"

    keeper, agent = box.keeper()
    os.kill(agent, signal.SIGKILL)
    until(lambda: len(box.keeper()) == 2 and box.keeper()[1] != agent)
    assert box.keeper()[0] == keeper
    second = subprocess.run(
        [box.prefix / "current" / "outstation-keeper", box.prefix], timeout=30, capture_output=True, check=False
    )
    assert second.returncode == 0

    assert box.run("check", "press-07", "--json")[0] in (0, 1)
    assert programs(box.prefix) == installed  # Nothing executable is written or compiled by an agent that runs.

    code, out, _ = box.bootstrap()
    assert code == 0
    assert "this version is installed there already" in out
    assert (box.state / "node.id").read_text().strip() == node_id
    assert (box.home / ".table").read_text() == table

    code, out, err = box.run("node", "remove", "press-07", "--wipe", "--yes")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in box.home.iterdir()) == [".table"]
    assert (box.home / ".table").read_text() == "0 3 * * * other\n"
    assert box.processes() == []
    assert json.loads(box.run("node", "list", "--json")[1]) == []


def test_what_was_copied_before_the_link_broke_is_not_copied_again(box: Box) -> None:
    async def broken() -> tuple[int, str, str]:
        running = asyncio.create_task(asyncio.to_thread(box.bootstrap))
        staging = box.prefix / "staging"
        while not (staging.is_dir() and sum(path.stat().st_size for path in staging.iterdir()) > 25 << 20):
            assert not running.done(), running.result()
            await asyncio.sleep(0.01)
        box.server.signal_all(signal.SIGKILL)
        return await running

    code, _, err = asyncio.run(broken())
    assert code == 3, err
    assert "run the same command again" in err
    there = {path.name: path.stat().st_size for path in (box.prefix / "staging").iterdir()}
    code, out, err = box.bootstrap()
    assert (code, err) == (0, "")
    first = next(line for line in out.splitlines() if line.startswith("copy"))
    assert "0 B of" not in first
    assert sum(there.values()) > 25 << 20


def another_kit(made: Any, path: Path) -> Path:
    """The same packages under another version's number, signed by the same key."""
    unsigned = path.with_suffix(".unsigned")
    with open_kit(made.path) as kit:
        manifest = msgspec.structs.replace(kit.manifest, version="0.1.1")
        write_kit(unsigned, encode(manifest), kit.pieces)
    sign_kit(unsigned, path, lambda data: sign_with_key_file(made.key, data, namespace=KIT_NAMESPACE))
    return path


def test_an_upgrade_without_a_way_back_in_undoes_itself_and_the_same_command_then_keeps_it(
    box: Box, made_kit: Any, tmp_path: Path
) -> None:
    assert box.bootstrap()[0] == 0
    (old,) = [path.name for path in (box.prefix / "versions").iterdir()]
    words = ["agent", "upgrade", "press-07", "--kit", str(another_kit(made_kit, tmp_path / "next.kit"))]
    words += ["--signers", str(made_kit.signers_file), "--yes"]
    file = box.state / "upgrade.json"

    def phase() -> str:
        return str(json.loads(file.read_text())["phase"]) if file.exists() else ""

    async def cut_off() -> tuple[int, str, str]:
        running = asyncio.create_task(asyncio.to_thread(box.run, *words, "--confirm-within", "8s"))
        while phase() != "trial":
            assert not running.done(), running.result()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(box.server.stop)
        return await running

    code, _, err = asyncio.run(cut_off())
    assert code != 0, err
    until(lambda: phase() == "rolled_back")
    box.server.start()
    assert json.loads(box.run("agent", "show", "--json")[1])[0]["upgrade"]["running"] == old
    assert (box.prefix / "current").readlink().name == old

    code, out, err = box.run(*words)
    assert (code, err) == (0, ""), out
    shown = json.loads(box.run("agent", "show", "--json")[1])[0]["upgrade"]
    assert (shown["phase"], shown["previous"], shown["launcher"]) == ("committed", old, old)
    new = shown["running"]
    assert new.startswith("0.1.1-")
    assert (box.prefix / "current").readlink().name == new
    assert box.run(*words)[0] == 0
    entries = json.loads(box.run("ledger", "show", "press-07", "--json")[1])["entries"]
    confirmed = [entry["detail"] for entry in entries if entry["action"] == "agent.confirm"]
    assert [detail["reachability"] for detail in confirmed] == ["proved"]

    _, agent = box.keeper()
    os.kill(agent, signal.SIGKILL)
    until(lambda: len(box.keeper()) == 2 and box.keeper()[1] != agent)
    until(lambda: box.run("agent", "show", "--json")[0] == 0)
    assert json.loads(box.run("agent", "show", "--json")[1])[0]["upgrade"]["launcher"] == new
    assert box.run("node", "remove", "press-07", "--wipe", "--yes")[0] == 0
    assert sorted(path.name for path in box.home.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "wiping"),
    [("versions/.*.new/site/numpy", ".table"), ("state/node.db", "state"), ("current", "versions/*/site/numpy")],
)
def test_killed_at_any_step_the_same_command_converges_there_and_back(box: Box, moment: str, wiping: str) -> None:
    async def killed(command: Any, is_now: Any) -> None:
        running = asyncio.create_task(asyncio.to_thread(command))
        while not is_now():
            assert not running.done(), running.result()
            await asyncio.sleep(0.005)
        box.server.signal_all(signal.SIGKILL)
        for pid in box.processes():
            os.kill(pid, signal.SIGKILL)
        await running

    def wipe() -> tuple[int, str, str]:
        return box.run("node", "remove", "press-07", "--wipe", "--yes")

    asyncio.run(killed(box.bootstrap, lambda: list(box.prefix.glob(moment))))
    until(lambda: not box.processes())
    code, out, err = box.bootstrap()
    assert (code, err) == (0, ""), out
    assert not list((box.prefix / "versions").glob(".*"))

    root = box.home if wiping == ".table" else box.prefix
    asyncio.run(killed(wipe, lambda: not list(root.glob(wiping))))
    until(lambda: not box.processes())
    code, out, err = wipe()
    assert (code, err) == (0, ""), out
    assert sorted(path.name for path in box.home.iterdir()) == []
    assert json.loads(box.run("node", "list", "--json")[1]) == []
