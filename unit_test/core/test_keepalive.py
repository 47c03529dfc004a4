"""When a silent server is pinged, and when it is given up."""

from __future__ import annotations

import pytest

from libevrpc.core.keepalive import Keepalive, KeepaliveStep

WAIT, PING, DEAD = KeepaliveStep.WAIT, KeepaliveStep.PING, KeepaliveStep.DEAD


def test_pings_a_third_of_the_timeout_apart() -> None:
    keepalive = Keepalive(30.0, now_s=100.0)
    assert keepalive.due_s() == pytest.approx(110.0)
    assert keepalive.step(109.9) is WAIT
    assert keepalive.step(110.0) is PING
    assert keepalive.due_s() == pytest.approx(120.0)
    assert keepalive.step(110.1) is WAIT


def test_peer_that_answers_lives_on() -> None:
    keepalive = Keepalive(30.0, now_s=0.0)
    for turn in range(1, 50):
        assert keepalive.step(turn * 10.0) is PING
        keepalive.last_read_s = turn * 10.0 + 1.0


def test_silent_peer_is_dead_after_the_timeout_and_not_before() -> None:
    keepalive = Keepalive(30.0, now_s=0.0)
    assert [keepalive.step(at_s) for at_s in (10.0, 20.0, 30.0)] == [PING, PING, DEAD]


def test_peer_silent_from_some_moment_is_dead_within_four_thirds() -> None:
    keepalive = Keepalive(30.0, now_s=0.0)
    keepalive.last_read_s = 0.5
    steps = []
    while DEAD not in steps:
        steps.append(keepalive.step(keepalive.due_s()))
    assert 30.0 <= keepalive.due_s() - 0.5 <= 40.0
    assert steps == [PING, PING, PING, DEAD]


def test_two_lost_pings_are_forgiven() -> None:
    keepalive = Keepalive(30.0, now_s=0.0)
    assert keepalive.step(10.0) is PING
    assert keepalive.step(20.0) is PING
    keepalive.last_read_s = 29.0
    assert keepalive.step(30.0) is PING


def test_our_own_sleep_is_not_held_against_the_peer() -> None:
    keepalive = Keepalive(30.0, now_s=0.0)
    assert keepalive.step(500.0) is PING
    assert keepalive.step(510.0) is PING
    assert keepalive.step(519.9) is WAIT
    assert keepalive.step(520.0) is DEAD


def test_what_was_read_during_a_late_turn_counts() -> None:
    keepalive = Keepalive(30.0, now_s=0.0)
    keepalive.last_read_s = 499.0
    assert keepalive.step(500.0) is PING
    assert keepalive.last_read_s == 499.0
