"""docs/airgap.md as it stands, from an unopened box to a prediction, in a network without a route."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.__main__ import main
from store.archive import sign_archive
from store.signing import sign_with_key_file

ROOT = Path(__file__).parents[2]
WALK = Path(__file__).with_name("airgap_walk.py")

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def stick(made_kit: Any) -> Iterator[Path]:
    """The folder that was filled at the office. Its path is short, since sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="air-", dir="/tmp"))
    (folder / "agent.ostk").symlink_to(made_kit.path)
    shutil.copy(made_kit.signers_file, folder / "kit_signers")
    key = folder / "release_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    (folder / "release_signers").write_text(f'release namespaces="outstation-bundle" {public}\n')
    (folder / "built").mkdir()
    example = [str(ROOT / "examples" / "bearing"), "--pipeline", "pipeline.simulate.toml"]
    words = ["bundle", "build", *example, "-o", str(folder / "built")]
    assert main(["--home", str(folder / "office"), *words]) == 0
    (unsigned,) = (folder / "built").glob("*.ostn")
    sign_archive(unsigned, folder / "bearing-1.0.ostn", lambda data: sign_with_key_file(key, data))
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
    said = {step["line"].split()[0]: step["out"] for step in told["steps"]}
    assert len(said["records"].splitlines()) >= 4
    assert "press-07: passed, without a network, clock at 1970" in said["rehearse"]
    assert "noted a difference" in next(step["out"] for step in told["steps"] if step["line"].startswith("clock note"))
