"""Whole clusters under seeded faults: every invariant holds, and planted bugs are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from center.sim import __main__ as program
from center.sim import hunt
from center.sim.checkers.base import Violation
from center.sim.hunt import first_find
from center.sim.mutations import MUTATIONS
from center.sim.play import Outcome, play_seed
from center.sim.trace import Trace

pytestmark = [pytest.mark.sim, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 1000
FOUND_BY = {
    "promise not durable": (0, "I13"),
    "map not durable": (0, "I13"),
    "nothing durable": (0, "I13"),
    "promise before it is durable": (0, "I13"),
    "own promise not awaited": (6, "I13"),
    "map acked before it is durable": (0, "I13"),
    "pong before the map is durable": (2, "I13"),
    "own copy not awaited": (5, "I2"),
    "failed write counts": (6, "I13"),
    "first boot rule off": (51, "I3"),
    "loss of memory forgotten": (208, "I3"),
    "unborn cluster counts": (79, "L1"),
    "vote names another map": (0, "I13"),
    "no handshake": (61, "I7"),
    "half is a quorum": (0, "I7"),
    "any epoch promised": (156, "I1"),
    "epoch promised twice": (156, "I1"),
    "older epoch acked": (37, "I13"),
    "older epoch obeyed": (12, "I2"),
    "own map only": (31, "I3"),
    "map of the meantime overlooked": (728, "I3"),
    "leader commits alone": (0, "I2"),
    "any copy counts": (2, "I2"),
    "followers serve uncommitted": (1, "I2"),
    "commits not compared": (1, "I2"),
    "restart serves uncommitted": (103, "I5"),
    "older relay served": (68, "I2"),
    "clients take any map": (14, "I4"),
    "lease never ends": (1, "I6"),
    "longer lease forgotten": (93, "I6"),
    "lag stretches the lease": (1, "I6"),
    "lease counts from the answer": (2, "I6"),
    "larger epoch ignored": (728, "L1"),
    "expiry without a lease": (303, "I7"),
    "empty over full": (56, "I8"),
    "reports prove no life": (11, "I7"),
    "plan forgets the meantime": (6, "I7"),
    "mass expires": (56, "I8"),
    "last server refused": (7, "I8"),
    "moves without budget": (4, "I10"),
    "assignment by chance": (4, "I11"),
    "ballots not repeated": (2, "L1"),
    "established leader unseen": (0, "L3"),
    "leader yields to the looking": (0, "L2"),
    "other lists count": (17, "I7"),
    "outdated list accepted": (72, "I12"),
    "newcomers keep their folders": (309, "I3"),
    "digest without generation": (90, "I7"),
    "list not durable": (0, "I13"),
    "clients learn no list": (522, "I9"),
    "leavers go on": (17, "I12"),
    "list written first": (21, "L1"),
    "laggards not awaited": (604, "I3"),
    "last words not awaited": (604, "I3"),
    "newcomers told new": (267, "I1"),
}
"""The seed that shows each planted bug, and the invariant it breaks; production passes them all."""


@pytest.mark.slow
def test_every_invariant_holds() -> None:
    # a program of its own, which nobody traces: four times as fast
    done = subprocess.run(
        [sys.executable, "-m", "center.sim", "--seeds", str(SEEDS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{SEEDS} seeds from 0: 0 violations, ")


def test_seeds_shared_by_processes_are_played_once_and_in_order() -> None:
    played = list(program.outcomes(range(program.CHUNK + 1), 2))
    assert [each.seed for each in played] == list(range(program.CHUNK + 1))
    assert [program.verdict(each) for each in played if each.violation is not None] == []


KEPT = {
    # a silent server is dropped from a map, and reports 8 ms after that was asked for
    "report while the map is planned": 2106,
    # of four the leader reaches one until another one is back 60 ms later, and has its lease
    "lease of two contacts": 20632,
    # a center joins a leader that it has not elected, and votes for him by its own map
    "vote of another map": 13207,
    # one center forgets by a slip with its list, and two by a wiped disk: one too many
    "slip and wipes": 15130,
    # while a map is planned one server's port refuses, then the other says goodbye
    "last goodbye": 16671,
}


@pytest.mark.parametrize("seed", KEPT.values(), ids=KEPT)
def test_a_seed_that_once_went_wrong(seed: int) -> None:
    assert play_seed(seed).violation is None


def test_a_seed_replays_exactly() -> None:
    traces = [Trace(), Trace()]
    for trace in traces:
        play_seed(7, trace)
    assert traces[0].lines == traces[1].lines
    assert len(traces[0].lines) > 100


@pytest.mark.parametrize("index", range(len(MUTATIONS)), ids=lambda at: MUTATIONS[at].name)
def test_planted_bug_is_found(index: int) -> None:
    seed, invariant = FOUND_BY[MUTATIONS[index].name]
    find = first_find(index, [seed])
    assert find.outcome is not None, "draw its seed anew: python -m center.sim --mutants"
    assert find.outcome.violation is not None
    assert find.outcome.violation.invariant == invariant
    assert play_seed(seed).violation is None


@pytest.mark.parametrize("name", ["older epoch acked", "clients take any map"])
def test_a_planted_bug_does_not_show_in_every_seed(name: str) -> None:
    index = next(at for at, each in enumerate(MUTATIONS) if each.name == name)
    assert first_find(index, range(3)).outcome is None


def test_hunt_prints_what_it_finds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what seed 0 shows, and what it does not
    kept = [each for each in MUTATIONS if each.name in ("nothing durable", "no handshake")]
    monkeypatch.setattr(hunt, "MUTATIONS", kept)
    assert program.main(["--mutants", "--seeds", "1", "--jobs", "1"]) == 1
    head, *lines, verdict = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["mutation", "seed", "by"]
    assert [line.split()[2:4] for line in lines] == [["0", "I13"], ["-", "-"]]
    assert verdict == "2 mutations, 1 unseen by 1 seeds from 0"
    monkeypatch.setattr(hunt, "MUTATIONS", kept[:1])
    assert program.main(["--mutants", "--seeds", "1"]) == 0


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
