"""Reports of one-way nodes, taken from a stick or a watched folder: each checked against the key of its node.

What is in such a folder is hostile until the signature counted: only plain files of the right name are opened, none is
run, and each is read to a limit.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from console.client.clean import clean, clean_all
from console.fleet.view import NodeAddress
from console.ledgers.visits import plain
from nodeagent.protocol import ONE_WAY_BYTES_MAX, ONE_WAY_NAMESPACE, OneWayReport
from store import statement
from store.errors import from_os
from store.histories import Histories
from store.ledger import Head
from store.oneway import Outcome, Reports
from store.signers import SignersRefused
from store.signing import SignatureRefused

FILES_MAX: Final = 50_000
_NAME: Final = re.compile(r"(?P<node>[A-Za-z0-9_-]{1,64})-(?P<sequence>[0-9]{12})\.status")


class ReportRefused(Exception):
    """A file is no report that counts; the text says why. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one file. `text`: the reason where it was refused, else what is to be said of it."""

    path: Path
    node: str
    sequence: int
    outcome: Outcome | Literal["refused"]
    text: str = ""


def found_in(path: Path) -> list[Path]:
    """The reports that lie in a folder, by node and number; a file is itself. Raises StoreError kinds."""
    try:
        if not path.is_dir():
            return [path]
        names = [entry.name for entry in os.scandir(path) if _NAME.fullmatch(entry.name)]
    except OSError as error:
        raise from_os(error, "read", path) from error
    return [path / name for name in sorted(names)[-FILES_MAX:]]


def take(
    paths: Sequence[Path], nodes: Mapping[str, NodeAddress], reports: Reports, histories: Histories, wall_s: float
) -> list[Taken]:
    """Takes each file by itself: one that is refused stops no other. `nodes`: one-way nodes by their id."""
    return [_take_one(path, nodes, reports, histories, wall_s) for path in paths]


def _take_one(
    path: Path, nodes: Mapping[str, NodeAddress], reports: Reports, histories: Histories, wall_s: float
) -> Taken:
    named = _NAME.fullmatch(path.name)
    if named is None:
        return Taken(path, "", 0, "refused", "its name is not NODE_ID-NUMBER.status")
    node_id, sequence = named["node"], int(named["sequence"])
    node = nodes.get(node_id)
    if node is None:
        return Taken(path, node_id, sequence, "refused", f"no one-way node here has the id {node_id}")
    try:
        data = read_plain(path)
        report, document = read_report(data, node, wall_s)
        if (report.node_id, report.sequence) != (node_id, sequence):
            raise ReportRefused(
                f"it is report {report.sequence} of {clean(report.node_id, 64)}, not what its name says"
            )
    except ReportRefused as error:
        return Taken(path, node.name, sequence, "refused", str(error))
    digest = hashlib.sha256(document).hexdigest()
    outcome = reports.take(node_id, sequence, digest, document, source=path.name, wall_s=wall_s)
    said = _extend(histories, report, path.name, wall_s, newest=outcome == "new") if outcome in ("new", "late") else ""
    return Taken(path, node.name, sequence, outcome, said)


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file, through no link. Raises ReportRefused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ReportRefused("it is no plain file")
            data = file.read(ONE_WAY_BYTES_MAX + 1)
    except OSError as error:
        raise ReportRefused(f"it cannot be read: {error.strerror}") from error
    if len(data) > ONE_WAY_BYTES_MAX:
        raise ReportRefused(f"it has more than {ONE_WAY_BYTES_MAX} bytes")
    return data


def read_report(data: bytes, node: NodeAddress, at_s: float) -> tuple[OneWayReport, bytes]:
    """The report, its texts cleaned, and its line as it was signed. Raises ReportRefused."""
    allowed = f'{node.node_id} namespaces="{ONE_WAY_NAMESPACE}" {node.one_way_key}\n'
    try:
        said = statement.read(data)
        said.verify(allowed, namespace=ONE_WAY_NAMESPACE, at_s=at_s)
        return decoded(said.document), said.document
    except SignatureRefused as error:
        raise ReportRefused(f"its signature does not count: {clean(str(error), 200)}") from error
    except SignersRefused as error:
        raise ReportRefused(f"the key kept for {node.name} cannot be read: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReportRefused(f"it cannot be read: {clean(str(error), 200)}") from error


def decoded(document: bytes) -> OneWayReport:
    """The report with its texts cleaned; its ledger as it was hashed. Raises MsgspecError, UnicodeDecodeError."""
    report = msgspec.json.decode(document, type=OneWayReport)
    return msgspec.structs.replace(clean_all(msgspec.structs.replace(report, ledger=[])), ledger=report.ledger)


def _extend(histories: Histories, report: OneWayReport, source: str, wall_s: float, *, newest: bool) -> str:
    """Takes the ledger entries that follow the copy; what is to be said of it."""
    kept = histories.head(report.node_id)
    new = [plain(entry) for entry in report.ledger if entry.seq > kept.seq]
    if new and new[0].seq > kept.seq + 1:
        first, last = kept.seq + 1, new[0].seq - 1
        return f"ledger entries {first} to {last} did not come: `outstation-agent export --ledger-from {first}` there"
    end = Head(report.ledger_head_seq, report.ledger_head_hash)
    if not newest and not new:
        return ""
    broken = histories.extend(report.node_id, new, end=end, source=source, wall_s=wall_s)
    return f"ledger {broken.kind.upper()}: {broken.text}" if broken is not None else ""
