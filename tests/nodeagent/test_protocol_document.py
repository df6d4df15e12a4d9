"""docs/protocol.md says what the code does: each route, each error, and examples that decode."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodeagent import protocol
from nodeagent.protocol import ERRORS, ROUTES

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
EXAMPLES = re.findall(r"<!-- example: (\w+) -->\n```json\n(.*?)```", TEXT, re.DOTALL)


def name_of(kind: Any) -> str:
    if kind is None or kind is types.NoneType:
        return "-"
    if kind is bytes:
        return "bytes"
    if typing.get_origin(kind) is list:
        return f"list of {name_of(typing.get_args(kind)[0])}"
    if isinstance(kind, types.UnionType):
        return " or ".join("null" if part is types.NoneType else name_of(part) for part in kind.__args__)
    return str(kind.__name__)


def test_each_route_stands_in_the_table_with_its_types_and_its_right() -> None:
    rows = {
        (method, path): (request, answer, right)
        for method, path, request, answer, right in re.findall(
            r"^\| `(GET|POST|PUT) (\S+)` \| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|", TEXT, re.MULTILINE
        )
    }
    expected = {
        route: (name_of(request), name_of(answer), "operate" if operate else "monitor")
        for route, (request, answer, operate) in ROUTES.items()
    }
    expected["POST", "/agent/v1/hold"] = ("HoldRequest", "Hold", "monitor")
    assert rows == expected


def test_each_error_stands_in_the_table_with_its_status_and_owner() -> None:
    rows = {
        code: (int(status), owner)
        for code, status, owner in re.findall(r"^\| `([A-Z_.0-9]+)` \| (\d+) \| (\w+) \|", TEXT, re.MULTILINE)
    }
    assert rows == ERRORS


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_each_example_is_what_the_types_read_and_write(name: str, text: str) -> None:
    kind = getattr(protocol, name)
    value = msgspec.json.decode(text, type=kind)
    written = msgspec.json.decode(msgspec.json.encode(value))
    given = msgspec.json.decode(text)
    assert {key: written[key] for key in given} == given


def test_there_is_an_example_of_each_write_and_of_the_answers_a_console_lives_on() -> None:
    writes = {kind.__name__ for kind, _, _ in ROUTES.values() if kind is not None and kind is not bytes}
    assert {name for name, _ in EXAMPLES} >= writes | {"Status", "Telemetry", "Deployment", "LedgerEntry", "ErrorBody"}


def test_an_unknown_field_is_refused_in_a_request() -> None:
    for name, text in EXAMPLES:
        if name.endswith("Request"):
            longer = msgspec.json.encode({**msgspec.json.decode(text), "surprise": 1})
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(longer, type=getattr(protocol, name))
