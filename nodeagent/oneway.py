"""`outstation-agent export`: what the node knows of itself, signed, as a file that goes out through a data diode.

A short-lived process: it asks the agent over the node's own socket, and is the only one that holds the node's report
key. The number of a report is on the disk before the report is, so that no number is ever used twice.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from nodeagent.local import Failed, ask
from nodeagent.protocol import (
    API,
    ONE_WAY_BYTES_MAX,
    ONE_WAY_NAMESPACE,
    PAGE_ROWS_MAX,
    LedgerEntry,
    LedgerPage,
    OneWayReport,
    Record,
    RecordsHead,
    RecordsPage,
    Status,
)
from nodeagent.settings import OneWay, SettingsError, load
from nodeagent.state.state_folder import read_id
from store import durable, signing, statement
from store.errors import StoreError, from_os

KEY_NAME: Final = "one_way_key"
COUNT_NAME: Final = "one_way.json"
SUFFIX: Final = ".status"
LEDGER_ENTRIES: Final = 100
LEDGER_ENTRIES_MAX: Final = 10_000


class Count(msgspec.Struct, frozen=True):
    """The number of the last report."""

    sequence: int = 0


def main(arguments: list[str], state_default: Path) -> int:
    """Exit status 0: written; 1: not, and why."""
    parser = argparse.ArgumentParser(prog="outstation-agent export", description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=state_default, help="the node's folder")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: one_way.folder of node.toml")
    parser.add_argument("--ledger-from", type=int, metavar="SEQ", help="the ledger from this entry on, where some lack")
    parser.add_argument("--public-key", action="store_true", help="print what a console is to check reports with")
    asked = parser.parse_args(arguments)
    try:
        if asked.public_key:
            print(public_key(asked.state))
            return 0
        settings = load(asked.state)
        folder = asked.to or (Path(settings.one_way.folder) if settings.one_way.folder else None)
        if folder is None:
            raise Failed("name a folder with --to, or as one_way.folder in node.toml")
        socket = settings.run_dir(asked.state) / "agent.sock"
        report = gather(asked.state, socket, settings.one_way, asked.ledger_from)
        print(write(asked.state, folder, report, settings.one_way.keep))
    except (Failed, SettingsError, StoreError, signing.SigningFailed) as error:
        print(f"outstation-agent export: {error}", file=sys.stderr)
        return 1
    return 0


def gather(state: Path, socket: Path, settings: OneWay, ledger_from: int | None = None) -> OneWayReport:
    """What the agent answers now, under the next number, which is taken by that. Raises Failed, StoreError."""
    status = msgspec.json.decode(ask(socket, "GET", f"{API}/status"), type=Status)
    entries, head = _ledger(socket, ledger_from)
    heads = [
        RecordsHead(bundle=each.bundle, records_total=each.records_total, newest=_newest(socket, each.bundle))
        for each in status.telemetry.bundles
    ]
    return OneWayReport(
        node_id=status.node_id,
        sequence=_next_number(state),
        every_s=settings.every_s,
        boot_id=status.telemetry.boot_id,
        boottime_us=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000,
        wall_us=time.time_ns() // 1_000,
        status=status,
        records=heads,
        ledger=entries,
        ledger_head_seq=head.head_seq,
        ledger_head_hash=head.head_hash,
    )


def write(state: Path, folder: Path, report: OneWayReport, keep: int) -> Path:
    """The signed file, whole or not at all; older ones of this node beyond `keep` go. Raises Failed, StoreError."""
    document = msgspec.json.encode(report)
    if len(document) > ONE_WAY_BYTES_MAX - signing.SIGNATURE_BYTES_MAX:
        raise Failed(f"a report has at most {ONE_WAY_BYTES_MAX} bytes; ask for less of the ledger")
    key = _key(state)
    data = statement.seal(document, lambda line: signing.sign_with_key_file(key, line, namespace=ONE_WAY_NAMESPACE))
    durable.make_dir(folder, 0o755)
    path = folder / f"{report.node_id}-{report.sequence:012}{SUFFIX}"
    durable.write_file(path, data, 0o644)
    ours = re.compile(rf"{re.escape(report.node_id)}-[0-9]{{12}}{re.escape(SUFFIX)}")
    for old in sorted(each for each in folder.iterdir() if ours.fullmatch(each.name))[:-keep]:
        durable.unlink(old)
    return path


def public_key(state: Path) -> str:
    """`ssh-ed25519 AAAA... NODE_ID`; the key is made where there is none. Raises StoreError, Failed."""
    try:
        private = serialization.load_ssh_private_key(_key(state).read_bytes(), None)
    except (OSError, ValueError) as error:
        raise Failed(f"{state / KEY_NAME} cannot be read: {error}") from error
    line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} {read_id(state)}"


def _key(state: Path) -> Path:
    path = state / KEY_NAME
    if not path.exists():
        made = ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        durable.write_file(path, made, 0o600)
    return path


def _next_number(state: Path) -> int:
    path = state / COUNT_NAME
    try:
        last = msgspec.json.decode(path.read_bytes(), type=Count).sequence
    except FileNotFoundError:
        last = 0
    except OSError as error:
        raise from_os(error, "read", path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = f'write {{"sequence": N}} there, N at least the number of the last report: {error}'
        raise Failed(f"{path} does not tell the last report's number; {hint}") from error
    durable.write_file(path, msgspec.json.encode(Count(last + 1)), 0o600)
    return last + 1


def _ledger(socket: Path, first: int | None) -> tuple[list[LedgerEntry], LedgerPage]:
    head = _page(socket, (1 << 63) - 1, 1)
    after = max(0, head.head_seq - LEDGER_ENTRIES) if first is None else max(0, first - 1)
    found: list[LedgerEntry] = []
    while len(found) < LEDGER_ENTRIES_MAX:
        head = _page(socket, after, PAGE_ROWS_MAX)
        found += head.entries
        if not head.entries or head.entries[-1].seq >= head.head_seq:
            return found, head
        after = head.entries[-1].seq
    raise Failed(f"more than {LEDGER_ENTRIES_MAX} ledger entries; ask for a later --ledger-from")


def _page(socket: Path, after: int, limit: int) -> LedgerPage:
    return msgspec.json.decode(ask(socket, "GET", f"{API}/ledger?after={after}&limit={limit}"), type=LedgerPage)


def _newest(socket: Path, bundle: str) -> Record | None:
    query = urllib.parse.urlencode({"bundle": bundle, "newest_first": "true", "values": 0, "limit": 1})
    page = msgspec.json.decode(ask(socket, "GET", f"{API}/records?{query}"), type=RecordsPage)
    return page.records[0] if page.records else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ.get("OUTSTATION_STATE", "/var/lib/outstation"))))
