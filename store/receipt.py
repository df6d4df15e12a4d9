"""A scan station's receipt for one file: who looked at it, when, with which tool, and the file's digest.

A receipt is a signed statement (store/statement.py) of the namespace `outstation-scan`, beside its file as
`FILE.receipt`. It is about the bytes with that digest and about no others, so it cannot be used for another file. Its
age is judged by the reader's clock; one from the reader's future does not count, since nobody knows its age.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from store import statement
from store.errors import from_os
from store.signers import SignersRefused
from store.signing import NoSigners, SignatureRefused, Unsigned

NAMESPACE: Final = "outstation-scan"
SUFFIX: Final = ".receipt"
BYTES_MAX: Final = 64 << 10
PIECE_BYTES: Final = 1 << 20
# How far the station's clock may be ahead of the reader's.
AHEAD_S_MAX: Final = 600.0
DAY_S: Final = 86_400.0
Kind = Literal["signed", "plain"]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the station says. `sha256`: of the file's bytes, 64 hex digits; `scanned_wall_s` by the station's clock."""

    format: Literal["outstation-scan-1"] = "outstation-scan-1"
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    file: _Text
    station: _Text
    person: _Text
    tool: _Text
    scanned_wall_s: Annotated[float, msgspec.Meta(ge=0, le=1 << 40)]
    verdict: Literal["clean", "infected", "not scanned"] = "clean"


class Seen(NamedTuple):
    """A receipt that counts. `signed_by`: who of the allowed signers, "" for a plain one."""

    receipt: Receipt
    signed_by: str

    def __str__(self) -> str:
        how = f", signed by {self.signed_by}" if self.signed_by else ", not signed"
        scan = self.receipt
        return f"scanned by {scan.person} at {scan.station} with {scan.tool}{how}; sha256:{scan.sha256}"


class ReceiptRefused(Exception):
    """The file is not taken. The text names the file and the reason, `hint` what to do."""

    def __init__(self, message: str, hint: str = "let the scan station look at the file again") -> None:
        super().__init__(message)
        self.hint = hint


def digest_of(path: Path) -> str:
    """SHA-256 of a plain file's bytes, in hex. Raises ReceiptRefused, StoreError kinds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ReceiptRefused(f"{path} is no plain file", "copy the file itself")
            found = hashlib.sha256()
            while piece := file.read(PIECE_BYTES):
                found.update(piece)
    except OSError as error:
        raise from_os(error, "read", path) from error
    return found.hexdigest()


def beside(path: Path) -> Path:
    """Where the receipt of a file lies."""
    return path.with_name(path.name + SUFFIX)


def check(path: Path, receipt: Path, allowed_signers: str, *, kind: Kind, days_max: float, now_s: float) -> Seen:
    """The receipt, if it counts for the bytes of `path` as they are now. Raises ReceiptRefused, StoreError kinds.

    `kind` "plain" takes one that nobody signed; a signature that is there must count all the same.
    """
    said = _read(receipt)
    try:
        found = msgspec.json.decode(said.document, type=Receipt)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptRefused(f"{receipt} is no receipt: {error}") from error
    signed_by = ""
    if kind == "signed" or said.signature.strip():
        signed_by = _signer(said, receipt, allowed_signers, now_s)
    if found.verdict != "clean":
        hint = "do not take it; ask the station's person what was found"
        raise ReceiptRefused(f"{path}: the scan station says {found.verdict}", hint)
    if (actual := digest_of(path)) != found.sha256:
        text = f"{receipt} is the receipt of another file: sha256:{found.sha256[:16]}..., {path} has {actual[:16]}..."
        raise ReceiptRefused(text)
    age_s = now_s - found.scanned_wall_s
    if age_s < -AHEAD_S_MAX:
        hint = "compare the clocks of this machine and of the station"
        raise ReceiptRefused(f"{receipt} is from the future: {-age_s / 3_600:.1f} h ahead of this clock", hint)
    if age_s > days_max * DAY_S:
        raise ReceiptRefused(f"{receipt} is {age_s / DAY_S:.1f} days old; {days_max:g} days count here")
    return Seen(found, signed_by)


def _read(path: Path) -> statement.Statement:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(BYTES_MAX + 1)
    except FileNotFoundError as error:
        hint = "have the file scanned, and bring the station's receipt beside it, or name it with --receipt"
        raise ReceiptRefused(f"there is no receipt {path}, and this site asks for one", hint) from error
    except OSError as error:
        raise from_os(error, "read", path) from error
    if len(data) > BYTES_MAX:
        raise ReceiptRefused(f"{path} is no receipt: more than {BYTES_MAX} bytes")
    try:
        return statement.read(data)
    except SignatureRefused as error:
        raise ReceiptRefused(f"{path}: {error}") from error


def _signer(said: statement.Statement, receipt: Path, allowed_signers: str, now_s: float) -> str:
    try:
        signer = said.verify(allowed_signers, namespace=NAMESPACE, at_s=now_s)
    except NoSigners as error:
        hint = f'put the line `STATION namespaces="{NAMESPACE}" ssh-ed25519 AAAA...` into the list of scan signers'
        raise ReceiptRefused(f"{receipt}: nobody may sign receipts here", hint) from error
    except Unsigned as error:
        hint = 'have the station sign it, or let the policy say receipt = "plain"'
        raise ReceiptRefused(f"{receipt} is not signed, and this site asks for signed ones", hint) from error
    except SignatureRefused as error:
        raise ReceiptRefused(f"{receipt}: its signature does not count: {error}") from error
    except SignersRefused as error:
        raise ReceiptRefused(f"the list of scan signers cannot be used: {error}", "correct that list") from error
    if signer.warnings:
        raise ReceiptRefused(f"{receipt}: {signer.warnings[0]}", "renew the station's key, or set the clock")
    return signer.principal
