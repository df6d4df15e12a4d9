"""The service units: what systemd itself says of them, and what may not be missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nodeagent.installation.journal import SetupError
from nodeagent.installation.layout import Layout
from nodeagent.installation.systemd import unit_text

LAYOUT = Layout(Path("/opt/outstation"), Path("/var/lib/outstation"))
EXPOSURE_MAX = 2.0


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_systemd_finds_the_systems_unit_exposed_at_most_2_0_and_without_fault(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.fail("NOT RUN: systemd-analyze is missing; as root: apt-get install systemd")
    text = unit_text(LAYOUT, user=False, account="daemon").replace(str(LAYOUT.agent()), shutil.which("true") or "")
    unit = tmp_path / "outstation-agent.service"
    unit.write_text(text)
    said = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    words = [analyze, "security", "--offline=yes", "--no-pager", str(unit)]
    judged = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", judged)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("user", [False, True])
def test_a_unit_watches_the_agent_restarts_it_for_ever_and_leaves_workers_the_plants_network(user: bool) -> None:
    text = unit_text(LAYOUT, user=user)
    assert values(text, "ExecStart") == ["/opt/outstation/current/outstation-agent run --state /var/lib/outstation"]
    assert values(text, "Type") == ["notify"]
    assert values(text, "Restart") == ["always"]
    assert values(text, "WatchdogSec") == ["30"]
    assert set(values(text, "RestrictAddressFamilies")[0].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}
    assert values(text, "MemoryDenyWriteExecute") == ["yes"]
    assert "$" not in text


def test_serial_devices_stay_reachable_and_a_node_without_their_group_gets_no_such_line() -> None:
    assert "char-ttyUSB rw" in values(unit_text(LAYOUT, user=False), "DeviceAllow")
    assert values(unit_text(LAYOUT, user=False, serial_group=""), "SupplementaryGroups") == []


def test_a_path_that_a_unit_would_read_otherwise_is_refused() -> None:
    with pytest.raises(SetupError, match="a space or a sign"):
        unit_text(Layout(Path("/opt/out station"), LAYOUT.state), user=False)
