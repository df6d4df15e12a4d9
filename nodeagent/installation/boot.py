"""Starting at boot without a service manager: one line in a crontab or in rc.local. The line is found by its mark."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

from nodeagent.installation import keeper
from nodeagent.installation.journal import SetupError
from nodeagent.installation.layout import Layout
from store import durable

MARK = "# outstation-keeper"
RC_LOCAL = Path("/etc/rc.local")
CRONTAB_S = 20.0
KEEPER_S = 20.0


def command(layout: Layout) -> str:
    """What starts the keeper, as a shell reads it."""
    return f"{shlex.quote(str(layout.keeper()))} {shlex.quote(str(layout.prefix))}"


def with_line(text: str, line: str) -> str:
    """`text` of a crontab or rc.local with our line in it, once; before a last `exit 0`, which would skip it."""
    lines = [each for each in text.splitlines() if MARK not in each]
    at = len(lines)
    if any(each.strip() for each in lines) and [each.strip() for each in lines if each.strip()][-1] == "exit 0":
        at = max(index for index, each in enumerate(lines) if each.strip() == "exit 0")
    return "\n".join([*lines[:at], f"{line} {MARK}", *lines[at:]]) + "\n"


def without_line(text: str) -> str:
    """`text` without our line."""
    return "".join(f"{line}\n" for line in text.splitlines() if MARK not in line)


def add_to_crontab(layout: Layout) -> None:
    """`@reboot` in the account's own crontab. Raises SetupError."""
    # cron has no comments behind a command: the mark is one for the shell that runs the line.
    _write_crontab(with_line(_read_crontab(), f"@reboot {command(layout)} >/dev/null 2>&1"))


def remove_from_crontab() -> None:
    """Takes the line out; an empty crontab is removed. Raises SetupError."""
    before = _read_crontab()
    after = without_line(before)
    if after.strip():
        _write_crontab(after)
    elif before:
        _crontab(["-r"])


def _read_crontab() -> str:
    done = _crontab(["-l"], check=False)
    return done.stdout if done.returncode == 0 else ""


def _write_crontab(text: str) -> None:
    _crontab(["-"], text=text)


def _crontab(arguments: list[str], *, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            ["crontab", *arguments], input=text, capture_output=True, text=True, timeout=CRONTAB_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"crontab does not work here: {error}", "choose another way with --start") from error
    if check and done.returncode != 0:
        raise SetupError(f"crontab refuses: {done.stderr.strip()[:300]}", "choose another way with --start")
    return done


def add_to_rc_local(layout: Layout, path: Path = RC_LOCAL) -> None:
    """A line in rc.local, which root's boot runs. Raises SetupError, StoreError."""
    text = path.read_text("utf-8") if path.exists() else "#!/bin/sh\n"
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o755
    durable.write_file(path, with_line(text, f"{command(layout)} >/dev/null 2>&1 &").encode(), mode | 0o111)


def remove_from_rc_local(path: Path = RC_LOCAL) -> None:
    """Takes the line out; a file that holds nothing else is removed. Raises StoreError."""
    if not path.exists():
        return
    text = path.read_text("utf-8")
    after = without_line(text)
    if after == "#!/bin/sh\n":
        durable.unlink(path)
    elif after != text:
        durable.write_file(path, after.encode(), path.stat().st_mode & 0o777)


def start_keeper(layout: Layout) -> None:
    """Starts it now, free of the login that asked for it, and waits until it stands. Raises SetupError."""
    with layout.keeper_log.open("ab") as log:
        process = subprocess.Popen(
            [str(layout.keeper()), str(layout.prefix)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ},
        )
    until_s = time.monotonic() + KEEPER_S
    while not keeper.pids_of(layout.keeper_lock):
        if process.poll() is not None or time.monotonic() > until_s:
            said = layout.keeper_log.read_bytes()[-400:].decode("utf-8", "replace").strip()
            raise SetupError(f"the keeper does not start: {said}", f"see {layout.keeper_log} on the node")
        time.sleep(0.1)
