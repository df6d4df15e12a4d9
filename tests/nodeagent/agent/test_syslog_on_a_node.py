"""Every ledger event of a real node also reaches a real syslog socket, with the hash that the ledger has."""

from __future__ import annotations

import re
import socket
import tempfile
from pathlib import Path
from typing import Any


def test_every_ledger_entry_of_a_node_reaches_syslog(make_agent: Any, workshop: Any) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(Path(folder) / "log"))
        log.setblocking(False)
        agent = make_agent(f'[syslog]\ntarget = "unix:{folder}/log"\n').start()
        agent.post("/hold", {"reason": "smoke"}, preface="OUTSTATION-AS alice operate\n")
        agent.post("/hold/release")
        agent.commit(workshop.bundle(1), "d1")
        heard: dict[int, str] = {}

        def all_of_it() -> bool:
            try:
                while True:
                    data = log.recv(65_536).decode("ascii")
                    seq, hash_ = re.search(r' seq="(\d+)"', data), re.search(r' hash="([0-9a-f]{64})"', data)
                    assert seq is not None
                    assert hash_ is not None
                    heard[int(seq[1])] = hash_[1]
            except BlockingIOError:
                entries = agent.get("/ledger?limit=1000")["entries"]
                return heard == {entry["seq"]: entry["hash"] for entry in entries}

        agent.eventually(all_of_it, "every entry to arrive")
        (check,) = [check for check in agent.get("/checks") if check["name"] == "syslog"]
        assert (check["verdict"], f"unix:{folder}/log" in check["text"]) == ("ok", True)
