"""Who may sign: OpenSSH's allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS), of which a strict part is taken.

Each line is `principals namespaces="..." [valid-after="..."] [valid-before="..."] keytype key [comment]`. A line
without `namespaces=` is refused, since any signature that the key ever made would count; so are `cert-authority`,
unknown options, and patterns. One bad line refuses the file: a signer that silently is none is worse.
The validity is kept for a warning only, since plant clocks lie.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from typing import NamedTuple

from store import sshkey
from store.sshkey import PublicKey

FILE_BYTES_MAX = 256 << 10
LINES_MAX = 1_000
_OPTION = re.compile(r'([a-z-]+)(?:="([^"]*)")?([, \t])')
_PRINCIPAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.@/-]{1,128}")
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class SignersRefused(Exception):
    """The file cannot be used; `line` (from 1) says where."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(f"allowed signers, line {line}: {reason}")


class AllowedSigner(NamedTuple):
    """One line: who, with which key, for what. Times are seconds since the Unix epoch."""

    principals: tuple[str, ...]
    key: PublicKey
    namespaces: frozenset[str]
    valid_after_s: float | None
    valid_before_s: float | None


def parse(text: str) -> list[AllowedSigner]:
    """The signers of the file, in its order; empty when it names none. Raises SignersRefused."""
    lines = text.split("\n")
    if len(text) > FILE_BYTES_MAX or len(lines) > LINES_MAX:
        raise SignersRefused(1, f"more than {FILE_BYTES_MAX} characters or {LINES_MAX} lines")
    found: list[AllowedSigner] = []
    for number, line in enumerate(lines, 1):
        line = line.strip(" \t\r")
        if line and not line.startswith("#"):
            try:
                found.append(_signer(line))
            except (ValueError, sshkey.KeyRefused) as error:
                raise SignersRefused(number, str(error)) from error
    return found


def _signer(line: str) -> AllowedSigner:
    principals, _, rest = line.partition(" ")
    names = tuple(principals.strip('"').split(","))
    if not all(_PRINCIPAL.fullmatch(name) for name in names):
        raise ValueError(f"{principals[:80]!r} is not a plain list of names; patterns are not taken")
    options, rest = _options(rest.lstrip(" \t"))
    if "cert-authority" in options:
        raise ValueError("cert-authority is not taken: name the keys themselves")
    namespaces = options.get("namespaces")
    if not namespaces:
        raise ValueError('namespaces="..." is missing: without it any signature of the key would count')
    if not all(_NAMESPACE.fullmatch(name) for name in namespaces.split(",")):
        raise ValueError("namespaces= takes plain names, no patterns")
    return AllowedSigner(
        names,
        _key(rest),
        frozenset(namespaces.split(",")),
        _time(options.get("valid-after")),
        _time(options.get("valid-before")),
    )


def _options(rest: str) -> tuple[dict[str, str], str]:
    """The options before the key, by name, and what follows them."""
    options: dict[str, str] = {}
    if rest.startswith(tuple(sshkey.TYPES)):
        return options, rest
    at = 0
    while True:
        match = _OPTION.match(rest, at)
        if match is None:
            raise ValueError(f"the options cannot be read at {rest[at : at + 40]!r}")
        name, value = match[1], match[2]
        if name not in ("namespaces", "cert-authority", "valid-after", "valid-before") or name in options:
            raise ValueError(f"the option {name[:40]} is unknown or there twice")
        if (value is None) != (name == "cert-authority"):
            raise ValueError(f"the option {name} is malformed")
        options[name] = value or ""
        at = match.end()
        if match[3] != ",":
            return options, rest[at:].lstrip(" \t")


def _key(rest: str) -> PublicKey:
    fields = rest.split(None, 2)
    if len(fields) < 2:
        raise ValueError("the key is missing")
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except binascii.Error as error:
        raise ValueError("the key is not base64") from error
    key = sshkey.parse(blob)
    if key.type != fields[0]:
        raise ValueError(f"the key is a {key.type}, not a {fields[0][:60]}")
    return key


def _time(text: str | None) -> float | None:
    """YYYYMMDD[HHMM[SS]], with Z in UTC and otherwise in the local time zone, as OpenSSH reads it."""
    if text is None:
        return None
    digits = text.removesuffix("Z")
    form = _TIMES.get(len(digits))
    if form is None or not digits.isdecimal() or not digits.isascii():
        raise ValueError(f"{text[:40]!r} is not a time as YYYYMMDD[HHMM[SS]][Z]")
    moment = datetime.datetime.strptime(digits, form)
    return (moment.replace(tzinfo=datetime.UTC) if text.endswith("Z") else moment).timestamp()
