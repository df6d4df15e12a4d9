"""SIGKILL around the commits of a node's life: a sample. `make faults` kills at every point, whoever can be killed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import kills


@pytest.fixture(scope="module")
def story(make_agents: Any, workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> kills.Story:
    """A node with two committed bundles, one for all cases of this file."""
    return kills.begin(make_agents, workshop, tmp_path_factory.mktemp("crash"))


@pytest.mark.parametrize("case", kills.sample(), ids=str)
def test_i1_i2_i3_i5_i6_i15_i16_a_kill_around_a_commit_leaves_old_or_new_and_loses_nothing(
    story: kills.Story, case: kills.Case
) -> None:
    assert kills.kill(story, case) == []
