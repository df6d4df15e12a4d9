"""A machine of its own with a real systemd as PID 1, made of namespaces: booted, switched off, cut off, looked into.

Its programs are this machine's /usr, read-only; all else is its own, on a tmpfs. Its sshd listens on the loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

BOOT: Final = Path(__file__).with_name("systemd_boot.sh")
BOOT_S: Final = 60.0
PORTS: Final = 20
CARRIED: Final = ("ld.so.cache", "ld.so.conf.d", "nsswitch.conf", "pam.d", "security", "login.defs", "alternatives")
PASSWD: Final = """root:x:0:0:root:/root:/bin/sh
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
messagebus:x:101:101::/nonexistent:/usr/sbin/nologin
amy:x:1000:1000::/home/amy:/bin/sh
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
GROUP: Final = "root:x:0:\ntty:x:5:\nshadow:x:42:\ndialout:x:20:\nmessagebus:x:101:\namy:x:1000:\nnogroup:x:65534:\n"
SHADOW: Final = "root:*:19000::::::\namy:*:19000::::::\n"
SSHD: Final = """Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PidFile none
"""
SSHD_UNIT: Final = """[Service]
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -e
Restart=always
[Install]
WantedBy=multi-user.target
"""
# What boots and logins write by themselves, whether or not there is an agent.
OF_THE_MACHINE: Final = ("run", "tmp", "proc", "sys", "dev", "usr", "srv", "var/log", "var/tmp", "var/lib/systemd")


class NotHere(Exception):
    """This machine does not let us boot one: no root, no namespaces, no control groups, no systemd."""


class Machine:
    """`folder`: short, empty. `boot` starts it, as often as it is off; `close` leaves nothing. Raises NotHere.

    `carried`: folders of this machine that it sees, read-only, as /srv/NAME.
    """

    def __init__(self, folder: Path, public_key: str, **carried: Path) -> None:
        self._carried = [f"{path}={name}" for name, path in carried.items()]
        self.root, self._mounts, self.port = folder / "root", folder / "cgroup", _free_port()
        self._said = folder / "boot.log"
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() != 0:
            raise NotHere("only root can boot a systemd in namespaces of its own")
        for program in ("/usr/lib/systemd/systemd", "/usr/bin/dbus-daemon", "/usr/sbin/sshd"):
            if not Path(program).exists():
                raise NotHere(f"{program} is not installed")
        for path, words in ((self._mounts, ("cgroup2",)), (self.root, ("tmpfs", "-o", "mode=755,size=3g"))):
            path.mkdir()
            _permitted("mount", "-t", *words, "none", str(path))
        self._cgroup = self._mounts / f"outstation-{os.getpid()}-{self.port}"
        self._furnish(public_key)

    def _furnish(self, public_key: str) -> None:
        root, etc = self.root, self.root / "etc"
        for name in ("proc", "sys", "dev", "run", "usr", "mnt", "opt", "var/lib", "var/log", "etc/ssh", "home/amy"):
            (root / name).mkdir(parents=True)
        for name, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)):
            (root / name).mkdir()
            (root / name).chmod(mode)
        os.chown(root / "home" / "amy", 1000, 1000)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        for name in CARRIED:
            if (source := Path("/etc", name)).exists():
                subprocess.run(["cp", "-a", str(source), str(etc)], check=True)
        units = etc / "systemd" / "system"
        (units / "multi-user.target.wants").mkdir(parents=True)
        (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
        (units / "loopback-sshd.service").write_text(SSHD_UNIT)
        (units / "multi-user.target.wants" / "loopback-sshd.service").symlink_to("../loopback-sshd.service")
        (etc / "systemd" / "system.conf").write_text("[Manager]\nDefaultTimeoutStopSec=20s\n")
        (etc / "os-release").write_text('ID=lab\nNAME="lab"\n')
        (etc / "fstab").write_text("")
        (etc / "machine-id").write_text(f"{os.urandom(16).hex()}\n")
        (etc / "passwd").write_text(PASSWD)
        (etc / "group").write_text(GROUP)
        (etc / "shadow").write_text(SHADOW)
        (etc / "shadow").chmod(0o640)
        # What useradd and userdel keep of it; a machine that ever had an account made has them.
        (etc / "gshadow").write_text("root:*::\n")
        (etc / "gshadow-").write_text("root:*::\n")
        ssh = etc / "ssh"
        (ssh / "sshd_config").write_text(SSHD.format(port=self.port))
        (ssh / "authorized_keys").write_text(f"{public_key}\n")
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / "host_key")]
        subprocess.run(command, check=True)

    def fingerprint(self) -> str:
        """Of its host key, as ssh-keygen writes it."""
        told = ["ssh-keygen", "-lf", str(self.root / "etc/ssh/host_key.pub")]
        return subprocess.run(told, capture_output=True, text=True, check=True).stdout.split()[1]

    def boot(self) -> None:
        """Returns when systemd says that the machine runs and its sshd answers."""
        try:
            self._cgroup.mkdir(exist_ok=True)
        except OSError as error:
            raise NotHere(f"no control group can be made: {error}") from error
        with self._said.open("wb") as said:
            # A test that is killed takes its machine with it.
            words = [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "/bin/sh",
                str(BOOT),
                str(self.root),
                str(self._cgroup),
                *self._carried,
            ]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=said)
        until_s = time.monotonic() + BOOT_S
        while True:
            if self._process.poll() is not None:
                raise NotHere(f"systemd does not boot: {self._said.read_text()[-400:].strip()}")
            if self._init() and self.run("systemctl", "is-system-running", check=False).strip() == "running":
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            if time.monotonic() > until_s:
                failed = self.run("systemctl", "list-units", "--failed", "--no-legend", check=False)
                raise RuntimeError(f"the machine does not come up: {failed or 'no failed unit'}")
            time.sleep(0.1)

    def _init(self) -> int:
        """Process id of its systemd, seen from here; 0: not yet."""
        first = self._first()
        return first if first and Path(f"/proc/{first}/comm").read_text().strip() == "systemd" else 0

    def _first(self) -> int:
        """Process id of what is process 1 in there; 0: nothing."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def run(self, *words: str, check: bool = True) -> str:
        """What a command in the machine says, as root."""
        enter = ["nsenter", "-t", str(self._init()), "-m", "-p", "-u", "-i", "-C", "-r", "-w"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run([*enter, *words], capture_output=True, text=True, env=environment, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout

    def off(self) -> None:
        """Shuts it down in order."""
        assert self._process is not None
        os.kill(self._init(), signal.SIGRTMIN + 4)
        self._process.wait(BOOT_S)

    def cut(self) -> None:
        """Everything in it ends at once, as without power."""
        if self._process is not None and self._process.poll() is None:
            if first := self._first():
                os.kill(first, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait(BOOT_S)

    def files(self) -> set[str]:
        """Every path that is not the machine's own business."""
        found = set()
        for folder, folders, files in os.walk(self.root):
            at = Path(folder).relative_to(self.root)
            folders[:] = [name for name in folders if str(at / name) not in OF_THE_MACHINE]
            found |= {str(at / name) for name in (*folders, *files)}
        return found

    def close(self) -> None:
        self.cut()
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            os.rmdir(folder)
        for path in (self.root, self._mounts):
            subprocess.run(["umount", "-l", str(path)], check=True)
        shutil.rmtree(self.root.parent)


def _permitted(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotHere(done.stderr.strip())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
