"""What this site asks of a file that comes from outside, and the console's own list of what it took by which receipt.

The policy is `policy.toml` in the console's folder; without one nothing is asked. A policy that cannot be read stops
every import: a rule that is misspelt must not become no rule.
"""

from __future__ import annotations

import contextlib
import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from console.client.clean import clean
from console.home import Home
from store import durable, receipt
from store.errors import from_os
from store.receipt import ReceiptRefused, Seen

POLICY_NAME: Final = "policy.toml"
SIGNERS_NAME: Final = "scan_signers"
LOG_NAME: Final = "receipts.jsonl"
FILE_BYTES_MAX: Final = 1 << 20
LOG_BYTES_MAX: Final = 16 << 20
MOUNTS: Final = Path("/proc/self/mountinfo")
ROOTS: Final = (Path("/media"), Path("/run/media"), Path("/mnt"))
_REMOVABLE_KINDS: Final = ("vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "iso9660", "udf", "hfsplus")


class Media(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`receipt`: what is asked; `of`: of files on removable media, or of every file; `days`: how old one may be."""

    receipt: Literal["none", "plain", "signed"] = "none"
    of: Literal["removable", "everything"] = "removable"
    days: Annotated[float, msgspec.Meta(gt=0, le=366)] = 7.0


class SitePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    media: Media = Media()


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list: a file that was taken, by whom, and on which receipt. `subject`: the digest it goes by."""

    subject: str
    file: str
    sha256: str
    station: str
    person: str
    tool: str
    scanned_wall_s: float
    signed_by: str
    taken_by: str
    taken_wall_s: float


def read_policy(home: Home) -> SitePolicy:
    """What this site asks. Raises ReceiptRefused, StoreError kinds."""
    path = home.path / POLICY_NAME
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), SitePolicy)
    except FileNotFoundError:
        return SitePolicy()
    except OSError as error:
        raise from_os(error, "read", path) from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ReceiptRefused(f"{path} cannot be used: {error}; nothing is taken until it can", "correct it") from error


def is_removable(path: Path, mounts: str | None = None) -> bool:
    """Whether a path lies on something that a person carries: by its mount, its kind of file system, its device."""
    whole = path.resolve()
    if any(whole.is_relative_to(root) for root in ROOTS):
        return True
    kind, device = _mount_of(whole, MOUNTS.read_text("utf-8", "replace") if mounts is None else mounts)
    return kind in _REMOVABLE_KINDS or _is_removable_device(device)


def _mount_of(path: Path, mounts: str) -> tuple[str, str]:
    """The kind and the device number of the file system that a path lies on (proc(5), mountinfo)."""
    best, found = -1, ("", "")
    for line in mounts.splitlines():
        words = line.split(" ")
        if "-" not in words or len(words) < 10:
            continue
        point = Path(words[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), (words[words.index("-") + 1], words[2])
    return found


def _is_removable_device(device: str) -> bool:
    """By the kernel's own flag; a partition's is its disk's."""
    here = Path("/sys/dev/block") / device
    for folder in (here, here / ".."):
        with contextlib.suppress(OSError):
            if (folder / "removable").read_text().strip() == "1":
                return True
    return False


def admit(home: Home, path: Path, *, given: Path | None = None, now_s: float | None = None) -> Seen | None:
    """Looks at a file as the site's policy asks, before anything else reads it; None: nothing was asked of this one.

    `given`: its receipt, where that is not beside it. Who takes the file writes that down with `keep`.
    Raises ReceiptRefused with the reason and the remedy, StoreError kinds.
    """
    policy = read_policy(home).media
    if policy.receipt == "none" or (policy.of == "removable" and not is_removable(path)):
        return None
    return receipt.check(
        path,
        given or receipt.beside(path),
        read_scan_signers(home),
        kind=policy.receipt,
        days_max=policy.days,
        now_s=time.time() if now_s is None else now_s,
    )


def read_scan_signers(home: Home) -> str:
    """Whose receipts count; "" where there is no list."""
    path = home.path / SIGNERS_NAME
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ReceiptRefused(f"{path} is no text", "correct it") from error
    except OSError as error:
        raise from_os(error, "read", path) from error


def keep(home: Home, seen: Seen | None, path: Path, *, subject: str, taken_by: str) -> None:
    """Adds a line to the list, durable when it returns; of what no receipt was asked, none. Raises StoreError kinds."""
    if seen is None:
        return
    scan = seen.receipt
    line = Admitted(
        subject=subject, file=path.name, sha256=scan.sha256, station=clean(scan.station, 200),
        person=clean(scan.person, 200), tool=clean(scan.tool, 200), scanned_wall_s=scan.scanned_wall_s,
        signed_by=clean(seen.signed_by, 200), taken_by=taken_by, taken_wall_s=time.time(),
    )  # fmt: skip
    home.make()
    durable.append(home.path / LOG_NAME, msgspec.json.encode(line) + b"\n")


def admitted(home: Home) -> list[Admitted]:
    """The list, oldest first. A line that a power cut left half is passed over."""
    return list(_lines(home.path / LOG_NAME))


def _lines(path: Path) -> Iterator[Admitted]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES_MAX))
            for line in file:
                with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    yield msgspec.json.decode(line, type=Admitted)
    except FileNotFoundError:
        return
    except OSError as error:
        raise from_os(error, "read", path) from error


def brought(home: Home, subject: str) -> str:
    """How what goes by `subject` came here, for a node's ledger; "" where no receipt was asked."""
    found = next((each for each in reversed(admitted(home)) if each.subject == subject), None)
    if found is None:
        return ""
    how = f"signed by {found.signed_by}" if found.signed_by else "not signed"
    return (
        f"sha256:{found.sha256} scanned by {found.person} at {found.station} with {found.tool} ({how}), "
        f"taken by {found.taken_by}"
    )[:512]
