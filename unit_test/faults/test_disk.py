"""A center whose disk is full: one line, and the cluster goes on; it recovers by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit_test.faults.stage import CALM, Stage
from unit_test.faults.trials import DISK_TRIALS

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

DISK_KIB = 256


def test_a_full_disk_of_one_center_stops_nobody_else(networks: None, tmp_path: Path) -> None:
    with Stage(tmp_path, settings=CALM, disk_kib=DISK_KIB) as stage:
        stage.populate()
        for name, run in DISK_TRIALS.items():
            trial = run(stage)
            assert (trial.faults, trial.failed, trial.two_surely_ms) == ([], 0, 0.0), name
            assert trial.leader_changes == ("leader" in name), name
