"""Receipts of a scan station: what a site's policy asks, which of them count, and that nothing gets in without one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from console.__main__ import main
from console.carry import Packing
from console.home import Home
from console.receipts import Media, admit, admitted, brought, is_removable, keep, read_policy
from store import receipt, signing, statement
from store.receipt import Receipt, ReceiptRefused

Write = Callable[..., Path]
DAY_S = 86_400.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


def make_key(path: Path) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


@pytest.fixture
def station(tmp_path: Path, home: Home) -> Path:
    """The station's key, which this console takes receipts of."""
    public = make_key(tmp_path / "station")
    (home.path / "scan_signers").write_text(f'scan-01 namespaces="outstation-scan" {public}\n')
    return tmp_path / "station"


@pytest.fixture
def write(station: Path) -> Write:
    def made(file: Path, *, key: Path | None = station, namespace: str = receipt.NAMESPACE, **said: Any) -> Path:
        told = {
            "sha256": receipt.digest_of(file), "file": file.name, "station": "scan-01", "person": "bo",
            "tool": "ClamAV 1.4", "scanned_wall_s": time.time(), **said,
        }  # fmt: skip
        document = msgspec.json.encode(Receipt(**told))
        sign = (lambda line: signing.sign_with_key_file(key, line, namespace=namespace)) if key else (lambda line: b"")
        receipt.beside(file).write_bytes(statement.seal(document, sign))
        return file

    return made


def policy(home: Home, text: str) -> None:
    (home.path / "policy.toml").write_text(text)


SIGNED = '[media]\nreceipt = "signed"\nof = "everything"\n'


def test_without_a_policy_nothing_is_asked_and_a_policy_that_cannot_be_read_stops_everything(
    home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "agent.ostk"
    file.write_bytes(b"kit")
    assert read_policy(home).media == Media()
    assert admit(home, file) is None
    for wrong in ('[media]\nreciept = "signed"\n', '[media]\nreceipt = "yes"\n', "[media", "[media]\ndays = 0\n"):
        policy(home, wrong)
        with pytest.raises(ReceiptRefused, match="nothing is taken until it can"):
            admit(home, file)


def test_a_signed_receipt_of_these_bytes_lets_them_in_and_stands_in_the_list(
    home: Home, tmp_path: Path, write: Write
) -> None:
    file = tmp_path / "agent.ostk"
    file.write_bytes(b"kit")
    policy(home, SIGNED)
    with pytest.raises(ReceiptRefused, match="there is no receipt") as refused:
        admit(home, file)
    assert "have the file scanned" in refused.value.hint
    seen = admit(home, write(file))
    assert seen is not None
    keep(home, seen, file, subject="sha256:feed", taken_by="alice")
    (line,) = admitted(home)
    assert (line.person, line.signed_by, line.taken_by) == ("bo", "scan-01", "alice")
    with (home.path / "receipts.jsonl").open("ab") as log:
        log.write(b'{"cut')
    told = brought(home, "sha256:feed")
    assert f"sha256:{receipt.digest_of(file)} scanned by bo at scan-01 with ClamAV 1.4 (signed by scan-01)" in told
    assert brought(home, "sha256:dead") == ""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sha256": "0" * 64}, "receipt of another file"),
        ({"namespace": "outstation-bundle"}, "is for 'outstation-bundle', not for outstation-scan"),
        ({"scanned_wall_s": time.time() - 8 * DAY_S}, "days old; 7 days count here"),
        ({"scanned_wall_s": time.time() + DAY_S}, "from the future"),
        ({"verdict": "infected"}, "says infected"),
        ({"verdict": "not scanned"}, "says not scanned"),
        ({"key": None}, "is not signed, and this site asks for signed ones"),
    ],
)
def test_a_receipt_that_does_not_count_is_refused_with_the_reason(
    home: Home, tmp_path: Path, write: Write, wrong: dict[str, Any], says: str
) -> None:
    file = tmp_path / "agent.ostk"
    file.write_bytes(b"kit")
    policy(home, SIGNED)
    write(file, **wrong)
    with pytest.raises(ReceiptRefused, match=says) as refused:
        admit(home, file)
    assert refused.value.hint


def test_a_receipt_cannot_be_played_again_for_another_file_nor_for_the_same_one_once_it_changed(
    home: Home, tmp_path: Path, write: Write
) -> None:
    first, second = tmp_path / "a.ostn", tmp_path / "b.ostn"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    policy(home, SIGNED)
    write(first)
    receipt.beside(second).write_bytes(receipt.beside(first).read_bytes())
    with pytest.raises(ReceiptRefused, match="receipt of another file"):
        admit(home, second)
    first.write_bytes(b"one, changed behind the station")
    with pytest.raises(ReceiptRefused, match="receipt of another file"):
        admit(home, first)


