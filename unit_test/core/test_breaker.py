"""Breaker: opens for a reason, probes one at a time, doubles, forgives."""

from __future__ import annotations

from libevrpc.core.breaker import NEVER_S, Breaker, BreakerPolicy


def isolations(breaker: Breaker, count: int, now_s: float) -> list[float]:
    lengths = []
    for _ in range(count):
        lengths.append(round(breaker.probe_due_s - now_s, 3))
        now_s = breaker.probe_due_s
        breaker.start_probe(now_s)
        assert not breaker.result(False, now_s)
    return lengths


def test_transport_failure_opens_at_once_and_counts_once() -> None:
    breaker = Breaker(BreakerPolicy())
    assert (breaker.closed, breaker.probe_due_s) == (True, NEVER_S)
    assert breaker.trip(1.0)
    for _ in range(64):
        assert not breaker.trip(1.01)
    assert (breaker.closed, breaker.probe_due_s) == (False, 1.1)


def test_failures_in_a_row_open_and_a_success_between_starts_over() -> None:
    breaker = Breaker(BreakerPolicy())
    for ok in (False, False, False, False, True, False, False, False, False):
        assert not breaker.result(ok, 0.0)
    assert breaker.closed
    assert breaker.result(False, 0.0)
    assert not breaker.closed


def test_high_error_rate_opens_even_with_successes_between() -> None:
    breaker = Breaker(BreakerPolicy())
    opened = [breaker.result(n % 4 == 0, 0.0) for n in range(60)]
    assert opened.count(True) == 1
    assert opened.index(True) >= 19


def test_breaker_that_may_not_open_stays_closed() -> None:
    breaker = Breaker(BreakerPolicy())
    for _ in range(50):
        assert not breaker.result(False, 0.0, may_open=False)
    assert breaker.closed


def test_isolation_doubles_from_100_ms_to_30_s() -> None:
    breaker = Breaker(BreakerPolicy())
    breaker.trip(0.0)
    assert isolations(breaker, 11, 0.0) == [
        0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0,
    ]  # fmt: skip


def test_good_probe_closes_and_late_answers_do_not() -> None:
    breaker = Breaker(BreakerPolicy())
    breaker.trip(0.0)
    assert not breaker.result(True, 0.05)
    assert not breaker.closed
    breaker.start_probe(0.1)
    assert breaker.probe_due_s == 1.1
    assert breaker.result(True, 0.2)
    assert breaker.closed


def test_transport_failure_of_a_probe_doubles_the_isolation() -> None:
    breaker = Breaker(BreakerPolicy())
    breaker.trip(0.0)
    breaker.start_probe(0.1)
    assert not breaker.trip(0.1)
    assert round(breaker.probe_due_s, 6) == 0.3


def test_relapse_goes_on_doubling_but_an_old_failure_is_forgiven() -> None:
    breaker = Breaker(BreakerPolicy())
    breaker.trip(0.0)
    breaker.start_probe(0.1)
    breaker.result(True, 0.1)
    breaker.trip(1.0)
    assert breaker.probe_due_s == 1.2
    breaker.start_probe(1.2)
    breaker.result(True, 1.2)
    breaker.trip(40.0)
    assert breaker.probe_due_s == 40.1
