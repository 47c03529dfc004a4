"""The verdict of the tool that repeats the trials: each broken promise is named."""

from __future__ import annotations

import pytest

from tools.measure_partitions import MEDIAN_TRIALS_MIN, Row, main, promise_of
from unit_test.faults.trials import DISK_TRIALS, FIVE_TRIALS, LOST, TRIALS, Trial

REPLACED = Trial(took_ms=80.0, handover_ms=90.0, leader_changes=1, calls=100)
KEPT = Trial(lag_ms=700.0, calls=100)


def troubles(fault: str, *trials: Trial) -> list[str]:
    return Row(fault, list(trials)).troubles(promise_of(fault))


def test_what_was_promised_is_no_trouble() -> None:
    for fault in (*TRIALS, *FIVE_TRIALS, *DISK_TRIALS):
        replaced = {*LOST, *FIVE_TRIALS, "disk of the leader full"}
        assert troubles(fault, REPLACED if fault in replaced else KEPT) == [], fault


@pytest.mark.parametrize(
    ("fault", "trial", "named"),
    [
        ("leader killed", Trial(took_ms=301.0, leader_changes=1), "slowest 301 ms, promised 300"),
        ("leader isolated", Trial(took_ms=9.0, leader_changes=2), "2 leader changes, not 1"),
        ("leader frozen", Trial(9.0, 9.0, 0.5, 1), "two centers claimed to lead for 0.5 ms"),
        ("follower cut off", Trial(leader_changes=1), "1 leader changes, not 0"),
        ("follower cut off", Trial(outage_ms=3.0), "the leader that stayed did not lead for 3 ms"),
        ("link of two followers cut", Trial(lag_ms=1001.0), "maps 1001 ms old, promised 1000"),
        ("every center killed", Trial(calls=9, failed=2), "2 of 9 calls failed"),
        ("disk of a follower full", Trial(faults=["said in its log: []"]), "said in its log"),
    ],
)
def test_a_broken_promise_is_named(fault: str, trial: Trial, named: str) -> None:
    assert [each for each in troubles(fault, trial) if each.startswith(named)]


@pytest.mark.parametrize(
    ("fault", "took_ms", "named"),
    [
        ("leader killed", 101.0, "median 101 ms, promised 100"),
        ("leader isolated", 801.0, "median 801 ms, promised 800"),
    ],
)
def test_a_median_is_judged_where_there_are_enough_trials_for_one(
    fault: str, took_ms: float, named: str
) -> None:
    trial = Trial(took_ms=took_ms, leader_changes=1)
    assert troubles(fault, *[trial] * MEDIAN_TRIALS_MIN) == [named]
    assert troubles(fault, *[trial] * (MEDIAN_TRIALS_MIN - 1)) == []


def test_a_trial_that_did_not_end_is_trouble() -> None:
    row = Row("follower cut off", broken=["trial 1: did not happen within 20 s"])
    assert row.troubles(promise_of(row.fault)) == row.broken
    assert row.cells()[:2] == ["follower cut off", "0"]


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--only", "leadr"], "no fault has 'leadr' in its name"), (["--rounds", "0"], "at least 1")],
)
def test_what_tries_nothing_keeps_no_promise(
    words: list[str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["measure_partitions", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert named in capsys.readouterr().err