def test_a_foreign_key_a_changed_line_and_hostile_files_are_refused(home: Home, tmp_path: Path, write: Write) -> None:
    file = tmp_path / "a.ostn"
    file.write_bytes(b"one")
    policy(home, SIGNED)
    make_key(tmp_path / "foreign")
    write(file, key=tmp_path / "foreign")
    with pytest.raises(ReceiptRefused, match="is no allowed signer"):
        admit(home, file)
    write(file)
    lies = receipt.beside(file)
    lies.write_bytes(lies.read_bytes().replace(b'"bo"', b'"al"'))
    with pytest.raises(ReceiptRefused, match="signature does not count"):
        admit(home, file)
    for data in (b"", b"\xff\xfe", b"[" * 100_000, b"{}\n", b"x" * (receipt.BYTES_MAX + 1)):
        lies.write_bytes(data)
        with pytest.raises(ReceiptRefused):
            admit(home, file)
    (home.path / "scan_signers").unlink()
    write(file)
    with pytest.raises(ReceiptRefused, match="nobody may sign receipts here"):
        admit(home, file)


def test_a_plain_receipt_counts_only_where_the_policy_says_so_and_a_false_signature_never(
    home: Home, tmp_path: Path, write: Write
) -> None:
    file = tmp_path / "a.ostn"
    file.write_bytes(b"one")
    write(file, key=None)
    policy(home, SIGNED.replace("signed", "plain"))
    seen = admit(home, file)
    assert seen is not None
    assert seen.signed_by == ""
    make_key(tmp_path / "foreign")
    write(file, key=tmp_path / "foreign")
    with pytest.raises(ReceiptRefused, match="no allowed signer"):
        admit(home, file)


def test_what_is_removable_is_told_by_its_mount_its_file_system_and_never_by_a_name(tmp_path: Path) -> None:
    mounts = (
        f"24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n30 24 8:33 / {tmp_path}/my\\040stick rw - vfat /dev/sdc1 rw\n"
    )
    assert is_removable(tmp_path / "my stick" / "a.ostn", mounts)
    assert not is_removable(tmp_path / "a.ostn", mounts)
    assert is_removable(Path("/media/alice/KINGSTON/a.ostn"), mounts)
    link = tmp_path / "looks-local"
    (tmp_path / "my stick").mkdir()
    link.symlink_to(tmp_path / "my stick")
    assert is_removable(link / "a.ostn", mounts)


def test_every_way_in_asks_for_the_receipt_and_the_station_makes_it(
    home: Home, station: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str, at: Path = home.path, who: str = "alice") -> tuple[int, str]:
        capsys.readouterr()
        code = asyncio.run(asyncio.to_thread(main, ["--home", str(at), "--operator", who, *words]))
        told = capsys.readouterr()
        return code, told.out + told.err

    policy(home, SIGNED)
    file = tmp_path / "a.ostn"
    file.write_bytes(b"no bundle")
    (tmp_path / "agent.ostk").write_bytes(b"no kit")
    stick = tmp_path / "stick"
    packing = Packing.begin(stick)
    packing.finish("bo", time.time())
    ways = (
        ("catalog", "import", str(file)),
        ("deploy", str(file), "press-07", "--yes"),
        ("carry", "unpack", str(stick), "--yes"),
        ("agent", "upgrade", "press-07", "--kit", str(tmp_path / "agent.ostk"), "--yes"),
    )
    asyncio.run(asyncio.to_thread(add_node, home))
    for words in ways:
        code, told = run(*words)
        assert (code, "there is no receipt" in told, "next: have the file scanned" in told) == (1, True, True), told

    index = str(stick / "carry.json")
    made = ("receipt", "make", index, "--station", "scan-01", "--tool", "ClamAV 1.4", "--key", str(station))
    assert run(*made, at=tmp_path / "station-home", who="bo")[0] == 0
    code, told = run("receipt", "check", index)
    assert (code, "signed by scan-01" in told) == (0, True)
    code, told = run("carry", "unpack", str(stick), "--yes")
    assert (code, "the whole folder, by its carry.json: scanned by bo at scan-01" in told) == (0, True), told
    assert json.loads(run("receipt", "list", "--json")[1])[0]["subject"] == f"sha256:{receipt.digest_of(Path(index))}"


def add_node(home: Home) -> None:
    from console.fleet.view import NodeAddress
    from console.home import row_of

    with home.open_catalog() as catalog:
        catalog.put_node(row_of(NodeAddress(name="press-07", host="10.255.255.1")))
