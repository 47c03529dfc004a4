"""A center among others that have a leader, or say so: F10, F12, F14-F19, F21, F25-F27, F30."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from center.core.ballot import State
from center.core.codec import decode, encode
from center.core.events import LinkDown, Message
from center.core.messages import Confirmation, Join, Ping, Refusal
from libevrpc.errors import ProtocolError
from unit_test.center_core.pump import voters_of
from unit_test.scenarios.play import CALM_S, Play

Staged = Callable[..., Play]


def test_f10_members_differ_in_all_but_leader_and_epoch(staged: Staged) -> None:
    play = staged(5)
    play.remember()
    play.mock(1, 2, 3, 4)
    play.start(5)
    for mock, number, stamp in ((1, 9, (1, 1)), (2, 2, (3, 5)), (4, 7, (2, 8))):
        state = State.LEADING if mock == 4 else State.FOLLOWING
        play.says(mock, 5, play.vote(4, stamp, round=number, state=state, epoch=6))
    assert play.heard_of(4, Join)


@pytest.mark.parametrize("claims", [True, False])
def test_f12_one_member_is_odd(staged: Staged, claims: bool) -> None:
    """One tells another epoch of the same leader; who is followed must say itself that it leads."""
    play = staged(5)
    play.remember()
    play.mock(1, 2, 3, 4)
    play.start(5)
    for mock, epoch in ((1, 5), (2, 6), (3, 6)):
        play.says(mock, 5, play.vote(4, round=9, state=State.FOLLOWING, epoch=epoch))
    if claims:
        play.says(4, 5, play.vote(4, round=9, state=State.LEADING, epoch=6))
    assert bool(play.heard_of(4, Join)) == claims


def test_f14_who_has_lost_its_memory_is_not_elected(staged: Staged) -> None:
    play = staged(3)
    play.start()
    assert play.settle() == 3
    for each in (1, 2, 3):
        play.kill(each, seen=False)
    play.note("3 is wiped")
    play.wipe(3)
    play.start(3)
    play.start(1)
    play.run(CALM_S)
    assert play.leaders() == []
    play.start(2)
    assert play.settle() == 2
    assert play.state(3) is State.FOLLOWING


@pytest.mark.parametrize("kind", ["short", "negative", "long", "unreadable", "cut"])
def test_f15_garbage_changes_nothing(staged: Staged, kind: str) -> None:
    """The bus hands on what `decode` lets through; each of these it refuses by name."""
    play = staged(3)
    play.remember()
    play.mock(2, 3)
    play.start(1)
    vote = play.vote(1)
    whole = encode(2, 20, vote)
    garbage = {
        "short": whole[:12],
        "negative": whole[:-2] + b"\xd0\x80",
        "long": whole[:-1] + b"\xdb\x00\x00\x27\x10",
        "unreadable": b"\xc1" * 40,
        "cut": whole[:-3],
    }[kind]
    play.note(f"2 sends {len(garbage)} bytes of garbage: {kind}")
    with pytest.raises(ProtocolError):
        decode(garbage)
    for mock in (2, 3):
        play.says(mock, 1, vote)
    play.run_until(lambda: bool(play.heard_of(2, Confirmation)), 5.0)
    play.promise(2, 1, play.heard_of(2, Confirmation)[-1].epoch)
    assert play.state(1) is State.LEADING


def test_f21_a_follower_is_talked_into_standing(staged: Staged) -> None:
    """It hears that its leader is gone, and forged votes for itself. Nobody promises anything.

    It has promised itself a larger epoch, so it cannot go back to the old one: the others
    elect once more, within milliseconds, and it follows.
    """
    play = staged(5, brief=True)
    play.start()
    leader = play.settle()
    play.brief = False
    play.note("2 is told that its leader is gone, and that 1, 3 and 4 vote for 2")
    play.feed(2, LinkDown(leader))
    for forged in (1, 3, 4):
        play.feed(2, Message(forged, play.node(forged).incarnation, play.told(2)))
    assert any("observing leader=2" in each for each in play.hosts[2].logs)
    play.run_until(lambda: play.state(2) is State.LOOKING, 0.1)
    assert any("a quorum refused" in each for each in play.hosts[2].logs)
    assert play.leader() == leader
    play.brief = True
    play.run_until(lambda: not play.leaders(), 0.2)
    assert play.run_until(play.settled) < 0.05
    play.run(CALM_S)
    assert len(play.reigns()) == 2
    assert not play.ever(2, State.LEADING)


def test_f25_a_center_whose_list_lacks_the_leader(staged: Staged) -> None:
    play = staged(3)
    play.remember()
    play.start(2)
    play.start(3)
    leader = play.settle()
    stamp = play.stamp(leader)
    play.note("1 starts with another list")
    play.start(1, voters=voters_of(2, "an0ther"))
    play.run(3.0)
    assert play.state(1) is State.LOOKING
    assert any("has another centers list" in each for each in play.hosts[2].logs)
    assert (play.leader(), play.stamp(leader), len(play.reigns())) == (leader, stamp, 1)


@pytest.mark.parametrize("quorum", [True, False])
def test_f26_a_voter_changes_its_mind(staged: Staged, quorum: bool) -> None:
    play = staged(5)
    play.remember()
    play.mock(1)
    for each in (2, 3, 4, 5) if quorum else (4, 5):
        play.start(each)
    play.run(0.01)
    disloyal = play.vote(5, round=9)
    play.says(1, 4, disloyal)
    play.says(1, 5, disloyal)

    def refuse() -> bool:
        for asked in play.heard_of(1, Confirmation):
            play.says(1, 5, Refusal(asked.epoch, 3, 2))
        play.heard[1].clear()
        return bool(play.leaders())

    if quorum:
        assert play.run_until(refuse) < 0.5
    else:
        play.note("without 1 there is no quorum: the candidate gives up after its time")
        gave_up = "handshake took too long"
        play.run_until(lambda: refuse() or gave_up in "".join(play.hosts[5].logs), 4.0)
        assert play.leaders() == []
        loyal(play)
    assert play.leader() == 5


def loyal(play: Play) -> None:
    """Have 1 vote and promise like everybody else, until there is a leader."""

    def help_on() -> bool:
        if play.told(5).ballot.id == 5 and play.state(5) is State.LOOKING:
            play.says(1, 5, play.told(5))
        for asked in play.heard_of(1, Confirmation)[-1:]:
            play.promise(1, 5, asked.epoch)
        return bool(play.leaders())

    play.note("1 votes and promises from now on")
    assert play.run_until(help_on) < 2.0


def test_f27_one_who_is_not_in_the_list_talks(staged: Staged) -> None:
    play = staged(3)
    play.start()
    leader = play.settle()
    votes: list[Any] = [play.vote(9), Ping(99, 1, (9, 9)), Confirmation(99, False, (0, 0), "", "d")]
    play.note("center 9, which is not in the list, votes, pings and asks for a promise")
    for body in votes:
        play.feed(1, Message(9, 90, body))
    play.run(CALM_S)
    assert (play.settle(), len(play.reigns())) == (leader, 1)
    assert sum("which is not in the list" in each for each in play.hosts[1].logs) == 1


def test_f30_an_elected_center_never_confirms(staged: Staged) -> None:
    """Whoever waits for it looks again when its patience ends; the bound is 0.5 s + 20 %."""
    play = staged(3)
    play.remember()
    play.mock(2, 3)
    play.start(1)
    for mock in (2, 3):
        play.says(mock, 1, play.vote(3, (3, 6)))
    assert play.state(1) is State.OBSERVING
    longest_s = play.timing.patience_s * (1 + play.timing.patience_jitter)
    assert play.run_until(lambda: play.state(1) is State.LOOKING) <= longest_s + 0.01


def test_f30_a_leader_takes_nobody_in(staged: Staged) -> None:
    """It pings and never answers a join: 1 asks at each ping, and leads nobody meanwhile."""
    play = staged(3)
    play.remember()
    play.mock(2, 3)
    play.start(1)
    for number in range(20):
        play.says(3, 1, Ping(6, number, (3, 5)))
        play.run(0.1)
    assert len(play.heard_of(3, Join)) == 20
    assert (play.state(1), play.epoch(1), play.stamp(1)) == (State.OBSERVING, 3, (3, 5))
