"""Balancers: who gets the next call, who is left alone, who is tried again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.balancers import (
    BALANCERS,
    Balancer,
    EndpointState,
    P2cBalancer,
    VnodeBalancer,
    balancer_named,
)
from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.slots import SlotTable
from libevrpc.errors import ConfigError, UsageError

A, B, C = (Endpoint(host, 1) for host in "abc")
ALL = EndpointSet((A, B, C))


def made(name: str, endpoints: EndpointSet = ALL, seed: int = 7) -> Balancer:
    balancer = balancer_named(name, random.Random(seed))
    balancer.update(endpoints)
    return balancer


def picked(balancer: Balancer, count: int = 1000, now_s: float = 0.0) -> Counter[str]:
    hosts: Counter[str] = Counter()
    for _ in range(count):
        endpoint = balancer.pick(now_s)
        assert endpoint is not None
        hosts[endpoint.host] += 1
    return hosts


def table(*owners: int, members: tuple[Endpoint, ...] = (A, B, C)) -> SlotTable:
    return SlotTable(members, b"".join(owner.to_bytes(2, "little") for owner in owners))


@pytest.mark.parametrize("name", BALANCERS)
def test_equal_idle_endpoints_share_alike(name: str) -> None:
    hosts = picked(made(name), 3000)
    assert all(900 <= hosts[host] <= 1100 for host in "abc")


@pytest.mark.parametrize("name", BALANCERS)
def test_no_endpoint_gives_none_and_one_is_always_it(name: str) -> None:
    balancer = balancer_named(name, random.Random(1))
    assert balancer.pick(0.0) is None
    assert balancer.pick(0.0, b"k") is None
    balancer.update(EndpointSet((A,)))
    assert balancer.pick(0.0) == balancer.pick(0.0, b"k") == A
    assert balancer.pick(0.0, None, (A,)) is None
    assert balancer.pick(0.0, b"k", (A,)) is None


@pytest.mark.parametrize("name", BALANCERS)
def test_a_retry_goes_elsewhere(name: str) -> None:
    balancer = made(name)
    assert {balancer.pick(0.0, None, (A, B)) for _ in range(9)} == {C}
    assert {balancer.pick(0.0, None, [Endpoint("a", 1, weight=9.0)]) for _ in range(99)} <= {B, C}


@pytest.mark.parametrize("name", ["p2c", "weighted", "vnode"])
def test_shares_follow_weights(name: str) -> None:
    heavy = EndpointSet((A, Endpoint("b", 1, weight=2.0), Endpoint("c", 1, weight=0.0)))
    hosts = picked(made(name, heavy), 3000)
    assert hosts["b"] > 1.7 * hosts["a"] > 0
    assert hosts["c"] == 0


def test_p2c_draws_by_weight_among_many() -> None:
    endpoints = tuple(Endpoint(f"h{n}", 1, weight=1.0 + n % 2) for n in range(20))
    hosts = picked(made("p2c", EndpointSet(endpoints)), 4000)
    odd = sum(count for host, count in hosts.items() if int(host[1:]) % 2)
    assert 0.6 < odd / 4000 < 0.85


def test_smooth_weighted_turns_are_spread_not_bunched() -> None:
    balancer = made("weighted", EndpointSet((Endpoint("a", 1, weight=3.0), B)))
    turns = "".join(
        str(endpoint.host) for endpoint in (balancer.pick(0.0) for _ in range(40)) if endpoint
    )
    assert (turns.count("a"), turns.count("b")) == (30, 10)
    assert "aaaaa" not in turns
    assert "bb" not in turns


def test_weighted_keeps_turns_over_an_update_and_welcomes_the_new() -> None:
    balancer = made("weighted", EndpointSet((A, B)))
    picked(balancer, 1000)
    balancer.update(ALL)
    hosts = picked(balancer, 300)
    assert all(99 <= hosts[host] <= 101 for host in "abc")


def test_weighted_retry_takes_the_least_busy() -> None:
    balancer = made("weighted")
    balancer.started(B, 0.0)
    assert {balancer.pick(0.0, None, (A,)) for _ in range(5)} == {C}


def test_round_robin_takes_turns() -> None:
    balancer = made("round_robin")
    assert [balancer.pick(0.0) for _ in range(6)] == [A, B, C, A, B, C]


def test_p2c_prefers_the_less_busy() -> None:
    balancer = made("p2c", EndpointSet((A, B)))
    for _ in range(3):
        balancer.started(A, 0.0)
    assert picked(balancer, 50) == {"b": 50}


def test_p2c_avoids_a_much_slower_server_and_tries_it_again_later() -> None:
    balancer = made("p2c", EndpointSet((A, B)))
    for _ in range(30):
        for endpoint, latency_s in ((A, 0.001), (B, 0.1)):
            balancer.started(endpoint, 0.0)
            balancer.finished(endpoint, 0.0, latency_s, ok=True)
    for _ in range(500):
        balancer.started(A, 0.0)
        balancer.finished(A, 0.0, 0.001, ok=True)
    assert picked(balancer, 50, now_s=0.1) == {"a": 50}
    assert picked(balancer, 200, now_s=60.0)["b"] > 50


def test_p2c_does_not_prefer_a_hair_of_latency() -> None:
    balancer = made("p2c", EndpointSet((A, B)))
    for endpoint, latency_s in ((A, 0.0010), (B, 0.0013)):
        balancer.started(endpoint, 0.0)
        balancer.finished(endpoint, 0.0, latency_s, ok=True)
    assert 400 < picked(balancer, 1000)["b"] < 600


def test_latency_peaks_count_at_once_and_fade() -> None:
    balancer = made("p2c")
    state = balancer.states()[0]
    state.measured(0.001, 0.0)
    state.measured(0.1, 1.0)
    assert state.latency_s(1.0, 0.001) == 0.1
    state.measured(0.001, 1.1)
    assert 0.09 < state.latency_s(1.1, 0.001) < 0.1
    assert state.latency_s(100.0, 0.001) < 0.0011


def test_unmeasured_endpoint_counts_as_average() -> None:
    assert made("p2c").states()[0].latency_s(5.0, 0.02) == 0.02


def test_key_goes_to_the_owner_then_to_its_stand_ins() -> None:
    slots = table(*[1] * 16)
    balancer = made("round_robin", EndpointSet((A, B, C), slots))
    second, third = slots.ranking(slots.slot_of(b"k"))[1:]
    assert [balancer.pick(0.0, b"k") for _ in range(3)] == [B, B, B]
    assert balancer.pick(0.0, b"k", (B,)) == second
    assert balancer.pick(0.0, b"k", (B, second)) == third
    balancer.set_aside(B, 0.0)
    assert balancer.pick(0.0, b"k") == second
    assert balancer.pick(0.2, b"k") == B


def test_key_avoids_servers_of_weight_zero_until_nobody_else_is_left() -> None:
    draining = Endpoint("b", 1, weight=0.0)
    members = (A, draining, C)
    slots = table(*[1] * 16, members=members)
    balancer = made("p2c", EndpointSet(members, slots))
    stand_in, other = (e for e in slots.ranking(slots.slot_of(b"k")) if e is not draining)
    assert balancer.pick(0.0, b"k") == stand_in
    assert balancer.pick(0.0, b"k", (stand_in, other)) == draining


def test_key_without_assigned_slots_is_hashed_over_the_list() -> None:
    one, two = made("p2c", seed=1), made("random", seed=2)
    keys = [f"key {n}".encode() for n in range(200)]
    owners = [one.pick(0.0, key) for key in keys]
    assert owners == [two.pick(0.0, key) for key in keys]
    assert set(owners) == {A, B, C}


def test_vnode_clients_stay_with_their_own_servers_while_these_live() -> None:
    slots = table(0, 1, 2, 0)
    balancer = made("vnode", EndpointSet((A, B, C), slots, (1, 1), (0, 1)))
    assert set(picked(balancer, 50)) == {"a", "b"}
    balancer.set_aside(A, 0.0)
    assert set(picked(balancer, 50)) == {"b"}
    balancer.set_aside(B, 0.0)
    assert set(picked(balancer, 50)) == {"c"}


def test_vnode_client_without_vnodes_uses_all() -> None:
    assert set(picked(made("vnode", EndpointSet((A, B, C), table(0, 1))))) == {"a", "b", "c"}


def test_slot_table_of_strangers_is_refused() -> None:
    with pytest.raises(UsageError, match="slot table"):
        made("p2c", EndpointSet((A,), table(0, 1)))


@pytest.mark.parametrize("name", BALANCERS)
def test_broken_endpoint_is_set_aside_at_once_and_back_after_a_good_probe(name: str) -> None:
    balancer = made(name)
    balancer.started(A, 0.0)
    balancer.set_aside(A, 0.0)
    balancer.set_aside(A, 0.0)
    balancer.finished(A, 0.0, 0.0, ok=False)
    assert "a" not in picked(balancer, 100, 0.05)
    assert balancer.next_probe_s == 0.1
    # Exactly one call finds out.
    assert picked(balancer, 100, 0.1)["a"] == 1
    balancer.started(A, 0.1)
    balancer.finished(A, 0.2, 0.1, ok=True)
    assert "a" in picked(balancer, 100, 0.2)


def test_failed_probe_waits_twice_as_long() -> None:
    balancer = made("p2c")
    balancer.set_aside(A, 0.0)
    assert balancer.pick(0.1) == A
    balancer.finished(A, 0.1, 0.0, ok=False)
    assert balancer.next_probe_s == pytest.approx(0.3)


def test_probe_is_not_given_to_a_call_that_has_just_failed_there() -> None:
    balancer = made("p2c")
    balancer.set_aside(A, 0.0)
    assert balancer.pick(0.2, None, (A,)) in (B, C)


def test_owner_may_probe_outside_of_calls() -> None:
    balancer = P2cBalancer(random.Random(1), probe_by_calls=False)
    balancer.update(ALL)
    balancer.set_aside(A, 0.0)
    assert balancer.claim_probe(0.05) is None
    assert "a" not in picked(balancer, 100, 0.2)
    assert balancer.pick(0.2, b"k") in (B, C)
    assert balancer.claim_probe(0.2) == A
    assert balancer.claim_probe(0.2) is None
    balancer.probed(A, 0.3, ok=False)
    assert "a" not in picked(balancer, 100, 0.3)
    balancer.probed(A, 0.4, ok=True)
    balancer.probed(A, 0.4, ok=True)
    assert "a" in picked(balancer, 100, 0.4)


def test_claimed_probe_that_nobody_answers_is_due_again() -> None:
    balancer = made("p2c")
    balancer.set_aside(A, 0.0)
    assert balancer.claim_probe(0.1) == A
    assert balancer.claim_probe(1.0) is None
    assert balancer.claim_probe(1.2) == A


def test_probe_stolen_by_another_pick_is_not_claimed_twice() -> None:
    balancer = made("p2c")
    balancer.set_aside(A, 0.0)
    balancer.update(EndpointSet((B, C)))
    assert balancer.claim_probe(9.0) is None


def test_with_everybody_set_aside_the_one_due_soonest_is_tried() -> None:
    balancer = made("p2c")
    for endpoint, now_s in ((B, 0.0), (A, 0.01), (C, 0.02)):
        balancer.set_aside(endpoint, now_s)
    assert [balancer.pick(0.03) for _ in range(3)] == [B, A, C]
    assert balancer.pick(0.03, None, (A, B)) == C
    assert balancer.pick(0.03, b"k") is not None


def test_failing_answers_set_aside_but_never_more_than_half() -> None:
    balancer = made("p2c", EndpointSet((A, B)))
    for endpoint in (A, B):
        for _ in range(50):
            balancer.started(endpoint, 0.0)
            balancer.finished(endpoint, 0.0, 0.1, ok=False)
    assert [state.breaker.closed for state in balancer.states()] == [False, True]
    assert balancer.states()[1].failures == 50


def test_counters_outlive_an_update_and_strangers_are_ignored() -> None:
    balancer = made("p2c", EndpointSet((A, B)))
    balancer.started(A, 0.0)
    balancer.update(EndpointSet((Endpoint("a", 1, weight=3.0), C)))
    state = balancer.states()[0]
    assert (state.in_flight, state.weight) == (1, 3.0)
    balancer.started(B, 0.0)
    balancer.finished(B, 0.0, 0.1, ok=True)
    balancer.set_aside(B, 0.0)
    balancer.probed(B, 0.0, ok=True)
    balancer.finished(C, 0.0, 0.1, ok=True)
    assert [s.in_flight for s in balancer.states()] == [1, 0]


def test_server_that_left_and_came_back_starts_afresh() -> None:
    balancer = made("p2c")
    balancer.set_aside(A, 0.0)
    balancer.update(EndpointSet((B, C)))
    balancer.update(ALL)
    assert balancer.states()[0].breaker.closed


def test_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="p2c, round_robin, random, weighted, vnode"):
        balancer_named("p2", random.Random(1))


def test_names_make_what_they_say() -> None:
    assert type(balancer_named("vnode", random.Random(1))) is VnodeBalancer


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(BALANCERS)),
    st.integers(),
    st.lists(
        st.tuples(
            st.sampled_from(["pick", "key", "ok", "bad", "aside", "update", "probe"]),
            st.integers(0, 7),
            st.floats(0, 1),
        ),
        max_size=80,
    ),
)
def test_any_history_leaves_an_endpoint_to_call(
    name: str, seed: int, history: list[tuple[str, int, float]]
) -> None:
    balancer = made(name, seed=seed)
    endpoints, now_s = ALL.endpoints, 0.0
    for what, bits, step_s in history:
        now_s += step_s
        chosen = [e for n, e in enumerate((A, B, C)) if bits >> n & 1]
        if what == "update" and chosen:
            weighted = tuple(Endpoint(e.host, 1, weight=bits % 3) for e in chosen)
            endpoints = weighted
            balancer.update(EndpointSet(endpoints))
        elif what in ("ok", "bad"):
            for endpoint in chosen:
                balancer.finished(endpoint, now_s, step_s, ok=what == "ok")
        elif what == "aside":
            for endpoint in chosen:
                balancer.set_aside(endpoint, now_s)
        elif what == "probe":
            balancer.claim_probe(now_s)
        else:
            given_to = balancer.pick(now_s, b"k" if what == "key" else None, chosen)
            left = [e for e in endpoints if e.host not in {c.host for c in chosen}]
            assert (given_to in left) if left else given_to is None
            if given_to is not None:
                balancer.started(given_to, now_s)
        assert all(state.in_flight >= 0 for state in balancer.states())


class Raising(Balancer):
    """Takes no list."""

    def refreshed(self, ready: Sequence[EndpointState], endpoints: EndpointSet) -> None:
        raise LookupError("no such rack")


def test_what_a_subclass_raises_over_a_list_goes_to_who_asked_for_it() -> None:
    balancer = Raising(random.Random(1))
    with pytest.raises(LookupError, match="no such rack"):
        balancer.update(EndpointSet((A,)))
    told: list[str] = []
    balancer.complain = lambda exc: told.append(str(exc))
    balancer.update(ALL)
    assert told == ["no such rack"]
    assert balancer.pick(0.0) in (A, B, C)
