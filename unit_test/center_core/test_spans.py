"""Centers whose spans differ: nobody takes over before the leader's own lease has ended."""

from __future__ import annotations

import pytest

from center.core.events import LinkDown
from center.core.timing import Timing
from unit_test.center_core.pump import Pump

LEASE_S = 2.0


@pytest.fixture
def led_by_3() -> Pump:
    """A cluster whose leader, center 3, has a longer lease than the others; it is cut off now."""
    pump = Pump(3)
    usual = pump.timing
    pump.timing = Timing(lease_s=LEASE_S, patience_s=3.0)
    pump.start(3)
    pump.run(1.0)  # the eldest leads
    pump.timing = usual
    pump.start(1, 2)
    pump.settle()
    assert pump.leader() == 3
    pump.isolate(3)
    return pump


def claims_at_once(pump: Pump, span_s: float) -> int:
    """Let time pass; returns at how many moments two centers claimed to lead."""
    both = 0
    for _ in range(round(span_s / 0.01)):
        pump.run(0.01)
        running = [each for each, host in pump.hosts.items() if host.node is not None]
        both += sum(pump.node(each).may_claim(pump.now_s) for each in running) > 1
    return both


def test_followers_outwait_a_leader_with_a_longer_lease(led_by_3: Pump) -> None:
    for follower in (1, 2):
        (said,) = [text for text in led_by_3.hosts[follower].logs if "lease_s" in text]
        assert said == "center 3 has lease_s = 2, here it is 0.3: set all centers alike"
    assert claims_at_once(led_by_3, 6.0) == 0
    assert led_by_3.leader() in (1, 2)


def test_they_outwait_it_though_their_links_to_it_close(led_by_3: Pump) -> None:
    """A link that was cut closes after the follower's lease, not the leader's."""
    led_by_3.run(0.4)
    for follower in (1, 2):
        led_by_3.feed(follower, LinkDown(3))
    assert claims_at_once(led_by_3, 6.0) == 0
    assert led_by_3.leader() in (1, 2)


def test_they_promise_nobody_else_before_it_has_ended(led_by_3: Pump) -> None:
    led_by_3.run(0.4)
    led_by_3.feed(1, LinkDown(3))
    led_by_3.kill(2)
    led_by_3.start(2)  # it has forgotten whom it followed
    assert claims_at_once(led_by_3, 6.0) == 0
    assert led_by_3.leader() in (1, 2)


def test_a_closed_link_ends_a_leader_with_the_same_lease_at_once() -> None:
    pump = Pump(3)
    pump.start()
    pump.settle()
    leader = pump.leader()
    pump.kill(leader)
    pump.run(0.2)
    assert pump.leader() not in (leader, None)
