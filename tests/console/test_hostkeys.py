"""known_hosts, told apart: known, unknown, changed, revoked, certificate expected. ssh-keygen is the oracle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from console.link.endpoint import Endpoint
from console.link.hostkeys import HostKey, HostKeys, Verdict, parse_known_hosts


def make_key(folder: Path, name: str, kind: str = "ed25519") -> HostKey:
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    line = parse_known_hosts("x " + Path(f"{path}.pub").read_text()).plain["x"][0]
    return line.key


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[HostKey, HostKey]:
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder, "a"), make_key(folder, "b")


HERE = Endpoint("press-07.plant", 2222, "root")


def test_the_fingerprint_is_the_one_that_ssh_keygen_prints(tmp_path: Path) -> None:
    key = make_key(tmp_path, "k", "ecdsa")
    told = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "k.pub")], capture_output=True, text=True, check=True)
    assert key.fingerprint in told.stdout.split()


def test_a_key_is_known_by_its_exact_name_and_port(keys: tuple[HostKey, HostKey]) -> None:
    known = parse_known_hosts(f"[press-07.plant]:2222 {keys[0].text}")
    assert known.judge(HERE, keys[0]) is Verdict.KNOWN
    assert known.judge(HERE, keys[1]) is Verdict.CHANGED
    assert known.judge(Endpoint("press-07.plant", 2223, "root"), keys[0]) is Verdict.UNKNOWN


def test_a_revoked_box_is_let_in_no_more_and_a_new_one_is_a_first_contact(
    tmp_path: Path, keys: tuple[HostKey, HostKey]
) -> None:
    hostkeys = HostKeys(tmp_path / "known_hosts")
    hostkeys.path.write_text(f"# ours\nother {keys[0].text}\n[press-07.plant]:2222 {keys[0].text}\n")
    assert hostkeys.revoke(HERE) == [keys[0]]
    assert hostkeys.revoke(HERE) == []
    assert hostkeys.read().judge(HERE, keys[0]) is Verdict.REVOKED
    assert hostkeys.read().judge(HERE, keys[1]) is Verdict.UNKNOWN
    assert hostkeys.read().judge(Endpoint("other", 22, "root"), keys[0]) is Verdict.KNOWN
    hostkeys.path.write_text(f"[press-07.plant]:2222,[press-08.plant]:2222 {keys[0].text}\n")
    with pytest.raises(ValueError, match="for other hosts too"):
        hostkeys.revoke(HERE)


def test_a_key_of_the_bare_name_is_good_on_any_port_and_another_is_a_first_contact(
    keys: tuple[HostKey, HostKey],
) -> None:
    known = parse_known_hosts(f"press-07.plant {keys[0].text}")
    assert known.judge(HERE, keys[0]) is Verdict.KNOWN
    assert known.judge(HERE, keys[1]) is Verdict.UNKNOWN


@pytest.mark.parametrize("name", ["press-07.plant", "[press-07.plant]:2222", "*.plant", "*"])
def test_a_revoked_key_is_revoked_whatever_else_trusts_it(keys: tuple[HostKey, HostKey], name: str) -> None:
    known = parse_known_hosts(
        f"press-07.plant {keys[0].text}\n[press-07.plant]:2222 {keys[0].text}\n@revoked {name} {keys[0].text}"
    )
    assert known.judge(HERE, keys[0]) is Verdict.REVOKED


def test_hashed_names_written_by_ssh_keygen_are_found(tmp_path: Path, keys: tuple[HostKey, HostKey]) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"[press-07.plant]:2222 {keys[0].text}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    text = path.read_text()
    assert text.startswith("|1|")
    assert parse_known_hosts(text).judge(HERE, keys[0]) is Verdict.KNOWN
    assert parse_known_hosts(text).judge(HERE, keys[1]) is Verdict.CHANGED


def test_patterns_and_negations_are_matched_as_ssh_does(keys: tuple[HostKey, HostKey]) -> None:
    known = parse_known_hosts(f"*.plant,!press-07.plant {keys[0].text}")
    assert known.judge(Endpoint("press-08.plant", 22, "root"), keys[0]) is Verdict.KNOWN
    assert known.judge(Endpoint("press-07.plant", 22, "root"), keys[0]) is Verdict.UNKNOWN


def test_names_are_matched_whatever_their_case(keys: tuple[HostKey, HostKey]) -> None:
    known = parse_known_hosts(f"Press-07.PLANT {keys[0].text}")
    assert known.judge(Endpoint("press-07.Plant", 22, "root"), keys[0]) is Verdict.KNOWN


def test_a_host_that_an_authority_vouches_for_should_show_a_certificate(keys: tuple[HostKey, HostKey]) -> None:
    known = parse_known_hosts(f"@cert-authority *.plant {keys[1].text}")
    assert known.judge(HERE, keys[0]) is Verdict.NEEDS_CERTIFICATE


def test_lines_that_cannot_be_used_are_listed_and_the_rest_counts(keys: tuple[HostKey, HostKey]) -> None:
    known = parse_known_hosts(
        f"# a comment\n\nnonsense\n@what x ssh-ed25519 AAAA\nx ssh-ed25519 A*\nx ssh-rsa {keys[0].text.split()[1]}\n"
        f"|1|broken {keys[1].text}\n[press-07.plant]:2222 {keys[0].text} a comment\n"
    )
    assert [number for number, _ in known.ignored] == [3, 4, 5, 6]
    assert known.judge(HERE, keys[0]) is Verdict.KNOWN


def test_an_accepted_key_is_pinned_privately_and_never_over_another(
    tmp_path: Path, keys: tuple[HostKey, HostKey]
) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"other {keys[1].text}")
    hostkeys = HostKeys(path)
    hostkeys.accept(HERE, keys[0])
    hostkeys.accept(HERE, keys[0])
    assert path.read_text() == f"other {keys[1].text}\n[press-07.plant]:2222 {keys[0].text}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError, match="changed"):
        hostkeys.accept(HERE, keys[1])


def test_a_file_changed_by_hand_counts_at_the_next_login(tmp_path: Path, keys: tuple[HostKey, HostKey]) -> None:
    hostkeys = HostKeys(tmp_path / "known_hosts")
    assert hostkeys.read().judge(HERE, keys[0]) is Verdict.UNKNOWN
    hostkeys.path.write_text(f"[press-07.plant]:2222 {keys[0].text}\n")
    assert hostkeys.read().judge(HERE, keys[0]) is Verdict.KNOWN
