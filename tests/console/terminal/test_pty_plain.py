"""`outstation --plain` and TERM=dumb in a terminal: lines, a prompt, the same verbs, and not one sequence."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.fleet.view import NodeAddress
from console.home import Home, row_of

Start = Callable[..., Any]
OUTSTATION = "import sys; from console.__main__ import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A console with one node, where nobody listens."""
    with Home(tmp_path / "home").open_catalog() as catalog:
        catalog.put_node(row_of(NodeAddress("press-07", "127.0.0.1", port=1, user="plant")))
    return tmp_path / "home"


def test_a_dumb_terminal_gets_lines_and_no_cursor_is_ever_moved(sample_app: Start, home: Path) -> None:
    with sample_app("--home", str(home), script=OUTSTATION, environ={"TERM": "dumb"}) as rig:
        rig.until_text("outstation>")
        rig.until_text("1 node: 1 UNKN")
        rig.press("help hold\r")
        rig.until_text("hold NODE: Outputs to the safe value")
        rig.press("node list\r")
        rig.until_text("127.0.0.1")
        rig.press('"open\r')
        rig.until_text("close the quotes")
        rig.press("nonsense\r")
        rig.until_text("exit code 2")
        rig.press("quit\r")
        assert rig.wait() == 0
        assert b"\x1b" not in rig.raw


def test_ctrl_c_ends_a_verb_and_not_the_prompt_and_a_node_added_is_told(sample_app: Start, home: Path) -> None:
    with sample_app("--plain", "--home", str(home), script=OUTSTATION) as rig:
        rig.until_text("1 node: 1 UNKN")
        rig.press("pipeline try nothing.toml --from -\r")
        rig.press("\x03")
        rig.until(lambda: rig.text().rstrip().endswith("outstation>"), "the prompt again")
        rig.press("\x03")
        rig.until_text("quit leaves")
        rig.press("node remove press-07 --yes\r")
        rig.until_text("no longer in the fleet")
        rig.press("\x04")
        assert rig.wait() == 0


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(sample_app: Start, home: Path, ends: signal.Signals) -> None:
    with sample_app("--plain", "--home", str(home), script=OUTSTATION) as rig:
        rig.until_text("outstation>")
        os.kill(rig.pid, ends)
        assert rig.wait() == -ends
