"""What goes into a kit: the lock's own arrows, each platform's tags, a Python that the operator supplies."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from console.kit.build import SOURCE, Order, build, read_runtime
from console.kit.file import KitRefused
from console.kit.lock import closure, read_lock, read_project, wanted
from console.kit.manifest import KitMalformed
from console.kit.platforms import environment, fits, glibc_of, pip_arguments
from console.kit.wheels import download

LOCK = """
alpha==1.0 \\
    --hash=sha256:{a}
    # via outstation (pyproject.toml)
beta==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   alpha
    #   other
beta==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:{b}
    # via alpha
pip==9.0 \\
    --hash=sha256:{b}
    # via beta
other==1 \\
    --hash=sha256:{b}
    # via outstation (pyproject.toml)
""".format(a="a" * 64, b="b" * 64)


def test_what_a_package_needs_follows_the_arrows_of_the_lock_and_leaves_pip_out() -> None:
    pins = read_lock(LOCK)
    for python, version in (("3.11", "2.0"), ("3.13", "3.0")):
        found = closure(pins, {"alpha"}, environment("linux-x86_64", python))
        assert [(pin.name, pin.version) for pin in found] == [("alpha", "1.0"), ("beta", version)]
    assert found[1].requirement() == "beta==3.0 --hash=sha256:" + "b" * 64


def test_a_pin_without_a_hash_and_a_package_that_is_not_locked_are_refused() -> None:
    with pytest.raises(KitMalformed, match="no hash"):
        read_lock("alpha==1.0 \\\n    # via outstation (pyproject.toml)\n")
    with pytest.raises(KitMalformed, match="does not pin gamma"):
        closure(read_lock(LOCK), {"gamma"}, environment("linux-x86_64", "3.11"))


def test_an_unknown_extra_is_refused_with_those_that_there_are() -> None:
    project = read_project((SOURCE / "pyproject.toml").read_text())
    assert {"onnxruntime", "pymodbus"} <= wanted(project, ["agent", "modbus"])
    with pytest.raises(KitMalformed, match="modbus"):
        wanted(project, ["opc"])


@pytest.mark.parametrize(
    ("file", "glibc", "x86", "arm"),
    [
        ("a-1-py3-none-any.whl", (0, 0), True, True),
        ("a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", (2, 17), True, False),
        ("a-1-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", (2, 27), False, True),
        ("a-1-cp37-abi3-manylinux_2_28_x86_64.whl", (2, 28), True, False),
        ("a-1-cp312-abi3-manylinux_2_28_x86_64.whl", (2, 28), False, False),
        ("a-1-cp311-cp311t-manylinux_2_28_x86_64.whl", (2, 28), False, False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", (0, 0), False, False),
    ],
)
def test_a_wheels_name_tells_its_glibc_and_its_machines(
    file: str, glibc: tuple[int, int], x86: bool, arm: bool
) -> None:
    assert glibc_of(file) == glibc
    assert fits(file, "linux-x86_64", "3.11") is x86
    assert fits(file, "linux-aarch64", "3.11") is arm


def test_wheels_for_another_machine_are_fetched_by_name_and_hash_and_carry_its_tags(tmp_path: Path) -> None:
    pins = read_lock((SOURCE / "requirements.lock").read_text())
    chosen = closure(pins, {"msgspec", "httptools"}, environment("linux-aarch64", "3.12"))
    download(chosen, "linux-aarch64", "3.12", tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 2
    assert all(fits(file, "linux-aarch64", "3.12") and "cp312-cp312" in file for file in files)
    assert not any(fits(file, "linux-x86_64", "3.12") for file in files)


def test_a_file_with_another_hash_than_the_lock_is_not_taken(tmp_path: Path) -> None:
    pins = read_lock((SOURCE / "requirements.lock").read_text())
    (pin,) = closure(pins, {"msgspec"}, environment("linux-x86_64", "3.11"))
    forged = type(pin)(pin.name, pin.version, "", ("sha256:" + "0" * 64,), pin.wanted_by)
    with pytest.raises(KitRefused, match=r"(?i)hash"):
        download([forged], "linux-x86_64", "3.11", tmp_path)


def test_pip_is_told_every_tag_and_no_index() -> None:
    arguments = pip_arguments("linux-aarch64", "3.13")
    assert "manylinux_2_28_aarch64" in arguments
    assert "manylinux_2_17_aarch64" in arguments
    assert not any("index" in word or "://" in word for word in arguments)


def test_a_folder_that_is_not_our_tree_makes_no_kit(tmp_path: Path) -> None:
    with pytest.raises(KitRefused, match="is not outstation's tree"):
        build(Order(("linux-x86_64",), ("3.11",), source=tmp_path), tmp_path / "kit.ostk", lambda _: None)


def python_tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"xx"))
    return path


def test_a_supplied_python_is_known_by_its_one_interpreter(tmp_path: Path) -> None:
    made = python_tar(tmp_path / "p.tar.gz", "python/bin/python3.12", "python/bin/python3", "python/lib/x.py")
    runtime = read_runtime("linux-x86_64", made)
    assert (runtime.python, runtime.program, runtime.unpacked) == ("3.12", "python/bin/python3.12", 6)
    two = python_tar(tmp_path / "two.tar.gz", "bin/python3.12", "bin/python3.13")
    with pytest.raises(KitRefused, match="2 files"):
        read_runtime("linux-x86_64", two)
    (tmp_path / "no.tar").write_bytes(b"no tar")
    with pytest.raises(KitRefused, match="no tar of a Python"):
        read_runtime("linux-x86_64", tmp_path / "no.tar")
