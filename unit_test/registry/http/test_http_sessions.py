"""The two sessions at an HTTP registry, step by step."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.http import HttpAnswer
from libevrpc.core.targets import parse_target
from libevrpc.registry import http, http_link
from libevrpc.registry.base import Announcement
from libevrpc.registry.http import HttpAnnounceSession, HttpWatchSession
from libevrpc.registry.http_link import ASK_S, HttpLink
from libevrpc.registry.session import Nap, RegistryError
from unit_test.fix_rpc import wait_until
from unit_test.registry.http.conftest import Registry
from unit_test.registry.http.fake_tinyrpc import FakeRegistry
from unit_test.registry.hurry import ends

pytestmark = pytest.mark.live

Start = Callable[..., Registry]
SERVER = Announcement("10.0.0.7:9998", ("Foo",))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


def watching(target: str) -> HttpWatchSession:
    return HttpWatchSession(parse_target(target), "Foo", set())


def announcing(target: str) -> HttpAnnounceSession:
    return HttpAnnounceSession(parse_target(target))


def test_a_goodbye_that_nobody_hears_is_an_error_and_may_be_said_again(
    fake: FakeRegistry,
) -> None:
    session = announcing(fake.target)
    session.remove()  # nobody knows us: nothing to take back
    assert fake.methods == []
    session.put(SERVER)
    fake.answer = lambda head: b""
    with pytest.raises(RegistryError, match=f"127.0.0.1:{fake.port}"):
        session.remove()
    fake.answer = None
    session.remove()
    session.remove()
    assert fake.methods == ["POST", "DELETE"]


def test_a_goodbye_is_said_where_a_beat_was_heard_and_not_answered(fake: FakeRegistry) -> None:
    session = announcing(fake.target)
    fake.answer = lambda head: b""  # hangs up on who has spoken
    with pytest.raises(RegistryError):
        session.put(SERVER)
    fake.answer = lambda head: b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    refused = announcing(fake.target)
    with pytest.raises(RegistryError, match="401"):
        refused.put(SERVER)
    fake.answer = None
    session.remove()
    assert fake.methods == ["DELETE"]
    refused.remove()  # who was refused is not listed
    assert fake.methods == ["DELETE"]
    fake.close()
    nobody = announcing(fake.target)
    with pytest.raises(RegistryError):
        nobody.put(SERVER)
    nobody.remove()


def test_a_frozen_registry_does_not_hold_up_the_beats_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time is what the questions take: each to the frozen one as long as it may."""
    clock, heard, least = [0.0], [0.0], []

    def ask(link: HttpLink, *words: Any, timeout_s: float = ASK_S, **more: Any) -> HttpAnswer:
        if link.address == "10.0.0.3:9":
            heard.append(clock[0])
            return HttpAnswer(200, {"x-libevrpc-expiry": "2"}, b"")
        clock[0] += timeout_s
        least.append(timeout_s)
        raise RegistryError(f"{link.address}: no answer")

    monkeypatch.setattr(http, "monotonic_s", lambda: clock[0])
    monkeypatch.setattr(HttpLink, "ask", ask)
    session = announcing("http://10.0.0.1:9,10.0.0.2:9,10.0.0.3:9/_tinyrpc_/registry?expiry=2")
    session.put(SERVER)
    monkeypatch.setattr(session, "_nap", Sleepless(clock))
    while clock[0] < 60.0:
        session.beat(5.0)
    assert max(after - before for before, after in pairwise(heard[1:])) < 2.0
    assert min(least) > 0.0
    least.clear()
    session.put(SERVER)  # an update makes all beats due, and none of them late
    assert least[0] > 0.5


def test_a_goodbye_is_said_first_to_those_who_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be reached costs two seconds, in which the others would send calls."""
    told: list[str] = []
    dead: set[str] = set()

    def ask(link: HttpLink, method: str, *words: Any, **more: Any) -> HttpAnswer:
        told.append(f"{method} {link.address}")
        if link.address in dead:
            raise RegistryError(f"{link.address}: no answer")
        return HttpAnswer(200, {}, b"")

    monkeypatch.setattr(HttpLink, "ask", ask)
    session = announcing("http://10.0.0.1:9,10.0.0.2:9/_tinyrpc_/registry")
    session.put(SERVER)
    dead.add("10.0.0.1:9")
    session.put(SERVER)
    told.clear()
    with pytest.raises(RegistryError, match="10.0.0.1:9"):
        session.remove()
    assert told == ["DELETE 10.0.0.2:9", "DELETE 10.0.0.1:9"]


class Sleepless(Nap):
    """Waits by putting a clock forward."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, seconds: float) -> bool:
        self._clock[0] += seconds
        return False


