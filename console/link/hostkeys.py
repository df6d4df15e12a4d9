"""Which host keys are trusted: OpenSSH's known_hosts format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), read strictly.

Ours rather than asyncssh's, because a garbage line must not kill every connection, `@revoked` must count in either
form of the name, and what is not trusted has to be told apart: unknown, changed, revoked, certificate expected.
"""

from __future__ import annotations

import base64
import binascii
import enum
import fnmatch
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from console.fleet.view import LinkState
from console.link.endpoint import Endpoint
from console.link.errors import LinkError
from store import durable

LINES_MAX = 100_000
FILE_BYTES_MAX = 32 << 20


@dataclass(frozen=True, slots=True)
class HostKey:
    """One public key: `algorithm` as in the file, `blob` the SSH wire encoding."""

    algorithm: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as ssh-keygen -l prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def text(self) -> str:
        """`algorithm base64`, one line."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode()}"


class Verdict(enum.Enum):
    """What a shown key is to us. Only KNOWN may go on without a person."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"
    NEEDS_CERTIFICATE = "needs certificate"


@dataclass(frozen=True, slots=True)
class Matches:
    """What the file says of one host."""

    keys: tuple[HostKey, ...] = ()
    authorities: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    marker: str
    names: str
    key: HostKey

    def matches(self, name: str) -> bool:
        if self.names.startswith("|1|"):
            return _hash_matches(self.names, name)
        hit = False
        for pattern in self.names.split(","):
            negated, pattern = pattern.startswith("!"), pattern.removeprefix("!")
            if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]").lower()):
                if negated:
                    return False
                hit = True
        return hit


def _hash_matches(hashed: str, name: str) -> bool:
    """`|1|salt|HMAC-SHA1(salt, name)`, both base64."""
    try:
        _, _, salt, digest = hashed.split("|")
        want = base64.b64decode(digest, validate=True)
        got = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(want, got)


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """One reading of a known_hosts file. `ignored` are (line number, reason) of lines that say nothing usable."""

    plain: dict[str, tuple[_Line, ...]] = field(default_factory=dict)
    patterns: tuple[_Line, ...] = ()
    ignored: tuple[tuple[int, str], ...] = ()

    def match(self, endpoint: Endpoint) -> Matches:
        """Keys for exactly this host and port; revoked keys and authorities of the bare name count too."""
        names = {endpoint.known_name.lower(), endpoint.host.lower()}
        own = list(self._lines(endpoint.known_name.lower()))
        every = [line for name in names for line in self._lines(name)]
        return Matches(
            keys=tuple(line.key for line in own if not line.marker),
            authorities=tuple(line.key for line in every if line.marker == "@cert-authority"),
            revoked=tuple(line.key for line in every if line.marker == "@revoked"),
        )

    def judge(self, endpoint: Endpoint, key: HostKey) -> Verdict:
        """What `key`, shown by `endpoint`, is to us. A key of the bare name is good on any port, as in OpenSSH."""
        found = self.match(endpoint)
        if any(key.blob == revoked.blob for revoked in found.revoked):
            return Verdict.REVOKED
        if any(key.blob == known.blob for known in found.keys):
            return Verdict.KNOWN
        if found.keys:
            return Verdict.CHANGED
        if any(key.blob == line.key.blob for line in self._lines(endpoint.host.lower()) if not line.marker):
            return Verdict.KNOWN
        return Verdict.NEEDS_CERTIFICATE if found.authorities else Verdict.UNKNOWN

    def _lines(self, name: str) -> Iterator[_Line]:
        yield from self.plain.get(name, ())
        yield from (line for line in self.patterns if line.matches(name))


def parse_known_hosts(text: str) -> KnownHosts:
    """Reads the file's text. Lines that cannot be used are listed, never guessed at and never fatal."""
    plain: dict[str, list[_Line]] = {}
    patterns: list[_Line] = []
    ignored: list[tuple[int, str]] = []
    for number, raw in enumerate(text.splitlines()[:LINES_MAX], 1):
        words = raw.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            line = _parse_line(words)
        except ValueError as error:
            ignored.append((number, str(error)))
            continue
        if any(char in line.names for char in "*?!|"):
            patterns.append(line)
        else:
            for name in line.names.lower().split(","):
                plain.setdefault(name, []).append(line)
    return KnownHosts({name: tuple(lines) for name, lines in plain.items()}, tuple(patterns), tuple(ignored))


