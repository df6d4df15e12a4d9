"""docs/airgap.md as it stands, from an unopened box to a prediction, in a network without a route."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.__main__ import main
from console.cli.parser import add_verbs

ROOT = Path(__file__).parents[2]
WALK = Path(__file__).with_name("airgap_walk.py")
PAGE = (ROOT / "docs" / "airgap.md").read_text("utf-8")
OFFICE = re.findall(r"^office\$ outstation (.+)$", PAGE, re.MULTILINE)

pytestmark = pytest.mark.timeout(400)


def made_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outstation")
    add_verbs(parser)
    return parser


@pytest.fixture
def stick(made_kit: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that was filled at the office. Its path is short, since sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="air-", dir="/tmp"))
    (folder / "agent.ostk").symlink_to(made_kit.path)
    shutil.copy(made_kit.signers_file, folder / "kit_signers")
    key = folder / "release_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    (folder / "release_signers").write_text(f'release namespaces="outstation-bundle" {public}\n')
    (folder / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(folder)
    for line in OFFICE:
        if line.startswith("kit build"):  # it takes an index and its time: the tests have one made by the same words
            made_parser().parse_args(shlex.split(line))
        else:
            assert main(["--home", str(folder / "office"), *shlex.split(line)]) == 0, line
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_the_page_leads_from_a_box_to_a_prediction_where_nothing_leads_out(stick: Path) -> None:
    command = ["unshare", "--net", sys.executable, str(WALK), str(stick)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.fail("NOT RUN: this needs the right to make a network namespace; as root it works in a container too")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["routes"] == ""
    assert [step for step in told["steps"] if step["code"] != 0] == []
    assert [step["page"] for step in told["steps"]] == [line for line in commands() if not line.startswith("office$")]
    said = {step["page"].split()[2]: step["out"] for step in told["steps"] if step["page"].startswith("$ ")}
    assert len(said["records"].splitlines()) >= 4
    assert "press-07: passed, without a network, clock at 1970" in said["rehearse"]
    assert "press-09" in said["diode"]
    assert "noted a difference" in next(step["out"] for step in told["steps"] if "clock note" in step["line"])


def commands() -> list[str]:
    """Every line of the page's fences that begins with a prompt."""
    fenced = "".join(PAGE.split("```")[1::2])
    return re.findall(r"^[a-z0-9-]*\$ .+$", fenced, re.MULTILINE)


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(groups[0].choices) if groups else {}


def test_every_command_of_the_page_has_a_prompt_and_every_verb_that_it_names_exists() -> None:
    fenced = "".join(PAGE.split("```")[1::2])
    assert [line for line in fenced.splitlines() if line.startswith(("outstation", "ssh", "sudo", "pip"))] == []
    for named in re.findall(r"`outstation ([a-z -]+)", PAGE):
        parser = made_parser()
        for word in named.split():
            if not verbs(parser):
                break
            assert word in verbs(parser), f"outstation {named}"
            parser = verbs(parser)[word]
