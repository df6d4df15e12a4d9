"""A kit without an index: wheels made again from what is installed, file by file as its RECORD says."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from console.kit import installed, wheels
from console.kit.file import KitRefused
from console.kit.lock import Pin


def put(folder: Path, name: str, version: str) -> Path:
    """A package as an installer leaves it: with a command beside the library and a file of its own; its module."""
    module, info = folder / f"{name}.py", folder / f"{name}-{version}.dist-info"
    info.mkdir()
    module.write_text("ANSWER = 42\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest()).rstrip(b"=").decode()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n")
    (info / "INSTALLER").write_text("pip\n")
    listed = [
        f"{name}.py,sha256={digest},12",
        *(f"{info.name}/{file},," for file in ("METADATA", "WHEEL", "INSTALLER")),
    ]
    (info / "RECORD").write_text("\n".join([*listed, f"../../bin/{name},,", f"__pycache__/{name}.pyc,,"]) + "\n")
    return module


def pin(name: str, version: str = "1.0") -> Pin:
    return Pin(name, version, "", ("sha256:" + "0" * 64,), frozenset({"outstation"}))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_an_installed_package_becomes_the_same_wheel_each_time(library: Path, tmp_path: Path) -> None:
    put(library, "tinypart", "1.0")
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        installed.collect([pin("tinypart")], "linux-x86_64", "3.11", tmp_path / name)
        (wheel,) = (tmp_path / name).iterdir()
        found.append(wheels.describe(wheel))
    assert found[0].wheel == found[1].wheel
    assert found[0].wheel.file == "tinypart-1.0-py2.py3-none-any.whl"
    assert (found[0].licence, [name for name, _ in found[0].executables]) == ("MIT", ["tinypart.py"])
    with zipfile.ZipFile(found[0].path) as archive:
        info = "tinypart-1.0.dist-info"
        assert sorted(archive.namelist()) == [f"{info}/METADATA", f"{info}/RECORD", f"{info}/WHEEL", "tinypart.py"]
        assert "bin/" not in archive.read(f"{info}/RECORD").decode()


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("tinypart", "2.0", "tinypart 1.0 is installed here, and the lock names 2.0"),
        ("nosuchpart", "1.0", "nosuchpart is not installed here, and a node needs 1.0 of it"),
        ("changedpart", "1.0", "changedpart.py was changed since it was installed"),
    ],
)
def test_what_is_not_as_the_lock_and_its_record_say_is_refused(
    library: Path, tmp_path: Path, name: str, version: str, says: str
) -> None:
    put(library, "tinypart", "1.0")
    put(library, "changedpart", "1.0").write_text("ANSWER = 43\n")
    with pytest.raises(KitRefused, match=says) as refused:
        installed.collect([pin(name, version)], "linux-x86_64", "3.11", tmp_path)
    assert "scripts/setup-venv" in refused.value.hint
