"""What becomes of maps and promises when leaders change: F22-F24, F28, F29, F31."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from center.core.ballot import State
from center.core.messages import Acceptance, Confirmation, Put, Refusal
from center.core.quorum import Outcome, majority, tally
from unit_test.scenarios.play import CALM_S, Play, a_map

Staged = Callable[..., Play]


def settled_with_a_server(play: Play) -> tuple[int, tuple[int, int]]:
    """Return the leader and what all serve."""
    play.start()
    leader = play.settle()
    play.register(leader, 1)
    play.run_until(lambda: play.settled() and len(play.map_of(1).servers) == 1)
    return leader, play.stamp(leader)


def lone_map(play: Play, leader: int, server: int) -> tuple[int, int]:
    """Have the leader make a map that nobody else gets; return its stamp."""
    play.lose = lambda sender, to, body: isinstance(body, Put)
    play.register(leader, server)
    play.run(0.05)
    record = play.hosts[leader].record
    assert record is not None
    assert not record.committed
    return record.stamp


def addresses(play: Play, center: int) -> list[str]:
    return [entry.address for entry in play.map_of(center).servers]


def test_f22_a_leader_is_left_alone_with_a_map(staged: Staged) -> None:
    play = staged(3)
    leader, stamp = settled_with_a_server(play)
    others = [each for each in (1, 2, 3) if each != leader]
    lone = lone_map(play, leader, 2)
    for each in others:
        play.kill(each)
    play.run_until(lambda: play.state(leader) is not State.LEADING, 1.0)
    play.run(CALM_S)
    assert lone > stamp == play.stamp(leader)
    play.lose = lambda sender, to, body: False
    for each in others:
        play.start(each)
    play.settle()
    play.run(CALM_S)
    assert len({play.stamp(each) for each in (1, 2, 3)}) == 1
    assert play.map_of(1).epoch > lone[0], "it is served in a map of the next leader, or never"


@pytest.mark.parametrize("way", ["killed", "isolated"])
def test_f23_an_uncommitted_map_is_overtaken(staged: Staged, way: str) -> None:
    """F23: its holder is down during the election; F24: it is isolated, and goes on writing."""
    play = staged(3)
    leader, stamp = settled_with_a_server(play)
    others = [each for each in (1, 2, 3) if each != leader]
    if way == "isolated":
        play.isolate(leader)
    lone = lone_map(play, leader, 2)
    if way == "killed":
        play.kill(leader)
    play.lose = lambda sender, to, body: False
    play.run_until(lambda: all(play.stamp(each)[0] > stamp[0] for each in others), 2.0)
    assert addresses(play, others[0]) == ["10.2.0.1:80"]
    successor = next(each for each in others if play.state(each) is State.LEADING)
    if way == "killed":
        play.start(leader)
    play.heal()
    assert play.settle() == successor
    record = play.hosts[leader].record
    assert record is not None
    assert record.stamp > lone
    assert addresses(play, leader) == ["10.2.0.1:80"]
    assert all(seen.version != lone[1] or seen.epoch > lone[0] for seen in commits(play))


def commits(play: Play) -> list[Any]:
    return [each for host in play.hosts.values() for each in host.committed]


def test_f28_a_leader_waits_for_its_own_promise(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.hosts[1].disk_s = 0.2
    asked = candidate_of_mocks(play)
    for mock in (2, 3):
        play.promise(mock, 1, asked.epoch)
    assert play.state(1) is State.OBSERVING, "two of three have promised, it has not itself"
    play.run_until(lambda: play.state(1) is State.LEADING, 0.3)
    assert play.epoch(1) == asked.epoch


def candidate_of_mocks(play: Play) -> Confirmation:
    """Have 2 and 3, who are mocks, elect 1; return what it asks for."""
    play.mock(2, 3)
    play.start(1)
    for mock in (2, 3):
        play.says(mock, 1, play.vote(1))
    play.run_until(lambda: bool(play.heard_of(2, Confirmation)))
    asked: Confirmation = play.heard_of(2, Confirmation)[-1]
    return asked


def test_f28_a_leader_that_is_behind_takes_the_newest_map(staged: Staged) -> None:
    """ZooKeeper's would abort; here a promise brings the newer map, and the leader adopts it."""
    play = staged(3)
    play.remember()
    asked = candidate_of_mocks(play)
    newer = a_map(3, 9)
    incarnation = play.node(1).incarnation
    promise = Acceptance(asked.epoch, incarnation, newer, True, newer.stamp, asked.digest)
    play.says(2, 1, promise)
    play.run_until(lambda: bool(play.heard_of(2, Put)), 0.5)
    put = play.heard_of(2, Put)[0].map
    assert (put.stamp, put.parent) == ((asked.epoch, 10), (3, 9))


