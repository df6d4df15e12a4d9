"""The agent as a systemd unit: of the system, hardened and under an account of its own, or of one user."""

from __future__ import annotations

import getpass
import grp
import os
import pkgutil
import pwd
import shutil
import string
import subprocess
from pathlib import Path

from nodeagent.installation.journal import Journal, SetupError, make_folder
from nodeagent.installation.layout import Layout
from store import durable

UNIT = "outstation-agent.service"
ACCOUNT = "outstation"
SYSTEM_UNITS = Path("/etc/systemd/system")
SERIAL_GROUPS = ("dialout", "uucp")
COMMAND_S = 150.0
JOURNAL_S = 10.0


def unit_text(layout: Layout, *, user: bool, account: str = ACCOUNT, serial_group: str = "dialout") -> str:
    """The unit, filled in. Raises SetupError for a path that systemd would read otherwise."""
    for path in (layout.prefix, layout.state):
        if any(sign in str(path) for sign in " \t\n%$\"'\\"):
            raise SetupError(f"{path} cannot stand in a unit: it holds a space or a sign", "choose another --prefix")
    name = "outstation-agent.user.service" if user else "outstation-agent.service"
    template = pkgutil.get_data("nodeagent", f"units/{name}")
    assert template is not None
    words = {"agent": layout.agent(), "state": layout.state, "account": account, "serial_group": serial_group}
    _, head, text = template.decode("utf-8").partition("[Unit]")
    text = string.Template(head + text).substitute({key: str(value) for key, value in words.items()})
    return text if serial_group else text.replace("SupplementaryGroups=\n", "")


def unit_path(*, user: bool) -> Path:
    """Where the unit lies."""
    return (Path.home() / ".config" / "systemd" / "user" if user else SYSTEM_UNITS) / UNIT


def install(layout: Layout, journal: Journal, *, user: bool, restart: bool) -> list[str]:
    """Writes, enables and starts the unit; returns what a person should know. Raises SetupError, StoreError."""
    notes: list[str] = []
    path = unit_path(user=user)
    make_folder(journal, path.parent, 0o755)
    text = unit_text(layout, user=user, serial_group=_serial_group())
    journal.will("unit", path=str(path), user=user)
    durable.write_file(path, text.encode(), 0o644)
    if user:
        notes += _linger(journal)
    else:
        give_to(layout.state, ACCOUNT)
    _systemctl(user, "daemon-reload")
    _systemctl(user, "enable", UNIT)
    try:
        _systemctl(user, "restart" if restart else "start", UNIT)
    except SetupError as error:
        hint = f"more of it on the node: journalctl{' --user' if user else ''} -u {UNIT}"
        raise SetupError(f"the unit does not start: {_last_words(user) or error}", hint) from error
    return notes


def _last_words(user: bool) -> str:
    """What the agent said before it ended, as far as this account may read it."""
    command = ["journalctl", *(["--user"] if user else []), "-u", UNIT, "-n", "4", "-o", "cat", "--no-pager", "-q"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=JOURNAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no journal: systemctl's own words are told
    return " / ".join(done.stdout.strip().splitlines())[-400:]


def make_account(journal: Journal) -> None:
    """The account that the system's agent runs as, without a password, a home or a shell. Raises SetupError."""
    try:
        pwd.getpwnam(ACCOUNT)
        return
    except KeyError:
        journal.will("account", name=ACCOUNT)
    nologin = shutil.which("nologin") or "/bin/false"
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/",
        "--shell",
        nologin,
        ACCOUNT,
    ]
    _run(command, "an account for the agent cannot be made")


def remove_account(name: str) -> None:
    """Raises SetupError."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return
    _run(["userdel", name], f"the account {name} cannot be removed")


def give_to(state: Path, account: str) -> None:
    """Makes the state the account's own."""
    entry = pwd.getpwnam(account)
    for folder, _, files in os.walk(state):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def uninstall(path: Path, *, user: bool) -> None:
    """Stops the unit and takes it away. Raises SetupError, StoreError."""
    if not path.exists():
        return
    _systemctl(user, "disable", "--now", UNIT)
    durable.unlink(path)
    _systemctl(user, "daemon-reload")


def stop(*, user: bool) -> None:
    """Stops the unit. Raises SetupError."""
    _systemctl(user, "stop", UNIT)


def _linger(journal: Journal) -> list[str]:
    """A user's services run without a login only if somebody allowed that account to linger."""
    name = getpass.getuser()
    if (Path("/var/lib/systemd/linger") / name).exists():
        return []
    journal.will("linger", account=name)
    try:
        _run(["loginctl", "enable-linger", name], "")
        return []
    except SetupError:
        # Root may allow it later, and takes that back itself.
        journal.undone({"act": "linger", "account": name})
        return [f"it runs only while {name} is logged in; as root on the node: loginctl enable-linger {name}"]


def stop_linger(name: str) -> None:
    """Takes it back. Raises SetupError."""
    if (Path("/var/lib/systemd/linger") / name).exists():
        _run(["loginctl", "disable-linger", name], f"{name} still lingers")


def _serial_group() -> str:
    for name in SERIAL_GROUPS:
        try:
            return grp.getgrnam(name).gr_name
        except KeyError:
            continue
    return ""


def _systemctl(user: bool, *words: str) -> None:
    _run(["systemctl", *(["--user"] if user else []), *words], f"systemctl {words[0]} failed")


def _run(command: list[str], message: str) -> None:
    environment = dict(os.environ)
    environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{message}: {error}") from error
    if done.returncode != 0:
        raise SetupError(f"{message}: {(done.stderr or done.stdout).strip()[:400]}")
