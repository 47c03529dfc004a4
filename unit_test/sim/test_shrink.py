"""A failing seed loses the faults that it fails without, and what remains can be kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from center.sim import __main__ as program
from center.sim import disk, faults, network
from center.sim import scenario as scenarios
from center.sim.checkers.base import Violation
from center.sim.faults import Aim, Cut, Fault, Moment, Pause, ServerCrash, StepCrash
from center.sim.mutations import MUTATIONS, applied
from center.sim.play import Outcome, play
from center.sim.scenario import Scenario, drawn
from center.sim.shrink import shrunk, source

pytestmark = [pytest.mark.sim, pytest.mark.timeout(240)]

CUT = Cut(0.5, 1.0, ((1, 2),))
PAUSE = Pause(1.0, Aim(2, leader=True), 0.3)
CRASH = StepCrash(0.2, Aim(3), Moment.DURABLE, 1, 0.5, 0.4)


def read(text: str) -> Scenario:
    names = {**vars(faults), **vars(network), **vars(disk), **vars(scenarios)}
    found = eval(text, names)  # the text is ours: that it is Python is what is tested
    assert isinstance(found, Scenario)
    return found


def test_only_what_it_fails_without_is_left_out() -> None:
    many: tuple[Fault, ...] = tuple(replace(CUT, at_s=at / 10) for at in range(20))
    whole = drawn(3)
    whole = replace(whole, servers=2, faults=(*many, PAUSE, ServerCrash(0.1, 1, 1.0), CRASH))
    played = 0

    def judge(given: Scenario) -> Outcome:
        nonlocal played
        played += 1
        bad = PAUSE in given.faults and CRASH in given.faults and given.weather == whole.weather
        other = Violation("I2", "another one") if not given.faults else None
        return Outcome(0, Violation("I1", "it") if bad else other, None, 1.0)

    small = shrunk(whole, judge)
    assert small.faults == (PAUSE, CRASH)
    assert (small.weather, small.servers, small.clients) == (whole.weather, 0, 0)
    assert (small.seed, small.centers) == (whole.seed, whole.centers)
    assert played < 200


def test_what_does_not_fail_stays_as_it_is() -> None:
    whole = drawn(3)
    assert shrunk(whole, lambda given: Outcome(0, None, None, 1.0)) is whole


def test_a_scenario_is_read_back_from_what_is_printed() -> None:
    for seed in range(30):
        assert read(source(drawn(seed))) == drawn(seed)
    assert source(Scenario(3, faults=(PAUSE,))) == (
        "Scenario(seed=3, faults=(Pause(at_s=1.0, aim=Aim(center=2, leader=True), span_s=0.3),))"
    )


def test_the_seed_of_a_planted_bug_is_shrunk_and_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    planted = next(each for each in MUTATIONS if each.name == "failed write counts")
    with applied(planted):
        assert program.main(["--seed", "47", "--shrink"]) == 1
        verdict, needed, text = capsys.readouterr().out.splitlines()
        kept = read(text)
        assert len(kept.faults) < len(drawn(47).faults)
        found = play(kept).violation
        assert found is not None
        assert f"seed 47: {found}" == verdict
        assert needed == f"{len(kept.faults)} of {len(drawn(47).faults)} faults are needed:"
        for index in range(len(kept.faults)):
            rest = kept.faults[:index] + kept.faults[index + 1 :]
            without = play(replace(kept, faults=rest)).violation
            assert without is None or without.invariant != found.invariant
    assert play(kept).violation is None
    assert program.main(["--seed", "47", "--shrink", "--trace"]) == 0
