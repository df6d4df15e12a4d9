"""What an infer request costs, counted and not timed: system calls and calls of functions in the serving process.

The figures are those of the day with a margin; who goes over one has made the hot path longer, and says why.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodeagent.http.server import HttpServer
from nodeagent.model.batch_probe import probe
from nodeagent.model.inference import Model
from nodeagent.serving.v2 import V2, Served

REQUESTS = 200
# Calls of Python functions, and of C functions with the system calls among them; of asyncio's and of ours.
COUNTED = {"binary": (72, 85), "JSON": (76, 91)}
MARGIN = 1.1


def request(*, binary: bool) -> bytes:
    x = np.arange(16, dtype="<f4")
    tensor: dict[str, Any] = {"name": "x", "shape": [1, 16], "datatype": "FP32"}
    if not binary:
        body = json.dumps({"inputs": [tensor | {"data": x.tolist()}]}).encode()
        return b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    asked = {"inputs": [tensor | {"parameters": {"binary_data_size": x.nbytes}}]}
    head = json.dumps(asked | {"parameters": {"binary_data_output": True}}).encode()
    lines = b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(head), len(head) + x.nbytes)
    return b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: a\r\n" + lines + head + x.tobytes()


def ask(client: socket.socket, data: bytes, times: int, at_once: int = 1) -> None:
    """Sends `times` requests, `at_once` in one write, and reads their answers."""
    for _ in range(times // at_once):
        client.sendall(data * at_once)
        seen = b""
        while seen.count(b"HTTP/1.1 200") < at_once:  # an answer is one write, and fits one read
            seen += client.recv(1 << 16)


def counted(folder: Path, model: Path, data: bytes, at_once: int = 1) -> Counter[str]:
    """Calls in the thread of the server: `python`, `builtin`, and by name those of the socket and the poll."""
    counts: Counter[str] = Counter()

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            counts["python"] += 1
        elif event == "c_call":
            counts["builtin"] += 1
            if argument.__name__ in ("recv_into", "recv", "send", "sendmsg", "poll"):
                counts[argument.__name__] += 1

    async def scenario() -> None:
        v2 = V2()
        loaded = Model.load(model)
        v2.add(Served(loaded, "1", probe(loaded)))
        server = HttpServer(v2.handle, fast=v2.fast, report=lambda error: None)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(folder / "s"))
        listening.listen(4)
        await server.serve(listening)
        loop, warm, done = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        go = threading.Event()

        def client() -> None:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(folder / "s"))
                ask(connection, data, 20)
                loop.call_soon_threadsafe(warm.set)
                go.wait()
                ask(connection, data, REQUESTS, at_once)
                loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=client)
        thread.start()
        await warm.wait()
        sys.setprofile(profile)
        go.set()
        await done.wait()
        sys.setprofile(None)
        thread.join()
        await server.close()

    asyncio.run(scenario())
    return counts


@pytest.mark.parametrize("form", COUNTED)
def test_a_request_costs_one_read_one_write_and_a_bounded_number_of_calls(
    tmp_path: Path, models: dict[str, Path], form: str
) -> None:
    counts = counted(tmp_path, models["tiny"], request(binary=form == "binary"))
    python, builtin = COUNTED[form]
    assert counts["send"] <= REQUESTS + 2
    assert counts["recv_into"] + counts["recv"] <= REQUESTS + 4
    assert counts["poll"] <= 3 * REQUESTS
    assert counts["python"] <= python * REQUESTS * MARGIN
    assert counts["builtin"] <= builtin * REQUESTS * MARGIN


def test_requests_that_come_together_are_read_run_and_answered_together(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    counts = counted(tmp_path, models["tiny"], request(binary=True), at_once=20)
    assert counts["send"] <= REQUESTS / 20 * 2
    assert counts["recv_into"] <= REQUESTS / 20 * 2 + 4
    assert counts["python"] <= COUNTED["binary"][0] * REQUESTS / 2
