"""The watcher's machine: when it asks, and which list it believes."""

from __future__ import annotations

from random import Random

import pytest

from libevrpc.core import watching
from libevrpc.core.backoff import BackoffPolicy
from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.watching import Watching, WatchPolicy, WatchStep

OPEN, FETCH, LISTEN, WAIT = WatchStep.OPEN, WatchStep.FETCH, WatchStep.LISTEN, WatchStep.WAIT
POLICY = WatchPolicy(
    refresh_s=30.0,
    window_s=0.1,
    settle_s=3.0,
    backoff=BackoffPolicy(first_s=1.0, max_s=8.0, jitter=0.0),
)
A, B, C = (Endpoint(name, 1) for name in "abc")


class Highest:
    """Jitter at its least: `random` is 0."""

    def random(self) -> float:
        return 0.0


@pytest.fixture
def machine() -> Watching:
    return Watching(Highest(), POLICY)


def fetch(machine: Watching, now_s: float, *found: Endpoint) -> EndpointSet | None:
    """Answer the question that the machine itself must ask for."""
    assert machine.next_step(now_s).step is FETCH
    machine.asking(now_s)
    return machine.fetched(found, now_s)


def opened(machine: Watching, now_s: float = 0.0) -> None:
    assert machine.next_step(now_s).step is OPEN
    machine.opened()


def told(*found: Endpoint) -> EndpointSet:
    return EndpointSet(found)


def test_it_opens_asks_and_listens(machine: Watching) -> None:
    opened(machine)
    assert not machine.heard
    assert fetch(machine, 0.0, B, A) == told(A, B)  # in an order that all clients share
    assert machine.heard
    plan = machine.next_step(0.0)
    assert (plan.step, plan.wait_s) == (LISTEN, 30.0)


def test_it_asks_again_now_and_then_though_it_heard_of_no_change(machine: Watching) -> None:
    opened(machine)
    fetch(machine, 0.0, A)
    assert machine.next_step(29.9).step is LISTEN
    assert fetch(machine, 30.0, A) is None  # nothing new
    early = Watching(Random(2), POLICY)
    opened(early)
    fetch(early, 0.0, A)
    assert 27.0 < early.next_step(0.0).wait_s < 30.0


def test_a_burst_of_changes_costs_two_questions(machine: Watching) -> None:
    opened(machine)
    fetch(machine, 0.0, A)
    machine.changed()
    assert fetch(machine, 1.0, A, B) == told(A, B)  # the first one at once
    for _ in range(1000):
        machine.changed()
        plan = machine.next_step(1.04)
        assert plan.step is WAIT
        assert plan.wait_s == pytest.approx(0.06)
    assert fetch(machine, 1.1, A, B, C) == told(A, B, C)
    assert machine.next_step(1.1).step is LISTEN


def test_a_change_while_it_asks_is_a_new_one(machine: Watching) -> None:
    opened(machine)
    machine.asking(0.0)
    machine.changed()
    machine.fetched((A,), 0.05)
    assert machine.next_step(0.05).step is WAIT
    assert machine.next_step(0.1).step is FETCH


def test_what_fails_is_tried_again_later_and_later(machine: Watching) -> None:
    now_s = 0.0
    assert machine.failed("down", lost=True, now_s=now_s)
    for delay_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        plan = machine.next_step(now_s)
        assert (plan.step, plan.wait_s) == (WAIT, delay_s)
        now_s += delay_s
        assert machine.next_step(now_s).step is OPEN
        assert not machine.failed("down", lost=True, now_s=now_s)  # it has begun before
    assert machine.trouble == "down"


def test_a_session_in_trouble_is_asked_again_and_a_lost_one_made_anew(machine: Watching) -> None:
    opened(machine)
    fetch(machine, 0.0, A)
    machine.failed("slow", lost=False, now_s=1.0)
    assert fetch(machine, 2.0, A) is None
    assert not machine.trouble
    machine.failed("gone", lost=True, now_s=3.0)
    opened(machine, 4.0)
    assert fetch(machine, 4.0, A, B) == told(A, B)


def test_an_empty_list_of_a_registry_in_good_health_is_told(machine: Watching) -> None:
    opened(machine)
    fetch(machine, 0.0, A)
    machine.changed()
    assert fetch(machine, 10.0) == told()


def test_at_the_start_an_empty_list_is_told_too(machine: Watching) -> None:
    opened(machine)
    assert fetch(machine, 0.0) == told()


def test_after_trouble_nobody_is_dropped_at_first(machine: Watching) -> None:
    opened(machine)
    fetch(machine, 0.0, A, B)
    machine.failed("restarted", lost=True, now_s=10.0)
    opened(machine, 11.0)
    assert fetch(machine, 11.0) is None  # nobody has announced himself again yet
    heavy = Endpoint("b", 1, weight=2.0)
    machine.changed()
    assert fetch(machine, 12.0, heavy, C) == told(A, heavy, C)  # who is there counts
    assert machine.next_step(12.0).wait_s == pytest.approx(2.0)  # asked when all is settled
    assert fetch(machine, 14.0, heavy, C) == told(heavy, C)
    assert machine.next_step(14.0).wait_s == 30.0


def test_each_trouble_starts_the_time_of_settling_anew(machine: Watching) -> None:
    opened(machine)
    fetch(machine, 0.0, A)
    machine.failed("one", lost=False, now_s=10.0)
    assert fetch(machine, 11.0) is None
    machine.failed("two", lost=False, now_s=12.0)
    assert fetch(machine, 13.0) is None
    machine.changed()
    assert fetch(machine, 15.0) is None  # 11 + 3 would have been settled
    assert fetch(machine, 16.0) == told()


def test_without_time_to_settle_the_first_word_counts() -> None:
    machine = Watching(Highest(), WatchPolicy(settle_s=0.0))
    opened(machine)
    fetch(machine, 0.0, A)
    machine.failed("torn", lost=False, now_s=1.0)
    assert fetch(machine, 2.0, B) == told(B)


def test_what_is_remembered_is_told_until_the_registry_says_more() -> None:
    machine = Watching(Highest(), POLICY, (A, B))
    assert machine.told == EndpointSet((A, B), remembered=True)
    assert not machine.heard
    opened(machine)
    assert fetch(machine, 0.0, B) == told(B)  # A may be long gone
    assert machine.heard


def test_a_remembered_list_that_is_confirmed_is_told_again() -> None:
    machine = Watching(Highest(), POLICY, (A,))
    opened(machine)
    assert fetch(machine, 0.0, A) == told(A)


def test_an_empty_first_word_over_a_remembered_list_must_last() -> None:
    machine = Watching(Highest(), POLICY, (A,))
    opened(machine)
    assert fetch(machine, 0.0) is None  # the registry may have restarted with us
    assert machine.next_step(0.0).wait_s == pytest.approx(3.0)
    assert fetch(machine, 3.0) == told()


def test_an_address_that_is_listed_twice_counts_once(machine: Watching) -> None:
    opened(machine)
    assert fetch(machine, 0.0, Endpoint("a", 1, weight=2.0), A) == told(
        Endpoint("a", 1, weight=2.0)
    )


def test_a_list_is_cut_at_its_greatest_length(
    machine: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ENDPOINTS_MAX", 2)
    opened(machine)
    assert fetch(machine, 0.0, C, B, A) == told(A, B)
    assert machine.overfull == 1
