from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from store import archive, bundle, ustar
from store.archive import SIGNATURE_ARTIFACT
from store.bundle import BundleMalformed, Facts, TensorSpec

MODEL = b"M" * 3_000
SIGNATURE = b"-----BEGIN SSH SIGNATURE-----\nAA==\n-----END SSH SIGNATURE-----\n"


def make_archive(path: Path, signature: bytes | None = SIGNATURE) -> bytes:
    """Writes a bundle to `path`; returns its manifest's bytes."""
    facts = Facts(
        name="bearing", version="1.4.0", epoch=1, sequence=7, model="wear", model_digest=bundle.digest_of(MODEL),
        model_bytes=len(MODEL), ir_version=9, opsets={"": 17}, operators=[], inputs=[TensorSpec("x", "FP32", [1])],
        outputs=[], peak_memory_bytes=1,
    )  # fmt: skip
    files: dict[bundle.Role, bytes] = {"facts": bundle.canonical(facts), "model": MODEL}
    manifest = bundle.canonical(bundle.make_manifest(facts, b"{}", files))
    archive.write_archive(
        path, manifest, {bundle.digest_of(data): data for data in (b"{}", *files.values())}, signature
    )
    return manifest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_archive(tmp_path / "b.ostn")
    return tmp_path / "b.ostn"


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    manifest = make_archive(tmp_path / "b.ostn")
    with archive.read_archive(tmp_path / "b.ostn") as found:
        assert (found.manifest_bytes, found.signature_bytes) == (manifest, SIGNATURE)
        assert found.manifest_digest == bundle.digest_of(manifest)
        assert found.facts().model == "wear"
        assert found.open_blob(bundle.digest_of(MODEL)).read() == MODEL
        assert found.damaged() == []


def test_an_unsigned_archive_says_so(tmp_path: Path) -> None:
    make_archive(tmp_path / "b.ostn", None)
    with archive.read_archive(tmp_path / "b.ostn") as found:
        assert found.signature_bytes is None


def test_the_same_content_makes_the_same_bytes(tmp_path: Path) -> None:
    make_archive(tmp_path / "a")
    make_archive(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_blob_can_be_read_from_any_byte_on(path: Path) -> None:
    with archive.read_archive(path) as found:
        reader = found.open_blob(bundle.digest_of(MODEL))
        reader.seek(2_990)
        assert reader.read(100) == MODEL[2_990:]
        assert reader.seek(0, io.SEEK_END) == len(MODEL)


def test_signing_replaces_the_signature_and_nothing_else(path: Path) -> None:
    archive.sign_archive(path, path, lambda manifest: b"signature of " + manifest[:5])
    with archive.read_archive(path) as found:
        assert found.signature_bytes == b"signature of " + found.manifest_bytes[:5]
        assert found.damaged() == []


def test_other_tools_read_it_as_an_oci_layout(path: Path) -> None:
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert names[:2] == ["oci-layout", "index.json"]
        for name in names[2:]:
            content = tar.extractfile(name)
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == name.removeprefix("blobs/sha256/")
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == names


def test_content_that_is_not_what_the_manifest_names_is_never_written(tmp_path: Path) -> None:
    manifest = make_archive(tmp_path / "a")
    wrong = {digest: b"x" * size for digest, size in bundle.blobs_named(bundle.parse_manifest(manifest)).items()}
    with pytest.raises(BundleMalformed):
        archive.write_archive(tmp_path / "b", manifest, wrong)
    assert os.listdir(tmp_path) == ["a"]


def test_a_changed_byte_of_a_blob_is_found(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"MMMM")] ^= 1
    path.write_bytes(data)
    with archive.read_archive(path) as found:
        assert found.damaged() == [bundle.digest_of(MODEL)]


def rewritten(path: Path, change: dict[str, tuple[str, bytes] | None], extra: list[tuple[str, bytes]] = []) -> None:  # noqa: B006
    """The archive with members renamed, replaced or left out, in headers of our own form."""
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar.getmembers()]  # type: ignore[union-attr]
    kept = [change.get(name, (name, data)) for name, data in members]
    blocks = [
        ustar.header(name, len(data)) + data + ustar.padding(len(data))
        for name, data in [*(member for member in kept if member), *extra]
    ]
    path.write_bytes(b"".join(blocks) + ustar.END)


def test_rewriting_by_the_tests_own_hand_is_taken_when_nothing_changed(path: Path) -> None:
    before = path.read_bytes()
    rewritten(path, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["oci-layout", "index.json", "blobs/sha256/" + hashlib.sha256(MODEL).hexdigest()])
def test_a_missing_member_is_refused(path: Path, name: str) -> None:
    rewritten(path, {name: None})
    with pytest.raises(BundleMalformed):
        archive.read_archive(path)


@pytest.mark.parametrize(
    "extra",
    [
        ("../../etc/cron.d/x", b""),
        ("/etc/passwd", b""),
        ("./oci-layout", b""),
        ("blobs/sha256/../../x", b""),
        ("blobs/sha256/" + hashlib.sha256(b"smuggled").hexdigest(), b"smuggled"),
        ("blobs/sha256/" + hashlib.sha256(MODEL).hexdigest(), MODEL),
        ("blobs/sha256/" + "A" * 64, b""),
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("notes.txt", b""),
    ],
)
def test_a_member_that_is_unknown_doubled_or_named_by_nothing_is_refused(path: Path, extra: tuple[str, bytes]) -> None:
    rewritten(path, {}, [extra])
    with pytest.raises(BundleMalformed):
        archive.read_archive(path)


