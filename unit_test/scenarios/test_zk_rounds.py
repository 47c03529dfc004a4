"""Who is elected, in which round: F1-F9, F11, F13 of the table in `test_table`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from center.core.ballot import Ballot, State
from center.core.events import LinkDown
from center.core.messages import Confirmation, Proposal
from unit_test.scenarios.play import CALM_S, Play

Staged = Callable[..., Play]


@pytest.mark.parametrize("elections", [1, 2, 3])
def test_f01_elections_of_seven(staged: Staged, elections: int) -> None:
    play = staged(7, brief=True)
    play.start()
    dead: list[int] = []
    for _ in range(elections - 1):
        play.run_until(lambda: bool(play.leaders()))
        dead.append(play.leader())
        play.kill(dead[-1])
    leader = play.settle()
    assert sorted(play.states().values()) == [State.FOLLOWING] * (6 - len(dead)) + [State.LEADING]
    assert not {play.node(each).snapshot(play.now_s).leader for each in play.states()} & {*dead}
    for each in dead:
        play.start(each)
    assert play.settle() == leader
    assert len(play.reigns()) == elections


def test_f04_a_third_center_joins(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.start(1)
    play.start(2)
    leader = play.settle()
    play.start(3)
    assert play.run_until(lambda: play.state(3) is State.FOLLOWING) < 0.05
    assert (play.settle(), play.ever(3, State.LEADING)) == (leader, False)
    assert len(play.reigns()) == 1


def test_f05_a_member_tells_another_round(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.start(1)
    play.start(2)
    leader = play.settle()

    def tamper(sender: int, to: int, body: Any) -> Any:
        if isinstance(body, Proposal) and (sender, to) == (1, 3):
            return replace(
                body, round=body.round + 100, ballot=replace(body.ballot, epoch=77, version=9)
            )
        return body

    play.tamper = tamper
    play.start(3)
    assert play.run_until(lambda: play.state(3) is State.FOLLOWING) < 0.05
    assert (play.settle(), len(play.reigns())) == (leader, 1)


def test_f06_a_fresh_center_meets_one_in_a_later_round(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.start(2)
    play.start(3)
    assert play.settle() == 3
    play.kill(3)
    play.run(CALM_S)
    assert play.state(2) is State.LOOKING
    play.start(1)
    assert play.settle(1.0) == 2


@pytest.mark.parametrize("who", ["follower", "leader"])
def test_f07_a_center_is_rebuilt_over_its_disk(staged: Staged, who: str) -> None:
    play = staged(3)
    play.start()
    leader = play.settle()
    rebuilt = leader if who == "leader" else 1
    play.kill(rebuilt)
    play.start(rebuilt)
    assert play.settle() == (2 if who == "leader" else leader)
    assert len(play.reigns()) == (2 if who == "leader" else 1)


def test_f08_a_changed_vote_is_lost_and_only_its_outcome_arrives(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.mock(1)
    play.start(3)
    play.says(1, 3, play.vote(1))
    assert play.heard_of(1, Proposal)[-1].ballot.id == 3
    play.note("1 votes for 3 now, which is lost; then it says that it follows 3")
    play.says(1, 3, play.vote(3, state=State.FOLLOWING, epoch=4))
    play.run_until(lambda: bool(play.heard_of(1, Confirmation)))
    play.promise(1, 3, play.heard_of(1, Confirmation)[-1].epoch)
    assert play.state(3) is State.LEADING


def test_f09_stale_votes_elect_nobody_again(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.mock(2, 3)
    play.start(1)
    stale = play.vote(1, state=State.FOLLOWING, epoch=4)
    for mock in (2, 3):
        play.says(mock, 1, stale)
    play.run_until(lambda: bool(play.heard_of(2, Confirmation)))
    play.note("nobody promises anything: 1 gives up, and looks in round 2")
    play.run_until(lambda: play.heard_of(2, Proposal)[-1].round == 2, 3.0)
    asked = len(play.heard_of(2, Confirmation))
    for mock in (2, 3):
        play.says(mock, 1, stale)
    play.run(2.0)
    assert play.state(1) is State.LOOKING
    assert len(play.heard_of(2, Confirmation)) == asked


def test_f11_votes_of_different_rounds_make_no_quorum(staged: Staged) -> None:
    play = staged(7)
    play.remember()
    play.mock(2, 3, 4, 5, 6, 7)
    play.start(1)
    for mock, number in ((2, 1), (3, 2), (4, 3), (5, 3)):
        play.says(mock, 1, play.vote(7, round=number))
    play.run(CALM_S)
    assert play.state(1) is State.LOOKING, "five name 7, three of them in one round"
    play.says(6, 1, play.vote(7, round=3))
    play.run_until(lambda: play.state(1) is State.OBSERVING, 0.1)


def test_f13_what_makes_a_ballot_better() -> None:
    plain = Ballot(2, 5, 100, 3)
    better = (
        Ballot(3, 1, 1, 1),  # a map of a later epoch
        Ballot(2, 6, 1, 1),  # a later map of the same epoch
        Ballot(2, 5, 101, 1),  # up for longer
        Ballot(2, 5, 100, 4),  # a larger id, where all else is equal
    )
    assert all(each > plain and not plain > each for each in better)
    assert not Ballot(1, 9, 999, 9) > plain


def test_f01_a_dead_candidate_gets_no_votes(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.mock(2, 3)
    play.start(1)
    play.says(2, 1, play.vote(3))
    assert play.heard_of(2, Proposal)[-1].ballot.id == 3
    play.feed(1, LinkDown(3))
    play.run(0.01)
    assert (play.heard_of(2, Proposal)[-1].ballot.id, play.state(1)) == (1, State.LOOKING)
