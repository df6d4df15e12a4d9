"""What a person at the node asks of its agent, over the node's own socket: hold, release, status, check."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from nodeagent.model import onnx_walk, wire
from nodeagent.protocol import API, Check, ErrorBody, Hold, HoldRequest, Status
from nodeagent.settings import SettingsError, load

TIMEOUT_S = 30.0
CHECKS_S = 180.0
SYMBOLS = {"ok": ".", "warn": "!", "bad": "X", "unknown": "?"}
ANSWER_BYTES_MAX = 4 << 20


class Failed(Exception):
    """The agent did not answer, or refused; the text is for the person."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("node", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def run(verb: str, state: Path, *, reason: str, as_json: bool) -> int:
    """Does one verb and says what came of it. Exit status 0, or 1 with the cause on stderr."""
    try:
        path = load(state).run_dir(state) / "agent.sock"
        return {"hold": _hold, "release": _release, "status": _status}[verb](path, reason, as_json)
    except (Failed, SettingsError) as error:
        print(f"outstation-agent {verb}: {error}", file=sys.stderr)
        return 1


def check(state: Path, *, as_json: bool) -> int:
    """Lets the node look at itself; without an agent that answers, what can be seen of the machine. Status 1: ill."""
    try:
        settings = load(state)
        data = ask(settings.run_dir(state) / "agent.sock", "GET", f"{API}/checks", timeout_s=CHECKS_S)
        found = msgspec.json.decode(data, type=list[Check])
    except SettingsError as error:
        print(f"outstation-agent check: {error}", file=sys.stderr)
        return 1
    except Failed as error:
        from nodeagent.checks.all import without_agent

        found = without_agent(state, settings, str(error))
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        width = max(len(each.name) for each in found)
        for each in found:
            print(
                f"{SYMBOLS[each.verdict]} {each.name:{width}}  {each.text}"
                + f"\n  {'':{width}}  > {each.advice}" * bool(each.advice)
            )
    return int(any(each.verdict == "bad" for each in found))


def inspect_model(file: Path, *, as_json: bool) -> int:
    """Prints the facts of an ONNX file as JSON, or in words. Exit status 1: refused, and why on stderr."""
    try:
        facts = onnx_walk.walk(file)
    except (wire.Refused, OSError) as error:
        print(f"outstation-agent inspect-model: {file}: {error}", file=sys.stderr)
        return 1
    plain = facts._asdict()
    for side in ("inputs", "outputs"):
        plain[side] = [{**tensor._asdict(), "shape": list(tensor.shape or ())} for tensor in plain[side]]
    if as_json:
        print(json.dumps(plain, sort_keys=True))
        return 0
    print(f"opsets {plain['opsets']}, IR {facts.ir_version}, {facts.nodes} nodes, {facts.weight_bytes / 1e6:.2f} MB")
    for side in ("inputs", "outputs"):
        for tensor in plain[side]:
            print(f"{side[:-1]} {tensor['name']}: {tensor['datatype']} {tensor['shape']}")
    return 0


def _hold(path: Path, reason: str, as_json: bool) -> int:
    hold = msgspec.json.decode(_post(path, f"{API}/hold", reason), type=Hold)
    print(f"outputs are at the safe value: held by {hold.by}")
    return 0


def _release(path: Path, reason: str, as_json: bool) -> int:
    _post(path, f"{API}/hold/release", reason)
    print("released")
    return 0


def _status(path: Path, reason: str, as_json: bool) -> int:
    data = ask(path, "GET", f"{API}/status")
    if as_json:
        print(data.decode())
        return 0
    status = msgspec.json.decode(data, type=Status)
    telemetry = status.telemetry
    print(
        f"{status.name} ({status.node_id}), agent {status.agent_version}, {telemetry.mode}, {status.signers} signer(s)"
    )
    for bundle in telemetry.bundles:
        print(f"  {bundle.bundle} {bundle.version} r{bundle.revision}: {bundle.state} {bundle.reason}".rstrip())
        if bundle.trial is not None:
            print(f"    on trial, goes back in {bundle.trial.seconds_left:.0f} s unless confirmed")
    for alert in telemetry.alerts:
        print(f"  ! {alert.code} {alert.subject}: {alert.message}")
    return 0


def _post(path: Path, target: str, reason: str) -> bytes:
    status = msgspec.json.decode(ask(path, "GET", f"{API}/status"), type=Status)
    name = pwd.getpwuid(os.getuid()).pw_name
    request = HoldRequest(node_id=status.node_id, reason=reason or f"on the node, by {name}")
    return ask(path, "POST", target, msgspec.json.encode(request))


def ask(path: Path, method: str, target: str, body: bytes | None = None, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """The body of a good answer. Raises Failed with the agent's own words for a refusal."""
    connection = _Connection(path, timeout_s)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        data = answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{path}: {error}; does the agent run?") from error
    finally:
        connection.close()
    if answer.status < 300:
        return data
    raise Failed(_refusal(data))


def _refusal(data: bytes) -> str:
    try:
        error: Any = msgspec.json.decode(data, type=ErrorBody).error
    except msgspec.DecodeError:
        return "the agent's answer cannot be read"
    return f"{error.message} ({error.code}). {error.hint}".strip()
