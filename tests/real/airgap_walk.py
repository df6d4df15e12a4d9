"""Walks docs/airgap.md inside a network without a route: `python airgap_walk.py FOLDER`, where the folder is filled.

Starts a real sshd there, gives each command of the page in its order with this machine's address and key in it, except
those of the office, and prints one JSON table: every command with its exit code and what it said.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "airgap.md").read_text("utf-8")
# Who gives a command, and the command.
COMMAND = re.compile(r"^([a-z0-9-]*)\$ (.+)$", re.MULTILINE)
ASKS = tuple(f"outstation {verb} " for verb in ("node bootstrap", "clock note", "node bind", "deploy", "diode add"))
RECORDS_S = 60.0


def lab_class() -> Any:
    spec = importlib.util.spec_from_file_location("real_lab", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SshLab


def run(folder: Path, line: str, environment: dict[str, str]) -> dict[str, Any]:
    given = f"{line} --yes" if line.startswith(ASKS) else line
    done = subprocess.run(
        given, shell=True, cwd=folder, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    return {"line": line, "code": done.returncode, "out": done.stdout, "err": done.stderr}


def media(folder: Path) -> dict[str, str]:
    """The stick, the diode's folder, and the files that the page shows; what the page calls them, and what they are."""
    for name in ("stick", "diode"):
        (folder / name).mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "scan_key")], check=True)
    console = folder / "console"
    console.mkdir(mode=0o700)
    (policy,) = re.findall(r"^```\n(\[media\].*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (console / "policy.toml").write_text(policy)
    public = " ".join((folder / "scan_key.pub").read_text().split()[:2])
    (console / "scan_signers").write_text(f'scan-01 namespaces="outstation-scan" {public}\n')
    return {"/media/stick": str(folder / "stick"), "/srv/diode": str(folder / "diode"), "bearing-1.1": "bearing-1.0"}


def walk(folder: Path, lab: Any) -> list[dict[str, Any]]:
    home = folder / "home"
    home.mkdir()
    server = lab.sshd(f"SetEnv SHLVL=1 HOME={home} PATH=/usr/bin:/bin")
    public = server.folder / "host_key.pub"
    told = subprocess.run(["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OUTSTATION_HOME": str(folder / "console"),
        "OUTSTATION_OPERATOR": "alice",
        "OUTSTATION_STATE": str(home / "agent" / "state"),
    }
    here = media(folder) | {
        "/etc/ssh/ssh_host_ed25519_key.pub": str(public),
        "plant@10.0.0.7": f"{server.user}@127.0.0.1:{server.port}",
        "-i plant_key": f"-i {lab.identity}",
        "--unseen": "--unseen --ssh-config /dev/null",
        "--allow-signer": f"--accept {told.stdout.split()[1]} --prefix {home}/agent --start by-hand --allow-signer",
    }
    # On this machine one box plays both nodes, and a console takes no node twice: the diode has a laptop of its own.
    behind = environment | {"OUTSTATION_HOME": str(folder / "console-09")}
    steps = []
    for who, page_line in COMMAND.findall(PAGE):
        if who == "office":
            continue
        line = page_line
        for word, value in here.items():
            line = line.replace(word, value)
        until_s = time.monotonic() + RECORDS_S
        steps.append(run(folder, line, behind if " diode " in line else environment))
        while " records " in line and "REV" in steps[-1]["out"] and len(steps[-1]["out"].splitlines()) < 4:
            assert time.monotonic() < until_s, steps[-1]
            time.sleep(0.5)
            steps[-1] = run(folder, line, environment)
        steps[-1]["page"] = f"{who}$ {page_line}"
        if steps[-1]["code"] != 0:
            break
    return steps


def end(folder: Path) -> None:
    """Ends what runs from the folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if str(folder / "home").encode() in line and int(path.parent.name) != os.getpid():
            os.kill(int(path.parent.name), signal.SIGKILL)


def main() -> None:
    folder = Path(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    lab_folder = folder / "l"
    lab_folder.mkdir()
    lab = lab_class()(lab_folder)
    try:
        steps = walk(folder, lab)
    finally:
        lab.stop()
        end(folder)
    print(json.dumps({"routes": routes, "steps": steps}))


if __name__ == "__main__":
    main()
