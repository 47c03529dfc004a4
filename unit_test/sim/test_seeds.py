"""Whole clusters under seeded faults: every invariant holds, and planted bugs are found."""

from __future__ import annotations

import pytest

from center.sim import __main__ as program
from center.sim.checkers.base import Violation
from center.sim.play import Outcome, play_seed
from center.sim.trace import Trace
from unit_test.sim.mutations import MUTATIONS

pytestmark = [pytest.mark.sim, pytest.mark.timeout(240)]

SEEDS = 150
FOUND_WITHIN = {
    "promise_is_not_written": range(40),
    "map_is_not_written": range(10),
    "leader_commits_alone": range(10),
    "candidate_leads_alone": range(10),
    "lease_never_ends": range(10),
    "wiped_center_votes": range(20, 80),
}
"""Seeds among which each planted bug shows; production passes all of them."""


def test_every_invariant_holds() -> None:
    wrong = [str(o.violation) for o in map(play_seed, range(SEEDS)) if o.violation is not None]
    assert wrong == []


def test_a_seed_replays_exactly() -> None:
    traces = [Trace(), Trace()]
    for trace in traces:
        play_seed(7, trace)
    assert traces[0].lines == traces[1].lines
    assert len(traces[0].lines) > 100


@pytest.mark.parametrize("name", list(MUTATIONS))
def test_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name](monkeypatch)
    assert any(play_seed(seed).violation is not None for seed in FOUND_WITHIN[name])


def test_program_plays_seeds_and_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--seeds", "2", "--jobs", "1"]) == 0
    assert "2 seeds from 0: 0 violations" in capsys.readouterr().out
    assert program.main(["--seeds", "3", "--first", "5", "--jobs", "2"]) == 0
    assert "3 seeds from 5: 0 violations" in capsys.readouterr().out
    assert program.main(["--seed", "3"]) == 0
    assert capsys.readouterr().out == "seed 3: every invariant holds\n"
    assert program.main(["--seed", "3", "--trace"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 100


def test_program_names_the_seed_that_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seed: int, trace: Trace | None = None) -> Outcome:
        return Outcome(seed, Violation("I1", "two leaders"), None, 1.0)

    monkeypatch.setattr(program, "play_seed", fail)
    assert program.main(["--seeds", "30", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert "seed 0: I1: two leaders" in out
    assert "30 seeds from 0: 30 violations" in out
    assert program.main(["--seed", "9"]) == 1
