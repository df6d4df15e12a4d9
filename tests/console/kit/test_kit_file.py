"""A kit as a file: whole, signed, inspected, and refused as soon as a byte of it is another one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.kit import manifest as kit_manifest
from console.kit.file import KIT_NAMESPACE, KitRefused, open_kit, write_kit
from console.kit.manifest import KitMalformed, encode, parse
from console.kit.materials import FILE_NAME
from store import ustar
from store.signing import SignatureRefused, sign_with_key_file


def test_a_kit_holds_every_package_of_the_agent_at_its_locked_version_and_nothing_that_installs(made_kit: Any) -> None:
    versions = {wheel.name.lower(): wheel.version for wheel in made_kit.manifest.wheels}
    lock = Path(__file__).parents[3].joinpath("requirements.lock").read_text()
    for name in ("onnxruntime", "numpy", "httptools", "cryptography", "sqlite-utils", "msgspec", "psutil", "protobuf"):
        assert f"\n{name}=={versions[name]} " in lock
    assert "outstation" in versions
    assert not {"pip", "setuptools", "textual", "asyncssh", "httpx"} & versions.keys()


def test_a_kit_for_one_platform_is_under_90_mb(made_kit: Any) -> None:
    assert made_kit.path.stat().st_size < 90e6


def test_the_signature_counts_for_kits_alone_and_ssh_keygen_agrees(made_kit: Any, tmp_path: Path) -> None:
    with open_kit(made_kit.path) as kit:
        assert kit.verify(made_kit.signers, at_s=time.time()).principal == "kits"
        (tmp_path / "sig").write_bytes(kit.signature or b"")
        words = ["ssh-keygen", "-Y", "verify", "-f", str(made_kit.signers_file), "-I", "kits", "-n", KIT_NAMESPACE]
        done = subprocess.run([*words, "-s", str(tmp_path / "sig")], input=kit.manifest_bytes, capture_output=True)
        assert done.returncode == 0, done.stderr
        bundle = sign_with_key_file(made_kit.key, kit.manifest_bytes)
        write_kit(tmp_path / "wrong.ostk", kit.manifest_bytes, kit.pieces, bundle)
    with open_kit(tmp_path / "wrong.ostk") as wrong, pytest.raises(SignatureRefused, match="outstation-bundle"):
        wrong.verify(made_kit.signers, at_s=time.time())


def test_an_unsigned_kit_is_refused_with_the_command_that_signs_it(made_kit: Any) -> None:
    with open_kit(made_kit.unsigned) as kit, pytest.raises(KitRefused, match="not signed") as refused:
        kit.verify(made_kit.signers, at_s=time.time())
    assert "kit sign" in refused.value.hint


def test_one_changed_byte_of_a_wheel_is_found_and_the_wheel_is_named(made_kit: Any, tmp_path: Path) -> None:
    path = tmp_path / "changed.ostk"
    shutil.copy(made_kit.path, path)
    wheel = next(wheel for wheel in made_kit.manifest.wheels if wheel.name == "onnxruntime")
    with path.open("r+b") as file:
        members = ustar.members(file, path.stat().st_size, members_max=600)
        at = next(member.offset for member in members if member.name.endswith(wheel.sha256)) + 1_000
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    with open_kit(path) as kit, pytest.raises(KitRefused, match="onnxruntime"):
        kit.verify(made_kit.signers, at_s=time.time())


def test_a_kit_that_was_cut_off_is_no_kit(made_kit: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.ostk"
    path.write_bytes(made_kit.path.read_bytes()[:-5_000])
    with pytest.raises(KitMalformed, match="cut off"):
        open_kit(path)


def test_a_manifest_in_another_form_or_with_an_unknown_key_is_refused(made_kit: Any) -> None:
    text = encode(made_kit.manifest)
    assert parse(text) == made_kit.manifest
    with pytest.raises(KitMalformed, match="form"):
        parse(text.replace(b"\n", b" \n", 1))
    with pytest.raises(KitMalformed, match="unknown field"):
        parse(text.replace(b'"extras"', b'"more": 1, "extras"', 1))


def test_a_target_whose_wheel_is_missing_is_refused(made_kit: Any) -> None:
    target = msgspec.structs.replace(made_kit.manifest.targets[0], wheels=["0" * 64])
    with pytest.raises(KitMalformed, match="is not in the kit"):
        parse(encode(msgspec.structs.replace(made_kit.manifest, targets=[target])))


def test_the_bill_of_materials_is_cyclonedx_with_a_component_and_hash_for_each_wheel(made_kit: Any) -> None:
    with open_kit(made_kit.path) as kit:
        bill = json.loads(kit.read(made_kit.manifest.materials.sha256))
    assert made_kit.manifest.materials.file == FILE_NAME
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    hashes = {one["hashes"][0]["content"] for one in bill["components"]}
    assert hashes == {wheel.sha256 for wheel in made_kit.manifest.wheels}
    numpy = next(one for one in bill["components"] if one["name"] == "numpy")
    assert numpy["purl"].startswith("pkg:pypi/numpy@")
    assert numpy["licenses"][0]["license"]["name"]
    assert len({one["bom-ref"] for one in bill["components"]}) == len(bill["components"])


def test_every_shared_object_and_python_file_is_listed_by_its_hash(
    made_kit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_kit(made_kit.path) as kit:
        lines = kit.read(made_kit.manifest.executables.sha256).decode().splitlines()
        listed = dict(reversed(line.split("  ", 1)) for line in lines)
        wheel = next(wheel for wheel in made_kit.manifest.wheels if wheel.name == "msgspec")
        (tmp_path / wheel.file).write_bytes(kit.read(wheel.sha256))
    with zipfile.ZipFile(tmp_path / wheel.file) as archive:
        for name in archive.namelist():
            if name.endswith((".py", ".so")):
                assert listed[f"{wheel.file}/{name}"] == hashlib.sha256(archive.read(name)).hexdigest()
    assert main(["--home", str(tmp_path), "kit", "inspect", str(made_kit.path), "--executables"]) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_the_same_tree_and_lock_make_the_same_manifest(made_kit: Any, tmp_path: Path) -> None:
    with open_kit(made_kit.unsigned) as kit:
        write_kit(tmp_path / "again.ostk", kit.manifest_bytes, kit.pieces)
    assert (tmp_path / "again.ostk").read_bytes() == made_kit.unsigned.read_bytes()


def test_inspect_and_verify_speak_to_people_and_scripts(
    made_kit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert main([*home, "kit", "inspect", str(made_kit.path)]) == 0
    assert "onnxruntime" in capsys.readouterr().out
    assert main([*home, "kit", "inspect", str(made_kit.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["platform"].startswith("linux-")
    assert main([*home, "kit", "verify", str(made_kit.path)]) == 1
    assert "nobody may sign kits" in capsys.readouterr().err
    assert main([*home, "kit", "verify", str(made_kit.path), "--signers", str(made_kit.signers_file)]) == 0
    assert "signed by kits" in capsys.readouterr().out
    assert (
        main([*home, "kit", "sign", str(made_kit.unsigned), "--key", str(made_kit.key), "-o", str(tmp_path / "s")]) == 0
    )
    assert (tmp_path / "s").read_bytes() == made_kit.path.read_bytes()


def test_names_of_platforms_are_the_ones_that_the_manifest_takes() -> None:
    assert set(kit_manifest.PLATFORMS) == {"linux-x86_64", "linux-aarch64"}
