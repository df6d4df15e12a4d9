"""Nodes that make it hard, for real: a disk that fills while we copy, a noexec mount, no Python at all."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.kit.build import read_runtime
from console.kit.file import KIT_NAMESPACE, open_kit, write_kit
from console.kit.manifest import encode
from store.signing import sign_with_key_file

_spec = importlib.util.spec_from_file_location("bootstrap_box", Path(__file__).with_name("test_bootstrap_node.py"))
assert _spec is not None
assert _spec.loader is not None
_box = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_box)

TOOLS = (
    *(
        "sh",
        "cat",
        "cut",
        "date",
        "df",
        "dirname",
        "env",
        "getconf",
        "gzip",
        "head",
        "id",
        "ls",
        "mkdir",
        "mktemp",
        "mv",
    ),
    *("readlink", "rm", "sed", "sha256sum", "sleep", "tail", "tar", "true", "uname", "wc"),
)
PYTHON = f"3.{sys.version_info.minor}"

# Hundreds of megabytes are copied, unpacked, compiled and removed again, on a machine that others use too.
pytestmark = pytest.mark.timeout(400)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.fail("NOT RUN: this needs the right to mount a tmpfs; as root it works in a container too")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def a_box(lab: Any, kit: Any, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    made = _box.Box(lab, kit, capsys)
    try:
        yield made
    finally:
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)


def test_a_disk_that_fills_while_we_copy_gets_its_room_back_and_the_next_run_succeeds(
    ssh_lab: Any, made_kit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_box(ssh_lab, made_kit, capsys) as box, mounted(box.home, "size=450m"):
        filler, staging = box.home / "filler", box.prefix / "staging"

        async def filled() -> tuple[int, str, str]:
            running = asyncio.create_task(asyncio.to_thread(box.bootstrap))
            while not (staging.is_dir() and list(staging.iterdir())):
                assert not running.done(), running.result()
                await asyncio.sleep(0.001)
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while file.write(bytes(4 << 20)):
                    pass
            return await running

        code, _, err = asyncio.run(filled())
        assert code == 1, err
        assert "disk is full" in err or "free some room" in err
        assert not staging.exists()
        refused = box.bootstrap("--check")
        assert refused[0] == 1
        assert "DISK_FULL" in refused[1]
        filler.unlink()
        assert box.bootstrap()[0] == 0
        assert box.run("node", "remove", "press-07", "--wipe", "--yes")[0] == 0
        assert sorted(path.name for path in box.home.iterdir()) == []


def test_a_noexec_mount_is_a_clear_no_before_anything_is_written(
    ssh_lab: Any, made_kit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_box(ssh_lab, made_kit, capsys) as box, mounted(box.home, "size=600m,noexec"):
        code, out, _ = box.bootstrap()
        assert code == 1
        assert f"NOEXEC: {box.home} is mounted noexec" in out
        assert "nothing was changed" in out
        assert list(box.home.iterdir()) == []


def kit_with_python(made_kit: Any, folder: Path) -> Path:
    """The session's kit with a Python in it: a tar whose interpreter is this machine's own."""
    tar_file, script = folder / "python.tar.gz", f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} "$@"\n'.encode()
    with tarfile.open(tar_file, "w:gz") as tar:
        info = tarfile.TarInfo(f"python/bin/python{PYTHON}")
        info.size, info.mode = len(script), 0o755
        tar.addfile(info, io.BytesIO(script))
    with open_kit(made_kit.path) as kit:
        runtime = read_runtime(kit.manifest.targets[0].platform, tar_file)
        data = encode(msgspec.structs.replace(kit.manifest, runtimes=[runtime]))
        path = folder / "python.ostk"

        def pieces(sha256: str) -> Iterator[bytes]:
            return iter([tar_file.read_bytes()]) if sha256 == runtime.sha256 else kit.pieces(sha256)

        write_kit(path, data, pieces, sign_with_key_file(made_kit.key, data, namespace=KIT_NAMESPACE))
    return path


def test_a_node_without_python_is_told_so_and_takes_a_kit_that_carries_one(
    ssh_lab: Any, made_kit: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tools = ssh_lab.folder / "tools"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    with a_box(ssh_lab, made_kit, capsys) as box:
        text = box.server._config.read_text().replace(f"PATH={box.bin}:/usr/bin:/bin", f"PATH={tools}")
        box.server.stop()
        box.server._config.write_text(text)
        box.server.start()
        code, out, _ = box.bootstrap("--check", "--start", "by-hand")
        assert code == 1
        assert "NO_PYTHON: it has no Python" in out
        assert "--runtime" in out
        kit = kit_with_python(made_kit, tmp_path)
        code, out, err = box.bootstrap("--start", "by-hand", kit=kit)
        assert (code, err) == (0, ""), out
        assert f"the kit's own Python {PYTHON}" in out
        assert "runs outstation" in out
        assert box.bootstrap("--start", "by-hand", kit=kit)[0] == 0
        code, out, err = box.run("node", "remove", "press-07", "--wipe", "--yes")
        assert (code, err) == (0, "")
        assert list(box.home.iterdir()) == []
