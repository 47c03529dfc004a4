"""What ZooKeeper's tests do not try: cuts of one direction, pauses, wiped disks, all sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from center.core.ballot import State
from center.core.messages import (
    Acceptance,
    Announcement,
    Body,
    Confirmation,
    Join,
    Ping,
    Pong,
    Proposal,
    Put,
    Stored,
)
from unit_test.center_core.pump import voters_of
from unit_test.scenarios.play import CALM_S, Play

Staged = Callable[..., Play]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_ours_sizes(staged: Staged, count: int) -> None:
    """A cluster of any size goes on as long as more than half of its list lives, no longer."""
    play = staged(count, brief=True)
    play.start()
    play.settle()
    while len(play.states()) - 1 > count // 2:
        play.kill(play.leader())
        play.settle()
    if count > 1:
        play.kill(play.leader())
        play.run(2.0)
        assert play.leaders() == []
    stamp = max(play.stamp(each) for each in play.states())
    for center in play.voters.ids:
        if play.hosts[center].node is None:
            play.start(center)
    play.settle()
    assert min(play.stamp(each) for each in play.voters.ids) >= stamp
    play.reigns()


@pytest.mark.parametrize("way", ["outward", "inward"])
def test_ours_a_leader_is_half_deaf(staged: Staged, way: str) -> None:
    """Nothing leaves it, or nothing reaches it; it gives up before another one leads."""
    play = staged(3)
    play.start()
    leader = play.settle()
    others = [each for each in (1, 2, 3) if each != leader]
    play.note(f"{way} of {leader} is cut")
    play.cut = {(leader, each) if way == "outward" else (each, leader) for each in others}
    play.run_until(lambda: play.state(leader) is not State.LEADING, 0.45)
    assert play.leaders() == []
    play.run_until(lambda: play.leaders() != [], 2.0)
    assert play.leader() in others
    play.heal()
    play.settle()
    assert len(play.reigns()) == 2


def test_ours_a_follower_is_cut_from_the_leader_alone(staged: Staged) -> None:
    """It cannot follow; it pulls the map through the third, and the leader never changes."""
    play = staged(3)
    play.start()
    leader = play.settle()
    play.note(f"the link between 1 and {leader} is cut")
    play.cut = {(1, leader), (leader, 1)}
    play.run(1.0)
    play.register(leader, 1)
    play.run_until(lambda: len(play.map_of(1).servers) == 1, 1.5)
    assert play.state(1) in (State.LOOKING, State.OBSERVING)
    play.heal()
    assert (play.settle(), len(play.reigns())) == (leader, 1)


def test_ours_two_two_one_of_five(staged: Staged) -> None:
    play = staged(5, brief=True)
    play.start()
    play.settle()
    stamps = {each: play.stamp(each) for each in play.voters.ids}
    play.isolate(1, 2)
    play.isolate(3, 4)
    play.run(5.0)
    assert play.leaders() == []
    assert {each: play.stamp(each) for each in play.voters.ids} == stamps
    play.heal()
    play.settle()
    assert len(play.reigns()) == 2


def test_ours_a_leader_is_frozen(staged: Staged) -> None:
    play = staged(3)
    play.start()
    leader = play.settle()
    play.freeze(leader, 2.0)
    play.run_until(lambda: len(play.leaders()) == 2, 1.5)
    assert [each for each in play.leaders() if play.node(each).may_claim(play.now_s)] != [leader]
    assert not play.node(leader).may_claim(play.now_s), "its lease ran out while it stood still"
    play.run(1.5)
    assert play.settle() != leader
    assert len(play.reigns()) == 2


@pytest.mark.parametrize("forgets", [1, 3])
def test_ours_a_disk_is_wiped(staged: Staged, forgets: int) -> None:
    """A follower's or the leader's; it takes part again once it has a leader's map."""
    play = staged(3)
    play.start()
    leader = play.settle()
    play.kill(forgets)
    play.note(f"{forgets} is wiped")
    play.wipe(forgets)
    play.start(forgets)
    if forgets != leader:
        assert play.settle() == leader
    else:
        assert play.settle() == 2
    record = play.hosts[forgets].record
    assert record is not None
    assert (record.forgot, record.map is None) == (False, False)


def test_ours_all_restart_at_once(staged: Staged) -> None:
    play = staged(3)
    play.start()
    play.register(play.settle(), 1)
    play.run(CALM_S)
    stamp = play.stamp(1)
    for each in (1, 2, 3):
        play.kill(each, seen=False)
    play.start()
    play.settle()
    assert play.stamp(1) > stamp
    assert len(play.map_of(1).servers) == 1


def test_ours_the_list_grows_and_shrinks(staged: Staged) -> None:
    """By the procedure of the documentation: those that stay restart, then the others come."""
    play = staged(5, brief=True)
    three, five = voters_of(3, "three"), voters_of(5, "five")
    for each in (1, 2, 3):
        play.start(each, voters=three)
    play.register(play.settle(), 1)
    play.run(CALM_S)
    stamp = play.stamp(1)
    for voters in (five, three):
        for each in (4, 5):
            play.kill(each)
            play.wipe(each)
        play.settle()
        for each in voters.ids:
            play.note(f"{each} gets the list of {len(voters.ids)}")
            if each < 4:
                play.kill(each)
            play.start(each, voters=voters)
            play.run(0.3)
        play.settle()
        assert sorted(play.states()) == list(voters.ids)
        assert min(play.stamp(each) for each in voters.ids) > stamp
        assert len(play.map_of(1).servers) == 1
        stamp = play.stamp(1)
    kept = sorted((each.epoch, each.version) for each in play.hosts[1].committed)
    assert kept == [(each.epoch, each.version) for each in play.hosts[1].committed]
    play.reigns()


STEPS: tuple[tuple[type[Body], str], ...] = (
    (Proposal, "looks"),
    (Confirmation, "is elected"),
    (Acceptance, "promises"),
    (Announcement, "follows"),
    (Ping, "leads"),
    (Put, "publishes"),
    (Stored, "holds the map"),
    (Pong, "answers"),
    (Join, "joins"),
)


@pytest.mark.parametrize(("kind", "step"), STEPS, ids=[kind.__name__ for kind, _ in STEPS])
def test_ours_killed_at_each_step(staged: Staged, kind: type[Body], step: str) -> None:
    """Whoever says this first dies of it, unheard; two go on, and it comes back."""
    play = staged(3, brief=True)
    play.remember()
    dead: list[int] = []

    def dies(sender: int, to: int, body: Body) -> bool:
        if isinstance(body, kind) and not dead:
            dead.append(sender)
            play.note(f"{sender} {step}, and dies")
            play.kill(sender)
        return sender in dead

    play.lose = dies
    play.start(1)
    play.start(2)
    play.run(CALM_S)
    play.start(3)
    play.run_until(lambda: bool(dead), 2.0)
    play.run(1.0)
    assert len(play.leaders()) == 1, "the two others have a leader"
    play.lose = lambda sender, to, body: False
    play.start(dead[0])
    play.settle()
    play.reigns()