_LINKS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
_EXTENSIONS = [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE]


@pytest.mark.parametrize("kind", _LINKS + _EXTENSIONS)
def test_links_folders_devices_and_extensions_are_refused(path: Path, kind: bytes) -> None:
    with_header(path, {"type": kind, "linkname": "/etc/passwd"})


@pytest.mark.parametrize("change", [{"mode": 0o4755}, {"uid": 1}, {"mtime": 1}, {"uname": "root"}, {"linkname": "x"}])
def test_a_header_in_another_form_than_ours_is_refused(path: Path, change: dict[str, Any]) -> None:
    with_header(path, change)


def with_header(path: Path, change: dict[str, Any]) -> None:
    """Changes fields of the first member's header, with a right checksum, and expects a refusal."""
    data = path.read_bytes()
    member = tarfile.TarInfo("oci-layout")
    member.size, member.mode = len(archive.LAYOUT), 0o644
    same = member.tobuf(tarfile.USTAR_FORMAT)
    for field, value in change.items():
        setattr(member, field, value)
    # A type without content has size 0 in the standard library's headers; the content is then left out too.
    content = data[512:1_024] if member.tobuf(tarfile.USTAR_FORMAT)[124:136] == same[124:136] else b""
    path.write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + content + data[1_024:])
    with pytest.raises(BundleMalformed, match="plain file as we write it"):
        archive.read_archive(path)


def test_bytes_between_the_members_are_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[512 + len(archive.LAYOUT)] = 1
    path.write_bytes(data)
    with pytest.raises(BundleMalformed, match="between"):
        archive.read_archive(path)


def test_the_signature_of_another_manifest_is_refused(tmp_path: Path, path: Path) -> None:
    other = bundle.Descriptor(media_type=bundle.MANIFEST_TYPE, digest="sha256:" + "0" * 64, size=3)
    signed = bundle.canonical(archive._signature_manifest(SIGNATURE, other))
    with tarfile.open(path) as tar:
        content = tar.extractfile("index.json")
        assert content is not None
        told = bundle.read_canonical(content.read(), archive.Index, 1 << 20)
    descriptor = archive._descriptor(signed, bundle.MANIFEST_TYPE, artifact_type=SIGNATURE_ARTIFACT)
    changed = archive.Index(schema_version=2, media_type=told.media_type, manifests=[told.manifests[0], descriptor])
    old = "blobs/sha256/" + told.manifests[1].digest.removeprefix("sha256:")
    new = ("blobs/sha256/" + descriptor.digest.removeprefix("sha256:"), signed)
    rewritten(path, {"index.json": ("index.json", bundle.canonical(changed)), old: new})
    with pytest.raises(BundleMalformed, match="another manifest"):
        archive.read_archive(path)


def test_every_cut_of_an_archive_is_refused(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    cut = tmp_path / "cut"
    for size in [*range(0, len(data), 97), *range(len(data) - 1_100, len(data))]:
        cut.write_bytes(data[:size])
        with pytest.raises(BundleMalformed):
            archive.read_archive(cut)


@pytest.mark.parametrize("tail", [b"\0", b"x" * 512, bytes(512) + b"x" + bytes(511), bytes(512 * 30)])
def test_bytes_after_the_end_are_refused(path: Path, tail: bytes) -> None:
    path.write_bytes(path.read_bytes() + tail)
    with pytest.raises(BundleMalformed):
        archive.read_archive(path)


def test_zeros_up_to_a_tape_record_are_taken_since_other_tools_write_them(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data + bytes(-len(data) % 10_240))
    archive.read_archive(path).__exit__(None, None, None)


def test_i17_a_mutated_archive_is_refused_or_names_exactly_what_it_named(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    with archive.read_archive(path) as found:
        manifest, digests = found.manifest_bytes, set(found.blobs)
    source = random.Random(5)
    taken = 0
    target = tmp_path / "mutated"
    for _ in range(400):  # `make faults` judges ten thousand
        target.write_bytes(_mutated(source, data))
        try:
            found = archive.read_archive(target)
        except BundleMalformed:
            continue
        with found:
            taken += 1
            assert (found.manifest_bytes, found.signature_bytes) == (manifest, SIGNATURE)
            assert set(found.blobs) == digests
    assert 0 < taken < 200


def test_an_archive_of_4_gib_that_holds_little_is_refused_in_little_memory(path: Path) -> None:
    size = 4 << 30
    data = path.read_bytes()[: -len(ustar.END)]
    with path.open("wb") as file:
        file.write(data + ustar.header("blobs/sha256/" + "0" * 64, size))
        file.truncate(len(data) + 512 + size + 1_024)
    code = (
        "import sys; from pathlib import Path\n"
        "from store import archive, bundle\n"
        "try: archive.read_archive(Path(sys.argv[1]))\n"
        "except bundle.BundleMalformed: print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 << 10


def _mutated(source: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(changed))
        kind = source.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            block = at // 512 * 512
            del changed[block : block + 512]
        elif kind == 2:
            block, other = at // 512 * 512, source.randrange(len(changed)) // 512 * 512
            changed[block : block + 512] = data[other : other + 512]
        elif kind == 3:
            changed[at:at] = data[at : at + 512]
        else:
            changed[at] = source.choice(b"\0 07/.")
    return bytes(changed)
