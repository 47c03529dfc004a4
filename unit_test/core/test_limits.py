"""A server's limit: how it travels, and who gets a call when servers are at theirs."""

from __future__ import annotations

import random

import pytest

from libevrpc.core.balancers import BALANCERS, Balancer, balancer_named
from libevrpc.core.clustermap import (
    ClusterMap,
    ServerEntry,
    ServiceTable,
    tags_and_limit,
    tags_with_limit,
)
from libevrpc.core.endpoints import LIMIT_MAX, Endpoint, EndpointSet
from libevrpc.errors import ConfigError

A, B, C = (Endpoint(host, 1, limit=2) for host in "abc")
FREE = Endpoint("d", 1)


def made(name: str, *endpoints: Endpoint) -> Balancer:
    balancer = balancer_named(name, random.Random(7))
    balancer.update(EndpointSet(endpoints))
    return balancer


def fill(balancer: Balancer, key: bytes | None = None) -> list[str]:
    """Start calls until nobody may get one more; return who got them."""
    hosts = []
    while (endpoint := balancer.pick(0.0, key)) is not None:
        balancer.started(endpoint, 0.0)
        hosts.append(endpoint.host)
    return sorted(hosts)


@pytest.mark.parametrize("key", [None, b"k"])
@pytest.mark.parametrize("name", BALANCERS)
def test_nobody_gets_more_calls_than_he_allows(name: str, key: bytes | None) -> None:
    balancer = made(name, A, B, C)
    assert not balancer.limit_reached()
    assert fill(balancer, key) == ["a", "a", "b", "b", "c", "c"]
    assert balancer.limit_reached() == (
        "all 3 servers have as many calls of this client as they allow (2)"
    )
    balancer.finished(B, 0.0, 0.001, True)
    assert balancer.pick(0.0, key) == B
    assert not balancer.limit_reached()


@pytest.mark.parametrize("name", BALANCERS)
def test_who_has_no_limit_gets_the_rest(name: str) -> None:
    balancer = made(name, A, FREE)
    hosts = []
    for _ in range(50):
        endpoint = balancer.pick(0.0)
        assert endpoint is not None
        balancer.started(endpoint, 0.0)
        hosts.append(endpoint.host)
    assert hosts.count("a") <= 2
    assert not balancer.limit_reached()


def test_different_limits_are_told_as_a_range() -> None:
    balancer = made("random", A, Endpoint("b", 1, limit=1))
    fill(balancer)
    assert balancer.limit_reached().endswith("as they allow (1..2)")


def test_without_servers_no_limit_is_reached() -> None:
    assert not made("random").limit_reached()


def test_one_server_with_a_limit_is_counted_too() -> None:
    balancer = made("p2c", A)
    assert fill(balancer) == ["a", "a"]


def test_a_limit_changes_while_calls_run() -> None:
    balancer = made("p2c", A, B)
    assert fill(balancer) == ["a", "a", "b", "b"]
    balancer.update(EndpointSet((Endpoint("a", 1, limit=3), Endpoint("b", 1, limit=1))))
    assert fill(balancer) == ["a"]


def test_calls_that_nobody_counted_do_not_hold_a_place_for_ever() -> None:
    balancer = made("p2c", A, B)
    fill(balancer)
    balancer.update(EndpointSet((Endpoint("a", 1),)))  # alone, without limit: its ends are not told
    balancer.update(EndpointSet((A, B)))
    assert fill(balancer) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("limit", [-1, LIMIT_MAX + 1])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=r"a:1: limit -?\d+ is not in 0..1000000"):
        Endpoint("a", 1, limit=limit)


def test_a_limit_travels_in_a_map_beside_the_tags() -> None:
    assert tags_with_limit(("red",), 0) == ("red",)
    tags = tags_with_limit(("red",), 8)
    assert tags_and_limit(tags) == (("red",), 8)
    entry = ServerEntry("a:1", ("x.Y",), tags=tags)
    published = ClusterMap("c", 1, 1, (entry,), (ServiceTable(("x.Y",), (0,), b"\0\0"),))
    found = ClusterMap.decode(published.encode()).endpoints_of("x.Y")
    assert found.endpoints == (Endpoint("a", 1, tags=("red",), limit=8),)


@pytest.mark.parametrize(
    ("tag", "limit"),
    [("evrpc-limit=9999999", LIMIT_MAX), ("evrpc-limit=x", 0), ("evrpc-limit=" + "9" * 5000, 0)],
)
def test_what_is_no_limit_is_a_tag(tag: str, limit: int) -> None:
    assert tags_and_limit((tag,)) == ((() if limit else (tag,)), limit)
