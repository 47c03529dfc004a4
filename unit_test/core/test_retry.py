"""Retries: what is repeated, what never is, and what the budget is for."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.balancers import P2cBalancer
from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.retry import GiveUp, Retry, RetryBudget, RetryPolicy
from libevrpc.errors import Errno, RpcError, StatusCode


def failed(errno: int) -> RpcError:
    return RpcError.from_errno(errno, "x")


def step(error: RpcError, **changes: Any) -> Retry | GiveUp:
    usual: dict[str, Any] = {
        "sent": True,
        "idempotent": False,
        "retries": 0,
        "budget": RetryBudget(),
        "rng": random.Random(1),
        "now_s": 100.0,
        "deadline_s": 105.0,
    }
    return RetryPolicy().next_step(error, **{**usual, **changes})


def spent_budget() -> RetryBudget:
    return RetryBudget(0.0)


def drawn(budget: RetryBudget, now_s: float) -> int:
    """Take every credit that there is."""
    return sum(budget.try_draw(now_s) for _ in range(1000))


@pytest.mark.parametrize(
    "errno", [Errno.FAILED_SOCKET, Errno.EOF, Errno.TLS, 104, 111, Errno.CLOSED]
)
def test_what_was_never_sent_is_tried_again_at_once(errno: int) -> None:
    assert step(failed(errno), sent=False) == Retry(0.0)


def test_stopping_server_sends_the_call_elsewhere_at_once() -> None:
    assert step(failed(Errno.STOPPING)) == Retry(0.0)


@pytest.mark.parametrize(("errno", "sent"), [(Errno.LIMIT, True), (Errno.OVERCROWDED, False)])
def test_overload_is_tried_again_after_a_delay(errno: int, sent: bool) -> None:
    decided = step(failed(errno), sent=sent)
    assert isinstance(decided, Retry)
    assert 0.0 < decided.delay_s <= 0.005
    assert step(failed(errno), sent=sent, budget=spent_budget()) == GiveUp("retry budget used up")


@pytest.mark.parametrize("errno", [Errno.FAILED_SOCKET, Errno.EOF, 104, Errno.REJECTED])
def test_broken_connection_repeats_only_idempotent_calls(errno: int) -> None:
    assert isinstance(step(failed(errno)), GiveUp)
    assert step(failed(errno), idempotent=True) == Retry(0.0)
    assert isinstance(step(failed(errno), idempotent=True, budget=spent_budget()), GiveUp)


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("errno", [Errno.TIMED_OUT, Errno.CANCELLED, 4004])
def test_deadline_and_cancel_are_final(errno: int, sent: bool) -> None:
    assert step(failed(errno), sent=sent, idempotent=True) == GiveUp("final")


@pytest.mark.parametrize(
    "errno",
    [Errno.INTERNAL, Errno.NO_METHOD, Errno.BAD_REQUEST, 4000 + StatusCode.UNAVAILABLE, 77777,
     Errno.OVERCROWDED],
)  # fmt: skip
def test_what_the_server_answered_is_final(errno: int) -> None:
    assert step(failed(errno), idempotent=True) == GiveUp("final")


def test_request_that_could_not_be_built_is_final() -> None:
    assert step(failed(Errno.BAD_REQUEST), sent=False, idempotent=True) == GiveUp("final")


def test_retries_end_and_later_ones_wait() -> None:
    decided = [step(failed(111), sent=False, retries=n) for n in range(4)]
    assert decided[0] == Retry(0.0)
    assert all(isinstance(d, Retry) and 0.0 < d.delay_s <= 0.02 for d in decided[1:3])
    assert decided[3] == GiveUp("retries used up")


def test_no_retry_starts_past_the_deadline() -> None:
    assert isinstance(step(failed(111), sent=False, now_s=105.0), GiveUp)
    assert isinstance(step(failed(Errno.LIMIT), now_s=104.999), GiveUp)


def test_never_executed_calls_go_on_without_credits_but_take_them() -> None:
    assert step(failed(Errno.STOPPING), budget=spent_budget()) == Retry(0.0)
    budget = RetryBudget()
    step(failed(Errno.STOPPING), budget=budget)
    assert drawn(budget, 100.0) == 99


def test_budget_is_a_share_of_the_calls_plus_a_few_per_second() -> None:
    budget = RetryBudget(0.2, 10.0)
    for _ in range(500):
        budget.called(1000.0)
    assert drawn(budget, 1000.0) == 200
    assert drawn(budget, 1009.9) == 0
    assert drawn(budget, 1010.0) == 100
    for _ in range(5):
        budget.called(5.0)  # a clock that is behind
    assert drawn(budget, 1010.5) == 1


def test_a_share_of_nothing_leaves_no_retry_but_of_what_never_ran() -> None:
    budget = RetryBudget(0.0)
    budget.called(100.0)
    assert drawn(budget, 100.0) == 0
    refused = GiveUp("retry budget used up")
    assert step(failed(Errno.LIMIT), budget=budget) == refused
    assert step(failed(Errno.EOF), idempotent=True, budget=budget) == refused
    assert step(failed(Errno.STOPPING), budget=budget) == Retry(0.0)
    assert step(failed(111), sent=False, budget=budget) == Retry(0.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200))
def test_budget_never_lends(events: list[tuple[float, bool]]) -> None:
    budget, now_s, calls, draws = RetryBudget(0.2, 1.0), 0.0, 0, 0
    for step_s, draw in events:
        now_s += step_s
        if draw:
            draws += budget.try_draw(now_s)
        else:
            budget.called(now_s)
            calls += 1
        assert draws <= 10 * (1 + now_s / 10) + 0.2 * calls + 1e-6


def down_at(host: str, now_s: float) -> bool:
    """Servers a, b, c restart one after the other: down for 2 s, a second apart."""
    first_s = 1.0 + 3.0 * "abc".index(host)
    return first_s <= now_s < first_s + 2.0


@pytest.mark.parametrize("budget", [RetryBudget(), spent_budget()])
def test_rolling_restart_of_three_servers_loses_no_call(budget: RetryBudget) -> None:
    rng = random.Random(3)
    balancer = P2cBalancer(rng)
    balancer.update(EndpointSet(tuple(Endpoint(host, 1) for host in "abc")))
    policy, lost, retried = RetryPolicy(), 0, 0
    for number in range(20_000):
        now_s = number * 0.0005
        tried: list[Endpoint] = []
        budget.called(now_s)
        while True:
            endpoint = balancer.pick(now_s, None, tried) or balancer.pick(now_s)
            assert endpoint is not None
            balancer.started(endpoint, now_s)
            ok = not down_at(endpoint.host, now_s)
            if not ok:
                balancer.set_aside(endpoint, now_s)
            balancer.finished(endpoint, now_s, 0.001, ok)
            if ok:
                break
            tried.append(endpoint)
            errno = Errno.STOPPING if number % 2 else 111
            decided = policy.next_step(
                failed(errno), sent=errno == Errno.STOPPING, idempotent=False,
                retries=len(tried) - 1, budget=budget, rng=rng, now_s=now_s, deadline_s=now_s + 5,
            )  # fmt: skip
            if isinstance(decided, GiveUp):
                lost += 1
                break
            retried += 1
            now_s += decided.delay_s
    assert lost == 0
    assert 3 <= retried < 100