def test_a_question_for_news_has_no_longer_than_others_to_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may wait half a minute for its answer, and cannot be interrupted before it is sent."""
    monkeypatch.setattr(http_link, "ASK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        try:
            for each in fillers:
                each.setblocking(False)
                each.connect_ex((host, port))
            link = HttpLink(parse_endpoint(f"{host}:{port}"), "/x", {})
            begun_s = monotonic_s()
            with pytest.raises(RegistryError):
                link.ask("GET", {}, timeout_s=30.0, interruptible=True)
            assert monotonic_s() - begun_s < 20.0
        finally:
            for each in fillers:
                each.close()


def test_what_a_server_says_is_numbered(fake: FakeRegistry) -> None:
    session, other = announcing(fake.target), announcing(fake.target)
    for _ in range(2):
        session.put(SERVER)
    other.put(SERVER)
    words = [each["X-Libevrpc-Word"].split("-") for each in fake.posts]
    assert [int(number) for _, number in words] == [1, 2, 1]
    assert words[0][0] == words[1][0] != words[2][0]
    heads: list[bytes] = []
    fake.answer = lambda head: heads.append(head) or b""  # type: ignore[func-returns-value]
    with pytest.raises(RegistryError):
        session.remove()
    assert f"X-Libevrpc-Word: {words[0][0]}-3".encode() in heads[0]


def test_who_ends_waits_for_no_registry_that_is_frozen(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HttpLink.ask.__kwdefaults__, "timeout_s", 60.0)
    monkeypatch.setattr(http, "ASK_S", 60.0)
    two = f"http://127.0.0.1:{fake.port},localhost:{fake.port}/_tinyrpc_/registry"
    server, client = announcing(two), watching(two)
    server.put(SERVER)
    thaw, asked = threading.Event(), threading.Event()

    def freeze(head: bytes) -> bytes:
        asked.set()
        thaw.wait(60.0)
        return b""

    fake.answer = freeze
    for step, wake in ((server.remove, server.wake), (client.fetch, client.wake)):
        asked.clear()
        ends(step, asked.is_set, wake)
    thaw.set()


@pytest.mark.parametrize("expiry", ["soon", "nan", "-1", "0"])
def test_an_expiry_that_is_none_changes_nothing(fake: FakeRegistry, expiry: str) -> None:
    said = f"HTTP/1.1 200 OK\r\nX-Libevrpc-Expiry: {expiry}\r\nContent-Length: 0\r\n\r\n"
    fake.answer = lambda head: said.encode()
    session = announcing(f"{fake.target}?every=60")
    session.put(SERVER)
    fake.answer = lambda head: b""
    session.wake()
    session.beat(60.0)  # not due for a minute: woken, it asks nobody


def test_a_server_may_be_announced_behind_connect(fake: FakeRegistry) -> None:
    announcing(f"{fake.target}?transport=http").put(SERVER)
    assert list(fake.servers) == ["http@10.0.0.7:9998"]
    (found,) = watching(fake.target).fetch()
    assert (found.address, found.transport) == (SERVER.address, "http")


def test_waiting_ends_with_news_with_time_and_when_woken(registry: Start) -> None:
    started = registry()
    teller, session = announcing(started.target()), watching(started.target())
    assert session.fetch() == ()
    assert not session.wait(0.05)
    teller.put(SERVER)
    assert session.wait(20.0)
    assert [each.address for each in session.fetch()] == [SERVER.address]
    session.wake()
    assert not session.wait(20.0)  # woken before
    waiter = threading.Thread(target=session.wait, args=(20.0,))
    waiter.start()
    wait_until(lambda: started.server.statistics().in_flight == 1)
    session.wake()
    waiter.join(10.0)
    assert not waiter.is_alive()


def test_a_registry_that_lets_nobody_wait_is_not_asked_all_the_time(
    registry: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libevrpc.server.http.registry.WAITERS_MAX", 0)
    monkeypatch.setattr("libevrpc.registry.http.RETRY_S", 3600.0)
    started = registry()
    session = watching(started.target())
    session.fetch()
    asked = started.server.statistics().calls
    waiter = threading.Thread(target=session.wait, args=(20.0,))
    waiter.start()
    wait_until(lambda: started.server.statistics().calls > asked)
    session.wake()
    waiter.join(10.0)
    assert not waiter.is_alive()
    assert started.server.statistics().calls == asked + 1


def test_at_an_original_waiting_is_for_time_alone(fake: FakeRegistry) -> None:
    session = watching(f"{fake.target}?every=0.1")
    session.fetch()
    assert session.wait(20.0)
    session.wake()
    assert not session.wait(20.0)


def test_a_registry_that_dies_while_we_wait(registry: Start) -> None:
    started, other = registry(), registry()
    session = watching(started.target())
    both = watching(f"http://{started.address},{other.address}/_tinyrpc_/registry")
    session.fetch()
    both.fetch()
    started.server.stop(0.0)
    with pytest.raises(RegistryError, match=started.address):
        session.wait(5.0)
    assert both.wait(5.0)  # the other one is asked
    assert both.fetch() == ()


def test_all_are_asked_where_none_is_due(fake: FakeRegistry, registry: Start) -> None:
    started = registry()
    session = watching(f"http://127.0.0.1:{fake.port},{started.address}/_tinyrpc_/registry")
    fake.answer = lambda head: b""
    started.server.stop(0.0)
    for _ in range(2):  # the second time both are in disgrace
        with pytest.raises(RegistryError) as caught:
            session.fetch()
        assert started.address in str(caught.value)
        assert f"127.0.0.1:{fake.port}" in str(caught.value)
    fake.answer = None
    fake.servers = {"tcp@10.0.0.1:1": 1e12}
    assert [each.address for each in session.fetch()] == ["10.0.0.1:1"]