def test_f28_a_voter_is_bound_to_a_larger_epoch(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    asked = candidate_of_mocks(play)
    play.says(2, 1, Refusal(asked.epoch, 20, None))
    assert play.heard_of(2, Confirmation)[-1].epoch == 21
    play.promise(3, 1, asked.epoch)
    assert play.state(1) is State.OBSERVING, "that was a promise of what it asked for before"
    play.promise(3, 1, 21)
    assert (play.state(1), play.epoch(1)) == (State.LEADING, 21)


def test_f28_a_candidate_dies_before_any_promise(staged: Staged) -> None:
    """The epoch it asked for is lost to it: its next life asks for a larger one."""
    play = staged(3)
    play.remember()
    asked = candidate_of_mocks(play)
    play.run(0.01)
    play.kill(1)
    play.heard[2].clear()
    assert (asked.epoch, candidate_of_mocks(play).epoch) == (4, 5)


@pytest.mark.parametrize("who", ["follower", "candidate"])
def test_f29_a_promise_cannot_be_written(staged: Staged, who: str) -> None:
    play = staged(3)
    play.remember()
    play.start()
    leader = play.settle()
    broken = 2 if who == "candidate" else 1
    play.note(f"the disk of {broken} fails")
    play.hosts[broken].disk_fails = True
    epoch = play.epoch(broken)
    play.kill(leader)
    play.run(3.0)
    assert play.epoch(broken) == epoch
    assert play.leaders() == []
    play.note(f"the disk of {broken} works")
    play.hosts[broken].disk_fails = False
    play.run_until(lambda: len(play.leaders()) == 1, 4.0)
    assert play.settle() in (1, 2)
    assert play.epoch(broken) > epoch


def test_f29_a_refusal_of_the_disk_is_no_promise(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.mock(2, 3)
    play.start(1)
    play.hosts[1].disk_fails = True
    for _ in range(3):
        play.says(3, 1, Confirmation(4, False, (3, 5), "c", "d1gest"))
        play.run(0.05)
    assert (play.epoch(1), play.heard_of(3, Acceptance)) == (3, [])
    play.hosts[1].disk_fails = False
    play.says(3, 1, Confirmation(4, False, (3, 5), "c", "d1gest"))
    assert (play.epoch(1), len(play.heard_of(3, Acceptance))) == (4, 1)
    play.says(2, 1, Confirmation(4, False, (3, 5), "c", "d1gest"))
    assert len(play.heard_of(2, Refusal)) == 1


def test_f31_quorums() -> None:
    assert [majority(voters) for voters in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]
    for voters in range(1, 8):
        for yes in range(voters + 1):
            for no in range(voters + 1 - yes):
                won, lost = 2 * yes > voters, 2 * (voters - no) <= voters
                expected = Outcome.WON if won else Outcome.LOST if lost else Outcome.PENDING
                assert tally(yes, no, voters) is expected, (yes, no, voters)
    assert tally(0, 0, 1) is Outcome.PENDING, "nobody has answered yet"