def _parse_line(words: list[str]) -> _Line:
    marker = words[0] if words[0].startswith("@") else ""
    if marker not in ("", "@cert-authority", "@revoked"):
        raise ValueError(f"unknown marker {marker}")
    fields = words[1:] if marker else words
    if len(fields) < 3:
        raise ValueError("fewer than three fields")
    names, algorithm, encoded = fields[:3]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("the key is not base64") from error
    if blob[:4] != len(algorithm).to_bytes(4, "big") or blob[4 : 4 + len(algorithm)] != algorithm.encode():
        raise ValueError("the key is not of the algorithm it names")
    return _Line(marker, names, HostKey(algorithm, blob))


class HostKeys:
    """The console's own known_hosts file, re-read when it changes. Grows only by keys that a person accepted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._known = KnownHosts()

    def read(self) -> KnownHosts:
        """The file as it is now; empty when there is none. Raises OSError when it cannot be read."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return KnownHosts()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            with self.path.open("rb") as file:
                text = file.read(FILE_BYTES_MAX).decode("utf-8", "replace")
            self._known, self._stamp = parse_known_hosts(text), stamp
        return self._known

    def accept(self, endpoint: Endpoint, key: HostKey) -> None:
        """Pins `key` for `endpoint`, durably. Refuses to add a second opinion: ValueError unless it is unknown."""
        verdict = self.read().judge(endpoint, key)
        if verdict is Verdict.KNOWN:
            return
        if verdict is not Verdict.UNKNOWN:
            raise ValueError(f"{endpoint.known_name}: the key is {verdict.value}, not unknown")
        old = self.path.read_bytes() if self.path.exists() else b""
        separator = b"" if not old or old.endswith(b"\n") else b"\n"
        line = f"{endpoint.known_name} {key.text}\n".encode()
        durable.write_file(self.path, old + separator + line, mode=0o600)

    def revoke(self, endpoint: Endpoint) -> list[HostKey]:
        """Turns every key pinned for exactly `endpoint` into a revoked one, durably; the box that has it is let in no
        more. ValueError where it is pinned by a pattern or a hash, which also speaks for others.
        """
        name, revoked, lines = endpoint.known_name.lower(), [], []
        pinned = set(self.read().match(endpoint).keys)
        for raw in self.path.read_text("utf-8", "replace").splitlines() if self.path.exists() else []:
            words = raw.split()
            if words and words[0].lower() == name and len(words) > 2:
                key = _parse_line(words).key
                revoked.append(key)
                raw = f"@revoked {raw}"
            lines.append(raw)
        if left := pinned - set(revoked):
            found = ", ".join(key.fingerprint for key in left)
            raise ValueError(
                f"{endpoint.known_name}: {found} stands in a line for other hosts too: change {self.path} by hand"
            )
        if revoked:
            durable.write_file(self.path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
        return revoked


def refusal(endpoint: Endpoint, verdict: Verdict, shown: HostKey, pinned: str, file: str) -> LinkError:
    """Why a host key is not accepted, with every fingerprint that matters."""
    key = f"{shown.fingerprint} ({shown.algorithm})"
    message, hint = {
        Verdict.CHANGED: (
            f"HOST KEY CHANGED. pinned {pinned}; shown {key}. Nothing was sent.",
            f"if the node was reinstalled, check the new fingerprint at the node and remove its line from {file}",
        ),
        Verdict.REVOKED: (
            f"HOST KEY REVOKED. shown {key}, which {file} revokes. Nothing was sent.",
            "somebody holds a key that was withdrawn: find out who answers at this address",
        ),
        Verdict.NEEDS_CERTIFICATE: (
            f"showed the plain key {key}; this host should have a host certificate",
            "install the host certificate on it, or pin this key by hand",
        ),
    }.get(
        verdict,
        (
            f"host key not known: {key}",
            f"compare it with `ssh-keygen -lf` at the node, then add the node with --accept {shown.fingerprint}",
        ),
    )
    return LinkError(LinkState.REFUSED, str(endpoint), message, hint)
