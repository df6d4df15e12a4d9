"""A program of the plant posts sweeps to the model's own socket, and a real worker predicts and records."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

from store import records

PIPELINE = """
schema = 1
name = "pushed"

[[source]]
id = "in"
type = "push"
tags = ["a", "b", "c", "d"]

[model]
inputs = ["a", "b", "c", "d"]

[decide]
use = "alarm"
score = "y"
high = 10.0

[[sink]]
type = "record"
"""


def post(state: Path, source: str, value: object) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("node")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    connection.sock.connect(str(state / "run" / "m-press.sock"))
    connection.request("POST", f"/v2/models/press/sources/{source}", json.dumps(value))
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_what_is_posted_is_predicted_and_recorded(workers, bundles, state, until) -> None:
    workers.start()
    activation = bundles.pipeline(1, PIPELINE)
    workers.ask("ensure", activation=activation)
    sweep = {"values": {"a": 1, "b": 2, "c": 3, "d": 4}}
    assert post(state, "in", [sweep, sweep]) == (200, b'{"taken":2}')
    folder = Path(activation["records_dir"])
    until(lambda: len(records.query(folder, limit=10).records) == 2, "two records")
    status, answer = post(state, "in", {"values": {"x": 1}})
    assert (status, b"no tag 'x'" in answer) == (400, True)
    assert post(state, "other", sweep)[0] == 404
