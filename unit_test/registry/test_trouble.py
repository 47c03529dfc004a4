"""What a client is told when there is nobody to call: by whose fault, and where to look."""

from __future__ import annotations

import random

import pytest

from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServerState, ServiceTable
from libevrpc.core.mapcache import (
    Answer,
    Failed,
    MapAnswer,
    MapCache,
    NotReady,
    Pull,
    PullPolicy,
)
from libevrpc.errors import RpcError, StatusCode
from libevrpc.registry.trouble import trouble_of

REFUSED = Failed("c1:1: cannot connect: Connection refused")


def published(
    *states: ServerState, version: int = 1, service: str = "x.Y", cluster: str = "us"
) -> ClusterMap:
    servers = tuple(
        ServerEntry(f"s{n}:1", (service,), state=state) for n, state in enumerate(states)
    )
    table = ServiceTable((service,), tuple(range(len(servers))), b"\x00\x00" * 64)
    return ClusterMap(cluster, 1, version, servers, (table,) if servers else (), (1,))


def cache_after(*answers: Answer, centers: int = 2) -> MapCache:
    """Give a cache whose questions were answered so, one after the other."""
    addresses = [f"c{n}:1" for n in range(1, centers + 1)]
    cache = MapCache(addresses, random.Random(1), PullPolicy(long_poll=False))
    now_s = 0.0
    actions = cache.start(now_s)
    for answer in answers:
        while not any(isinstance(each, Pull) for each in actions):
            now_s = cache.next_deadline_s()
            actions = cache.tick(now_s)
        (pull,) = [each for each in actions if isinstance(each, Pull)]
        actions = cache.answered(pull.number, answer, now_s)
    return cache


def told(cache: MapCache, *others: str) -> tuple[StatusCode, int, str]:
    trouble = trouble_of("x.Y", cache, others)
    assert isinstance(trouble, RpcError)
    return trouble.code, trouble.errno, trouble.text


def test_a_silent_list_is_told_with_every_address_and_reason() -> None:
    assert told(cache_after(REFUSED, Failed("no answer in time"))) == (
        StatusCode.UNAVAILABLE,
        1009,
        "no center answers for service x.Y (c1:1: cannot connect: Connection refused;"
        " c2:1: no answer in time)",
    )
    assert told(cache_after(*[Failed("no")] * 8, centers=8))[2].endswith("; and 3 more)")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NotReady(), "c2:1: it has no leader"),
        (NotReady((), "it has no map yet"), "c2:1: it has no map yet"),
        (MapAnswer(published(ServerState.UP), (), True), "c2:1: it has no leader"),
    ],
)
def test_centers_that_answer_but_cannot_tell_are_another_trouble(
    answer: Answer, words: str
) -> None:
    code, errno, text = told(cache_after(REFUSED, answer))
    assert (code, errno) == (StatusCode.UNAVAILABLE, 4014)
    assert text.startswith("no center can tell who offers service x.Y (c1:1: cannot connect")
    assert words in text


def test_a_center_that_was_not_asked_yet_is_not_blamed() -> None:
    assert "c2:1: no answer yet" in told(cache_after(REFUSED))[2]


def test_another_cluster_is_named() -> None:
    other = MapAnswer(published(ServerState.UP, cluster="them"))
    cache = cache_after(MapAnswer(published(ServerState.UP)), other, other)
    assert "c1:1: it speaks of another cluster" in told(cache)[2]


def test_a_service_that_nobody_offers_is_told_with_those_there_are() -> None:
    cache = cache_after(REFUSED, MapAnswer(published()))
    assert told(cache, "a.B", "c.D") == (
        StatusCode.UNIMPLEMENTED,
        1001,
        "service x.Y is not in the map; known services: a.B, c.D",
    )
    assert told(cache) == (
        StatusCode.UNAVAILABLE,
        4014,
        "service x.Y is not in the map: no server is registered",
    )


def test_servers_that_take_no_calls_are_told_with_their_states() -> None:
    cache = cache_after(MapAnswer(published(ServerState.SUSPECT, ServerState.DRAINING)))
    assert told(cache) == (
        StatusCode.UNAVAILABLE,
        4014,
        "service x.Y has no live server: s0:1 is SUSPECT, s1:1 is DRAINING",
    )


def test_where_the_centers_see_no_trouble_there_is_none() -> None:
    cache = cache_after(REFUSED, MapAnswer(published(ServerState.UP, ServerState.SUSPECT)))
    assert trouble_of("x.Y", cache, ()) is None
