"""The announcer's machine: what is due, after which failure."""

from __future__ import annotations

from random import Random

import pytest

from libevrpc.core.announcing import AnnounceStep, Announcing, Turn
from libevrpc.core.backoff import BackoffPolicy

OPEN, PUT, BEAT = AnnounceStep.OPEN, AnnounceStep.PUT, AnnounceStep.BEAT
REMOVE, WAIT, END = AnnounceStep.REMOVE, AnnounceStep.WAIT, AnnounceStep.END
POLICY = BackoffPolicy(first_s=1.0, max_s=8.0, jitter=0.0)


@pytest.fixture
def machine() -> Announcing:
    return Announcing(Random(1), POLICY)


def do(machine: Announcing, *steps: AnnounceStep, now_s: float = 0.0) -> list[Turn]:
    """Take the steps that the machine itself must ask for; return what each one turned."""
    turns = []
    for step in steps:
        current = step is not PUT
        assert machine.next_step(now_s, current).step is step
        machine.trying(step)
        turns.append(machine.done(step))
    return turns


def test_it_opens_puts_and_beats(machine: Announcing) -> None:
    turns = do(machine, OPEN, PUT, BEAT, BEAT)
    assert turns == [Turn.NONE, Turn.WELL, Turn.NONE, Turn.NONE]


def test_what_changed_is_put_before_the_next_beat(machine: Announcing) -> None:
    do(machine, OPEN, PUT, BEAT)
    assert machine.next_step(0.0, current=False).step is PUT
    assert machine.next_step(0.0, current=True).step is BEAT


def test_a_failed_open_is_tried_again_later_and_later(machine: Announcing) -> None:
    now_s = 0.0
    for delay_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert machine.next_step(now_s, current=False).step is OPEN
        machine.failed(lost=True, now_s=now_s)
        plan = machine.next_step(now_s, current=False)
        assert (plan.step, plan.wait_s) == (WAIT, delay_s)
        now_s += delay_s


def test_trouble_begins_and_ends_once(machine: Announcing) -> None:
    assert machine.failed(lost=True, now_s=0.0) is Turn.FAILING
    assert machine.failed(lost=True, now_s=1.0) is Turn.NONE
    assert do(machine, OPEN, PUT, now_s=9.0) == [Turn.NONE, Turn.WELL]
    assert machine.failed(lost=False, now_s=10.0) is Turn.FAILING
    assert do(machine, BEAT, now_s=20.0) == [Turn.WELL]


def test_a_session_that_cannot_be_kept_is_one_trouble(machine: Announcing) -> None:
    do(machine, OPEN, PUT)
    assert machine.failed(lost=True, now_s=0.0) is Turn.FAILING
    assert do(machine, OPEN, PUT, now_s=10.0) == [Turn.NONE, Turn.NONE]
    assert machine.failed(lost=True, now_s=10.0) is Turn.NONE
    assert do(machine, OPEN, PUT, BEAT, now_s=20.0)[-1] is Turn.WELL


def test_a_session_in_trouble_is_kept_and_a_lost_one_made_anew(machine: Announcing) -> None:
    do(machine, OPEN, PUT)
    machine.failed(lost=False, now_s=0.0)
    assert machine.next_step(1.0, current=True).step is BEAT
    machine.failed(lost=True, now_s=1.0)
    assert not machine.told
    do(machine, OPEN, PUT, BEAT, now_s=3.0)


def test_a_session_that_can_be_filled_and_not_kept_is_not_made_at_once(
    machine: Announcing,
) -> None:
    now_s = 0.0
    for delay_s in (1.0, 2.0, 4.0):
        do(machine, OPEN, PUT, now_s=now_s)
        machine.failed(lost=True, now_s=now_s)
        assert machine.next_step(now_s, current=True).wait_s == delay_s
        now_s += delay_s
    do(machine, OPEN, PUT, BEAT, now_s=now_s)
    machine.failed(lost=True, now_s=now_s)
    assert machine.next_step(now_s, current=True).wait_s == 1.0  # a beat went well


def test_leaving_takes_back_what_was_put(machine: Announcing) -> None:
    do(machine, OPEN, PUT, BEAT)
    machine.leave(by_s=5.0)
    do(machine, REMOVE)
    assert machine.next_step(0.0, current=False).step is END


def test_who_was_never_announced_leaves_at_once(machine: Announcing) -> None:
    do(machine, OPEN)
    machine.leave(by_s=5.0)
    assert machine.next_step(0.0, current=False).step is END


def test_a_put_in_doubt_is_taken_back(machine: Announcing) -> None:
    do(machine, OPEN)
    machine.trying(PUT)
    machine.failed(lost=False, now_s=0.0)
    machine.leave(by_s=5.0)
    assert machine.next_step(0.0, current=False).step is REMOVE


def test_leaving_is_tried_at_once_then_again_until_its_time_is_over(machine: Announcing) -> None:
    do(machine, OPEN, PUT)
    machine.failed(lost=False, now_s=0.0)
    machine.leave(by_s=4.5)
    machine.leave(by_s=99.0)  # said once
    assert machine.next_step(0.0, current=True).step is REMOVE  # no back-off of the beat's
    machine.failed(lost=False, now_s=0.0)
    plan = machine.next_step(0.0, current=True)
    assert (plan.step, plan.wait_s) == (WAIT, 2.0)
    machine.failed(lost=False, now_s=2.0)
    plan = machine.next_step(2.0, current=True)
    assert (plan.step, plan.wait_s) == (WAIT, 2.5)
    assert machine.next_step(4.5, current=True).step is END
    assert machine.told


def test_a_session_lost_while_leaving_leaves_nothing_behind(machine: Announcing) -> None:
    do(machine, OPEN, PUT)
    machine.leave(by_s=5.0)
    machine.failed(lost=True, now_s=0.0)
    assert machine.next_step(0.0, current=True).step is END
