"""Checks of the ways in: sshd's settings that matter to us, the agent's sockets, keys, who may sign."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from nodeagent.checks.finding import Finding, bad, ok, unknown, warn
from nodeagent.checks.host import Host
from nodeagent.state.state_folder import SIGNERS_NAME, count_signers

DAY_S = 86_400.0
KEY_DAYS_MAX = 5 * 365
INCLUDES_MAX = 64
_DEFAULTS = {
    "allowstreamlocalforwarding": "yes",
    "allowtcpforwarding": "yes",
    "disableforwarding": "no",
    "maxsessions": "10",
    "passwordauthentication": "yes",
    "permitrootlogin": "prohibit-password",
    "usedns": "no",
}
_VALID_BEFORE = re.compile(r'valid-before="(\d{8})')


def sshd(host: Host) -> Finding:
    """What of sshd_config helps or hinders the link; settings inside Match are not looked at."""
    path = host.root / "etc/ssh/sshd_config"
    if not path.exists():
        return unknown("there is no /etc/ssh/sshd_config: which SSH server is this?")
    found = _DEFAULTS | read_sshd(path, host.root)
    ill = []
    if found["usedns"] == "yes":
        ill.append(("UseDNS yes: logins wait for a name server", "UseDNS no"))
    if found["passwordauthentication"] == "yes":
        ill.append(("passwords are taken", "PasswordAuthentication no, once every key works"))
    if found["permitrootlogin"] == "yes":
        ill.append(("root may log in with a password", "PermitRootLogin prohibit-password"))
    if found["maxsessions"].isdigit() and int(found["maxsessions"]) < 2 and not _forwards(found):
        ill.append(("one session a login and no forwarding: every view needs a login", "MaxSessions 10"))
    way = "forwarding is on" if _forwards(found) else "forwarding is off, so the slower bridge is used"
    if ill:
        return warn(
            "; ".join([text for text, _ in ill] + [way]), f"In sshd_config: {'; '.join(fix for _, fix in ill)}."
        )
    return ok(way)


def _forwards(found: dict[str, str]) -> bool:
    streams = found["allowstreamlocalforwarding"] in ("yes", "all", "local")
    return streams and found["allowtcpforwarding"] in ("yes", "all", "local") and found["disableforwarding"] == "no"


def read_sshd(path: Path, root: Path) -> dict[str, str]:
    """The first value of each keyword, as sshd takes it. Raises OSError where the file may not be read."""
    found: dict[str, str] = {}
    _read_sshd(path, root, found, [INCLUDES_MAX])
    return found


def _read_sshd(path: Path, root: Path, found: dict[str, str], left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"sshd_config includes more than {INCLUDES_MAX} files")
    for line in path.read_text("utf-8", "replace").splitlines():
        words = line.split("#", 1)[0].replace("=", " ", 1).split()
        if len(words) < 2:
            continue
        keyword = words[0].lower()
        if keyword == "match":
            return
        if keyword == "include":
            for pattern in words[1:]:
                name = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
                for each in sorted(root.glob(name.lstrip("/"))):
                    _read_sshd(each, root, found, left)
        else:
            found.setdefault(keyword, words[1].strip('"').lower())


def sockets(host: Host) -> Finding:
    """Who the kernel lets at the agent: the owner, and node.toml's group where it names one."""
    folder = host.settings.run_dir(host.state)
    path = folder / "agent.sock"
    if not path.exists():
        return bad(f"{path} is not there", "Start the agent: `systemctl status outstation-agent`.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007:
        return bad(f"{path} is open to everybody ({mode:o})", f"Restart the agent, or `chmod o= {path}`.")
    if folder.stat().st_mode & 0o002:
        return bad(f"anybody may write in {folder}", f"`chmod o-w {folder}`")
    group = host.settings.api.group
    return ok(f"{path}, mode {mode:o}{f', group {group}' if group else ''}")


def host_keys(host: Host) -> Finding:
    """What this machine proves itself with."""
    files = sorted((host.root / "etc/ssh").glob("ssh_host_*_key.pub"))
    if not files:
        return unknown("no host keys in /etc/ssh")
    weak = [file.name for file in files if file.read_text("utf-8", "replace").startswith("ssh-dss")]
    if weak:
        return warn(f"{weak[0]} is a DSA key", "Remove it: nothing takes it any more.")
    days = max(0.0, host.wall_s - min(file.stat().st_mtime for file in files)) / DAY_S
    text = f"{len(files)} key(s), the oldest {days:.0f} days old"
    if days > KEY_DAYS_MAX:
        return warn(text, "Plan new ones; consoles show both fingerprints when they change.")
    return ok(text)


def trust(host: Host) -> Finding:
    """Who may sign what this node installs."""
    path = host.state / SIGNERS_NAME
    count = count_signers(host.state)
    if not count:
        return warn(
            "no allowed signers: every deployment is refused",
            "`outstation trust add`, or bootstrap again with --allow-signer.",
        )
    if path.stat().st_mode & 0o022:
        return bad(f"{path} can be written by others ({stat.S_IMODE(path.stat().st_mode):o})", f"`chmod go-w {path}`")
    ends = sorted(_VALID_BEFORE.findall(path.read_text("utf-8", "replace")))
    days = max(0.0, host.wall_s - path.stat().st_mtime) / DAY_S
    text = f"{count} allowed signer(s), the list is {days:.0f} days old"
    return ok(f"{text}, the first key ends {ends[0]}" if ends else text)
