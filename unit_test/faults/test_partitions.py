"""Cuts between centers that are hosts of their own, and centers that are killed or frozen.

A few trials of each; `tools/measure_partitions.py` does each twenty times and prints figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from unit_test.faults.stage import CALM, Stage
from unit_test.faults.trials import FIVE_TRIALS, RESETS, TRIALS

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

CALM_LEASE_MS = 1000.0
SOON_MS = 5000.0
"""Ample: how soon it is on an idle machine, the tool tells."""


@pytest.mark.parametrize(
    "names",
    [
        ("leader isolated", "leader hears nobody", "nobody hears the leader"),
        (*RESETS, "leader killed", "leader frozen"),
    ],
    ids=["cut", "process"],
)
def test_a_lost_leader_is_replaced_once_and_does_not_claim_beside_the_next(
    stage: Stage, names: tuple[str, ...]
) -> None:
    for name in names:
        trial = TRIALS[name](stage)
        assert trial.faults == [], name
        assert (trial.leader_changes, trial.failed) == (1, 0), name
        assert trial.two_surely_ms <= (CALM_LEASE_MS if name in RESETS else 0.0), name
        assert trial.took_ms is not None
        assert trial.took_ms < SOON_MS, name


@pytest.mark.parametrize(
    "names",
    [
        ("follower cut off", "link of two followers cut", "link of leader and follower cut"),
        ("follower does not hear the leader", "leader does not hear a follower"),
    ],
    ids=["both ways", "one way"],
)
def test_a_follower_or_a_link_that_is_cut_and_healed_changes_no_leader(
    stage: Stage, names: tuple[str, ...]
) -> None:
    for name in names:
        trial = TRIALS[name](stage)
        assert trial.faults == [], name
        assert (trial.leader_changes, trial.outage_ms, trial.failed) == (0, 0.0, 0), name
        if trial.lag_ms is not None:
            assert trial.lag_ms < SOON_MS, name


def test_a_minority_of_five_and_five_without_any_quorum_change_nothing(
    networks: None, tmp_path: Path
) -> None:
    with Stage(tmp_path, centers=5, settings=CALM) as stage:
        stage.populate()
        for name, run in FIVE_TRIALS.items():
            trial = run(stage)
            assert trial.faults == [], name
            assert (trial.two_surely_ms, trial.leader_changes, trial.failed) == (0.0, 1, 0), name


def test_with_every_center_dead_no_call_fails_and_no_map_goes_back(stage: Stage) -> None:
    trial = TRIALS["every center killed"](stage)
    assert (trial.faults, trial.failed) == ([], 0)
    assert trial.calls >= 100
