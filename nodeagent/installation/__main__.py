"""`python3 -m nodeagent.installation ZIP`: does what `request.json` in the zip asks, and answers with one JSON line."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nodeagent.installation import boot, journal, keeper, place, systemd, wipe
from nodeagent.installation.journal import Journal, SetupError
from nodeagent.installation.layout import Layout
from store import durable
from store.errors import DiskFull, StoreError

EXIT_REFUSED = 1


def main(arguments: list[str]) -> int:
    """Exit status 0, or 1 with `error` and `hint` in the answer."""
    with zipfile.ZipFile(arguments[0]) as carried:
        request = json.loads(carried.read("request.json"))
    os.umask(0o022)
    try:
        answer = _do(request)
    except SetupError as error:
        answer = {"error": str(error), "hint": error.hint}
    except DiskFull as error:
        answer = {"error": str(error), "hint": "free some room on the node, then run the same command again"}
    except (StoreError, OSError, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: {error}", "hint": ""}
    print(json.dumps(answer))
    return EXIT_REFUSED if "error" in answer else 0


def _do(request: dict[str, Any]) -> dict[str, Any]:
    layout = Layout(Path(request["prefix"]), Path(request["state"]))
    kept = journal.load(layout.journal)
    if kept.state and kept.state != request["state"]:
        layout = Layout(layout.prefix, Path(kept.state))
    with alone(layout.prefix):
        return _verb(layout, kept, request)


@contextlib.contextmanager
def alone(prefix: Path) -> Iterator[None]:
    """One installation at a time: an earlier one may still work after its link broke. Raises SetupError."""
    folder = next(path for path in (prefix, *prefix.parents) if path.is_dir())
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        hint = "it goes on by itself after a broken link: wait a little, then run the same command again"
        raise SetupError(f"another installation is at work in {prefix}", hint) from error
    finally:
        os.close(descriptor)


def _verb(layout: Layout, kept: Journal, request: dict[str, Any]) -> dict[str, Any]:
    match request["verb"]:
        case "begin":
            place.begin(layout, kept)
            return {"staged": place.staged(layout), "placed": place.is_placed(layout, request["version"])}
        case "place":
            files = place.place(layout, request["version"], request["wheels"], request["interpreter"])
            place.unstage(layout)
            return {"files": files}
        case "init":
            return _init(layout, kept, request)
        case "start":
            return _start(layout, kept, request)
        case "settle":
            return _settle(layout, request)
        case "stop":
            wipe.stop(layout, kept)
            return {}
        case "unstage":
            place.unstage(layout)
            return {}
        case "wipe":
            return {"left": wipe.wipe(layout, kept, keep_state=request["keep_state"])}
        case other:
            raise SetupError(f"no verb {other}")


def _settle(layout: Layout, request: dict[str, Any]) -> dict[str, Any]:
    """After a confirmed upgrade: the next boot starts the new version, and what neither runs nor is needed goes."""
    before = place.switch(layout, request["version"])
    return {"before": before, "removed": place.prune(layout, {request["version"], *request["keep"]})}


def _init(layout: Layout, kept: Journal, request: dict[str, Any]) -> dict[str, Any]:
    journal.make_folder(kept, layout.state.parent, 0o755)
    if request["start"] == "systemd":
        systemd.make_account(kept)
    node_id = place.init(
        layout,
        request["version"],
        name=request["name"],
        site=request["site"],
        signers=request["signers"],
        run=request["run"],
    )
    before = place.switch(layout, request["version"])
    # The version that is put here counts from now on, whatever an upgrade had chosen before.
    durable.unlink(layout.state / "upgrade.json")
    return {"node_id": node_id, "before": before}


def _start(layout: Layout, kept: Journal, request: dict[str, Any]) -> dict[str, Any]:
    how = request["start"]
    if how in ("systemd", "systemd-user"):
        return {"notes": systemd.install(layout, kept, user=how == "systemd-user", restart=request["restart"])}
    notes = []
    if how == "cron":
        kept.will("crontab")
        boot.add_to_crontab(layout)
    elif how == "rc.local":
        kept.will("rc.local", path=str(boot.RC_LOCAL))
        boot.add_to_rc_local(layout)
    else:
        notes = ["nothing on this node starts it at boot: after a restart run the same command again"]
    if request["restart"]:
        keeper.stop(layout.keeper_lock)
    if not keeper.pids_of(layout.keeper_lock):
        boot.start_keeper(layout)
    return {"notes": notes}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
