"""The watcher's thread, on a scripted registry."""

from __future__ import annotations

import logging
import os
import queue
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.core import watching
from libevrpc.core.backoff import BackoffPolicy
from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.watching import WatchPolicy
from libevrpc.errors import Errno, StatusCode
from libevrpc.registry import watcher
from libevrpc.registry.session import RegistryError, SessionLost
from libevrpc.registry.watcher import SessionResolver
from unit_test.registry.scripted import WAIT_S, ScriptedRegistry, next_told

A, B = Endpoint("a", 1, weight=2.0, tags=("red",), limit=3), Endpoint("b", 1, transport="http")
FAST = WatchPolicy(
    refresh_s=3600.0, window_s=0.001, settle_s=0.0, backoff=BackoffPolicy(0.001, 0.002)
)
Lists = queue.SimpleQueue[EndpointSet]


@pytest.fixture
def registry() -> ScriptedRegistry:
    return ScriptedRegistry()


@pytest.fixture
def lists() -> Lists:
    return queue.SimpleQueue()


@pytest.fixture
def resolver(registry: ScriptedRegistry, tmp_path: Path) -> Iterator[SessionResolver]:
    made = resolver_at(registry, tmp_path)
    yield made
    registry.go.set()
    made.close()


def resolver_at(
    registry: ScriptedRegistry, folder: Path, policy: WatchPolicy = FAST
) -> SessionResolver:
    return SessionResolver("fake://r", "x.Y", registry.watch_session, folder, policy)


def told(*servers: Endpoint, remembered: bool = False) -> EndpointSet:
    return EndpointSet(servers, remembered=remembered)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{each.levelname} {each.getMessage()}" for each in caplog.records]


def test_a_list_is_told_and_each_change_of_it(
    registry: ScriptedRegistry, resolver: SessionResolver, lists: Lists
) -> None:
    registry.servers = (A,)
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A)
    registry.change(A, B)
    assert lists.get(timeout=WAIT_S) == told(A, B)
    registry.change()
    assert lists.get(timeout=WAIT_S) == told()


def test_an_address_with_two_transports_is_told_once_and_named_once(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    caplog: pytest.LogCaptureFixture,
) -> None:
    again = Endpoint("b", 1, transport="tcp")
    registry.servers = (B, again)
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(B)
    registry.change(A, B, again)
    assert lists.get(timeout=WAIT_S) == told(A, B)
    assert lines(caplog) == [
        "WARNING registry fake://r names 1 addresses of x.Y with two transports,"
        " such as b:1 with tcp: an address is one server, the first one counts"
    ]


def test_a_thousand_changes_are_told_in_a_few_lists(
    registry: ScriptedRegistry, tmp_path: Path, lists: Lists
) -> None:
    resolver = resolver_at(
        registry, tmp_path, WatchPolicy(refresh_s=3600.0, window_s=0.2, settle_s=0.0)
    )
    resolver.start(lists.put)
    next_told(registry.told, "wait")
    begun_s = monotonic_s()
    for number in range(1000):
        registry.change(Endpoint("a", 1, weight=number))
    registry.change(B)
    while lists.get(timeout=WAIT_S) != told(B):
        pass
    took_s = monotonic_s() - begun_s
    resolver.close()
    fetches = 0
    while not registry.told.empty():
        fetches += registry.told.get()[0] == "fetch"
    assert fetches <= 2 + took_s / 0.2  # the window; it takes a moment


def test_while_the_registry_fails_the_list_stays(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "libevrpc.registry.watcher")
    registry.servers = (A,)
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A)
    assert resolver.trouble() is None
    registry.fails["fetch"] = SessionLost("connection reset")
    registry.change()
    for _ in range(5):
        next_told(registry.told, "open")
    trouble = resolver.trouble()
    assert trouble is not None
    assert (trouble.code, trouble.errno) == (StatusCode.UNAVAILABLE, Errno.FAILED_SOCKET)
    assert trouble.text == (
        "registry fake://r cannot tell who offers service x.Y (connection reset)"
    )
    assert lists.empty()
    registry.servers = (A, B)
    registry.fails.clear()
    assert lists.get(timeout=WAIT_S) == told(A, B)
    assert resolver.trouble() is None
    assert lines(caplog) == [
        "WARNING no answer from registry fake://r service=x.Y: connection reset;"
        " going on with what is known",
        "INFO registry answers again: fake://r service=x.Y",
    ]


def test_a_session_in_trouble_is_kept(
    registry: ScriptedRegistry, resolver: SessionResolver, lists: Lists
) -> None:
    registry.fails["fetch"] = RegistryError("time-out")
    resolver.start(lists.put)
    next_told(registry.told, "fetch")
    next_told(registry.told, "fetch")
    registry.servers = (A,)
    registry.fails.clear()
    assert lists.get(timeout=WAIT_S) == told(A)
    assert len(registry.sessions) == 1


@pytest.mark.parametrize("step", ["make", "open", "fetch", "wait", "close"])
def test_what_a_library_raises_costs_the_session_alone(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    caplog: pytest.LogCaptureFixture,
    step: str,
) -> None:
    registry.fails[step] = KeyError("surprise")
    if step == "close":
        registry.fails["fetch"] = SessionLost("gone")
    resolver.start(lists.put)
    next_told(registry.told, step)
    next_told(registry.told, step)
    registry.fails.clear()
    registry.change(A)
    while lists.get(timeout=WAIT_S) != told(A):
        pass
    warned = [line for line in lines(caplog) if line.startswith("WARNING")]
    assert warned
    assert ("gone" if step == "close" else "KeyError: 'surprise'") in warned[0]


