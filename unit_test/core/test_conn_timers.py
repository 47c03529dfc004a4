"""When a server gives a connection up, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.conn_timers import FAREWELL_S, ConnectionTimers, TimerLimits
from libevrpc.core.hello import IDLE

LIMITS = TimerLimits(
    handshake_s=10.0, half_request_s=30.0, idle_s=600.0, silence_s=45.0, stalled_write_s=20.0
)
OFF = TimerLimits(0.0, 0.0, 0.0, 0.0, 0.0)
NEVER = (float("inf"), "")


def opened(limits: TimerLimits = LIMITS, *, greeted: bool = True) -> ConnectionTimers:
    timers = ConnectionTimers(limits, now_s=100.0)
    timers.greeted = greeted
    return timers


def test_first_message_must_come_in_time() -> None:
    timers = opened(greeted=False)
    assert timers.due(0, None) == (110.0, "no request in time")
    timers.last_read_s = 109.0
    assert timers.due(0, None) == (110.0, "no request in time")


def test_idle_counts_from_the_last_byte() -> None:
    timers = opened()
    assert timers.due(0, None) == (700.0, "idle")
    timers.last_read_s = 250.0
    assert timers.due(0, None) == (850.0, "idle")


def test_calls_and_waiting_replies_are_no_idleness() -> None:
    timers = opened()
    assert timers.due(1, None) == NEVER
    assert timers.due(0, 300.0) == (320.0, "peer does not read")


def test_who_was_asked_to_hang_up_has_a_moment_for_it() -> None:
    timers = opened()
    timers.asked_at_s = 700.0
    assert timers.due(0, None) == (700.0 + FAREWELL_S, IDLE)
    assert timers.due(1, None) == NEVER


def test_who_was_asked_to_hang_up_and_does_not_is_idle_anew() -> None:
    timers = opened()
    timers.asked_at_s = 700.0
    timers.last_read_s = 701.0
    assert timers.due(0, None) == (1301.0, IDLE)


def test_half_a_request_must_become_whole() -> None:
    timers = opened()
    timers.last_read_s = 125.0
    timers.partial_since_s = 120.0
    assert timers.due(0, None) == (150.0, "half a request")
    assert timers.due(3, None) == (150.0, "half a request")


def test_slow_first_message_has_the_handshake_limit() -> None:
    timers = opened(greeted=False)
    timers.partial_since_s = 100.0
    assert timers.due(0, None) == (110.0, "no request in time")


def test_peer_that_promised_heartbeats_may_not_be_silent_even_with_calls() -> None:
    timers = opened()
    timers.heartbeats = True
    timers.last_read_s = 130.0
    assert timers.due(5, None) == (175.0, "heartbeats stopped")
    assert timers.due(0, None) == (175.0, "heartbeats stopped")


def test_peer_that_does_not_read_is_given_up() -> None:
    timers = opened()
    timers.heartbeats = True
    timers.partial_since_s = 100.0
    assert timers.due(1, 101.0) == (121.0, "peer does not read")
    assert timers.due(1, 129.0) == (130.0, "half a request")


def test_silence_does_not_count_while_nobody_listens() -> None:
    timers = opened()
    timers.heartbeats = True
    timers.last_read_s = timers.partial_since_s = 130.0
    timers.not_listening(174.0)
    assert timers.due(5, None) == (204.0, "half a request")
    assert timers.due(5, 170.0) == (190.0, "peer does not read")
    timers.partial_since_s = None
    assert timers.due(5, None) == (219.0, "heartbeats stopped")
    timers.not_listening(175.0)
    assert timers.partial_since_s is None


@pytest.mark.parametrize("greeted", [True, False])
def test_zero_switches_a_limit_off(greeted: bool) -> None:
    timers = opened(OFF, greeted=greeted)
    timers.heartbeats = True
    timers.partial_since_s = 100.0
    assert timers.due(0, 100.0) == NEVER
    assert timers.check_at_s(float("inf"), 100.0) == 115.0


def test_next_look_is_a_quarter_of_the_shortest_limit_away() -> None:
    timers = opened()
    assert timers.check_at_s(700.0, 200.0) == 202.5
    assert timers.check_at_s(201.0, 200.0) == 201.0
    assert opened(TimerLimits(0.0, 8.0, 0.0, 0.0, 0.0)).check_at_s(999.0, 0.0) == 2.0


def test_a_check_that_comes_late_does_not_judge() -> None:
    """The loop, or the whole machine, stood still: the peer is heard first."""
    timers = opened(TimerLimits(0.0, 0.0, 0.0, 8.0, 0.0))
    timers.heartbeats = True
    assert timers.may_judge(100.0)
    assert timers.check_at_s(timers.due(0, None)[0], 100.0) == 102.0
    assert not timers.may_judge(130.0)
    assert timers.check_at_s(timers.due(0, None)[0], 130.0) == 132.0
    assert timers.may_judge(132.5)  # a little late, as a busy loop is
    timers.last_read_s = 131.0  # it was alive
    assert timers.check_at_s(timers.due(0, None)[0], 132.5) == 134.5
    assert timers.may_judge(134.5)


def test_late_checks_judge_in_the_end() -> None:
    timers = opened(TimerLimits(0.0, 0.0, 0.0, 8.0, 0.0))
    judged = []
    for turn in range(4):
        timers.check_at_s(108.0, 100.0 + 10.0 * turn)
        judged.append(timers.may_judge(110.0 + 10.0 * turn))
    assert judged == [False, True, False, True]


INSTANTS = st.none() | st.floats(100.0, 1000.0)


@given(
    st.booleans(), st.booleans(), st.floats(100.0, 1000.0), INSTANTS, st.integers(0, 2), INSTANTS
)
def test_traffic_only_ever_moves_the_end_later(
    greeted: bool,
    heartbeats: bool,
    read_s: float,
    partial_s: float | None,
    in_flight: int,
    unsent_s: float | None,
) -> None:
    timers = opened(greeted=greeted)
    timers.heartbeats = heartbeats
    timers.last_read_s = read_s
    timers.partial_since_s = partial_s
    before_s, why = timers.due(in_flight, unsent_s)
    assert (before_s == float("inf")) == (why == "")
    timers.last_read_s = read_s + 1.0
    after_s, _ = timers.due(in_flight, unsent_s)
    assert after_s >= before_s
