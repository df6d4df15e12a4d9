"""`outstation doctor --term` in a terminal that answers, in one that draws bytes, and in one that says nothing."""

from __future__ import annotations

import json
import os
import termios
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]
DOCTOR = "import sys; from console.__main__ import main; sys.exit(main(['doctor', '--term', *sys.argv[1:]]))"


def _run(start: Start, *options: str, answers: bool = True, charset: str = "G", **how: Any) -> tuple[int, str]:
    with start(*options, script=DOCTOR, lines=40, **how) as rig:
        before = termios.tcgetattr(rig.fd)
        if answers:
            rig.screen.write_process_input = lambda data: os.write(rig.fd, data.encode())
        rig._stream.select_other_charset(charset)
        code = rig.wait()
        assert termios.tcgetattr(rig.fd) == before
        return code, rig.text()


def test_a_terminal_that_answers_is_measured_and_left_as_it_was(sample_app: Start) -> None:
    code, text = _run(sample_app)
    assert code == 0
    assert "80 x 40" in text
    assert "one column each" in text
    assert "ms, link lan" in text


def test_a_terminal_that_draws_bytes_instead_of_signs_is_found_out(sample_app: Start) -> None:
    code, text = _run(sample_app, charset="@")
    assert code == 1
    assert "OUTSTATION_ASCII=1" in text


def test_a_silent_terminal_is_not_waited_for_long_and_json_is_one_document(sample_app: Start) -> None:
    code, text = _run(sample_app, "--json", answers=False, columns=2000, environ={"NO_COLOR": "1"})
    assert code == 0
    found = {each["name"]: each for each in json.loads(text[text.index("[") : text.rindex("]") + 1])}
    assert "not known" in found["round trip"]["value"]
    assert "NO_COLOR" in found["colours"]["advice"]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_is_asked_nothing_and_sent_to_plain(sample_app: Start, term: str) -> None:
    code, text = _run(sample_app, environ={"TERM": term})
    assert code == 1
    assert "--plain" in text