def test_the_last_good_list_is_told_at_the_next_start(
    registry: ScriptedRegistry, resolver: SessionResolver, lists: Lists, tmp_path: Path
) -> None:
    registry.servers = (A, B)
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A, B)
    resolver.close()
    registry.fails["open"] = RegistryError("down")
    again = resolver_at(registry, tmp_path)
    again.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A, B, remembered=True)
    registry.fails.clear()
    assert lists.get(timeout=WAIT_S) == told(A, B)  # confirmed
    again.close()


def test_an_empty_list_is_told_and_not_kept(
    registry: ScriptedRegistry, resolver: SessionResolver, lists: Lists, tmp_path: Path
) -> None:
    registry.servers = (A,)
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A)
    registry.change()
    assert lists.get(timeout=WAIT_S) == told()
    trouble = resolver.trouble()
    assert trouble is not None
    assert trouble.text == "service x.Y has no server in registry fake://r"
    resolver.close()
    again = resolver_at(registry, tmp_path)
    again.start(lists.put)
    assert lists.get(timeout=WAIT_S).remembered
    again.close()


def test_what_was_kept_and_is_damaged_is_one_line(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry.servers = (A,)
    resolver.start(lists.put)
    lists.get(timeout=WAIT_S)
    resolver.close()
    kept = next(path for path in tmp_path.glob("list-*") if not path.name.endswith(".lock"))
    kept.write_bytes(b'{"servers": 7}')
    again = resolver_at(registry, tmp_path)
    assert lines(caplog) == [
        'WARNING what was remembered of fake://r is unreadable: record: "servers" is not a list'
    ]
    again.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A)
    again.close()


def test_before_the_first_word_that_is_the_trouble(
    registry: ScriptedRegistry, resolver: SessionResolver, lists: Lists
) -> None:
    registry.holds.add("fetch")
    resolver.start(lists.put)
    next_told(registry.told, "fetch")
    trouble = resolver.trouble()
    assert trouble is not None
    assert re.fullmatch(
        r"registry fake://r has not answered within [0-9.]+ s: who offers service x\.Y is not"
        r" known",
        trouble.text,
    )
    registry.doubt = "no connection (last tried r:1: Connection refused)"
    trouble = resolver.trouble()
    assert trouble is not None
    assert trouble.errno == Errno.FAILED_SOCKET
    assert trouble.text == (
        "registry fake://r cannot tell who offers service x.Y"
        " (no connection (last tried r:1: Connection refused))"
    )


def test_where_nothing_is_known_the_log_says_that_calls_wait(
    registry: ScriptedRegistry, resolver: SessionResolver, caplog: pytest.LogCaptureFixture
) -> None:
    registry.fails["open"] = RegistryError("connection refused")
    resolver.start(lambda found: None)
    for _ in range(2):
        next_told(registry.told, "open")
    assert lines(caplog) == [
        "WARNING no answer from registry fake://r service=x.Y: connection refused;"
        " calls wait for it"
    ]


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ((), "service x.Y has no server in registry fake://r"),
        (("b.C", "x.Yy"), "service x.Y has no server in registry fake://r; known there: x.Yy, b.C"),
        (
            tuple(f"a.B{number:02}" for number in range(25)),
            "service x.Y has no server in registry fake://r; known there: "
            + ", ".join(f"a.B{number:02}" for number in range(20))
            + " and 5 more",
        ),
    ],
)
def test_where_nobody_offers_the_service_others_are_named(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    others: tuple[str, ...],
    text: str,
) -> None:
    registry.others = others
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told()
    trouble = resolver.trouble()
    assert trouble is not None
    assert trouble.text == text


def test_other_services_that_cannot_be_told_are_no_trouble(
    registry: ScriptedRegistry, resolver: SessionResolver, lists: Lists
) -> None:
    registry.fails["others"] = RegistryError("no permission")
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told()
    next_told(registry.told, "wait")
    trouble = resolver.trouble()
    assert trouble is not None
    assert trouble.text == "service x.Y has no server in registry fake://r"


def test_after_close_nothing_is_told(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watcher, "_JOIN_S", 0.01)
    registry.servers = (A,)
    registry.holds.add("fetch")
    resolver.start(lists.put)
    next_told(registry.told, "fetch")
    resolver.close()  # the step blocks, and ends by itself
    registry.go.set()
    next_told(registry.told, "close")
    assert lists.empty()


def test_a_close_that_overtakes_the_making_of_a_session_waits_for_no_registry(
    registry: ScriptedRegistry, resolver: SessionResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing yet that could be woken, and to connect may take long."""
    monkeypatch.setattr(watcher, "_JOIN_S", 0.01)
    registry.holds.add("make")
    resolver.start(lambda found: None)
    next_told(registry.told, "make")
    resolver.close()
    registry.go.set()
    assert registry.told.get(timeout=WAIT_S) == ("close", None)


def test_one_that_was_never_started_can_be_closed(resolver: SessionResolver) -> None:
    resolver.close()


def test_a_forked_child_leaves_the_parent_s_watch_alone(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver.start(lists.put)
    next_told(registry.told, "wait")
    parent = os.getpid()
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: parent + 1)
        resolver.close()
    registry.change(A)
    while lists.get(timeout=WAIT_S) != told(A):
        pass


def test_a_list_without_end_is_cut_and_named_once(
    registry: ScriptedRegistry,
    resolver: SessionResolver,
    lists: Lists,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watching, "ENDPOINTS_MAX", 1)
    monkeypatch.setattr(watcher, "ENDPOINTS_MAX", 1)
    registry.servers = (A, B)
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S) == told(A)
    registry.change(B, Endpoint("c", 1))
    assert lists.get(timeout=WAIT_S) == told(B)
    assert lines(caplog) == ["WARNING fake://r names 2 servers of x.Y: the first 1 are used"]
