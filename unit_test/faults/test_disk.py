"""A center whose disk is full: one line, and the cluster goes on; it recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit_test.faults.stage import CALM, Stage
from unit_test.faults.trials import DISK_TRIALS

pytestmark = [pytest.mark.live, pytest.mark.slow]

DISK_KIB = 256


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stage]:
    """Give centers with small disks of their own, and a client that calls."""
    with Stage(tmp_path, settings=CALM, disk_kib=DISK_KIB) as stage:
        stage.populate()
        yield stage


@pytest.mark.parametrize("name", DISK_TRIALS)
def test_a_full_disk_of_one_center_stops_nobody_else(stage: Stage, name: str) -> None:
    trial = DISK_TRIALS[name](stage)
    assert (trial.faults, trial.failed, trial.two_claimants_ms) == ([], 0, 0.0)
    assert trial.leader_changes == ("leader" in name)
