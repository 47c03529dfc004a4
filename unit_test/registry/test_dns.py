"""`dns://`: names asked for again and again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcServer
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.targets import parse_target
from libevrpc.registry import dns
from libevrpc.registry.dns import DnsWatchSession, addresses_of
from libevrpc.registry.opening import open_resolver
from libevrpc.registry.session import RegistryError
from libevrpc.settings import ClientSettings

pytestmark = pytest.mark.live


class Foo:
    def sum(self, one: int, two: int) -> int:
        return one + two


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str] | OSError]]:
    """Give the list whose last entry the system's resolver answers."""
    given: list[list[str] | OSError] = []

    def answer(host: str) -> list[str]:
        found = given[-1]
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(dns, "addresses_of", answer)
    return given


def test_a_client_calls_a_server_behind_a_name_of_this_machine(tmp_path: Path) -> None:
    with RpcServer("127.0.0.1:0", threads=1) as server:
        server.add_object(Foo())
        port = server.address.rpartition(":")[2]
        with RpcClient(f"dns://localhost:{port}", state_dir=str(tmp_path)) as client:
            assert client.call("Foo.sum", 1, 2) == 3
        server.stop(0.0)


def test_the_system_is_asked_for_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, port: object, **given: object) -> list[object]:
        assert (host, given) == ("x.test", {"type": socket.SOCK_STREAM})
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:DB8::0:1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert addresses_of("x.test") == ["2001:DB8::0:1", "192.0.2.1"]
    assert DnsWatchSession("x.test", 7).fetch() == (
        Endpoint("2001:db8::1", 7),
        Endpoint("192.0.2.1", 7),
    )


def test_an_address_that_is_told_twice_is_one_server(answers: list[list[str] | OSError]) -> None:
    answers.append(["192.0.2.1", "192.0.2.1"])
    assert DnsWatchSession("x.test", 7).fetch() == (Endpoint("192.0.2.1", 7),)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not"),
        (OSError("odd"), "cannot resolve x.test: odd"),
        ([], "cannot resolve x.test: it has no address"),
    ],
)
def test_what_does_not_resolve_is_named(
    answers: list[list[str] | OSError], answer: list[str] | OSError, told: str
) -> None:
    answers.append(answer)
    with pytest.raises(RegistryError, match=told):
        DnsWatchSession("x.test", 7).fetch()


def test_a_name_that_cannot_be_spelled_is_named() -> None:
    with pytest.raises(RegistryError, match="cannot resolve"):
        DnsWatchSession("a" * 64 + ".test", 7).fetch()


def test_a_late_answer_serves_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer, asked = threading.Event(), []

    def answer(host: str) -> list[str]:
        asked.append(host)
        may_answer.wait()
        return ["192.0.2.1"]

    monkeypatch.setattr(dns, "addresses_of", answer)
    monkeypatch.setattr(dns, "ANSWER_S", 0.01)
    session = DnsWatchSession("x.test", 7)
    for _ in range(3):
        with pytest.raises(RegistryError, match="no answer within 0.01 s"):
            session.fetch()
    monkeypatch.setattr(dns, "ANSWER_S", 10.0)
    may_answer.set()
    assert session.fetch() == (Endpoint("192.0.2.1", 7),)
    assert asked == ["x.test"]  # one question was under way, no more


def test_without_threads_it_is_trouble_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RegistryError, match="can't start new thread"):
        DnsWatchSession("x.test", 7).fetch()


def test_a_client_that_closes_waits_for_no_resolver_and_complains_of_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def answer(host: str) -> list[str]:
        asked.set()
        may_answer.wait()
        return []

    monkeypatch.setattr(dns, "addresses_of", answer)
    monkeypatch.setattr(dns, "ANSWER_S", 1e6)
    target = parse_target("dns://x.test:7")
    resolver = open_resolver(target, "x.Y", ClientSettings(state_dir=str(tmp_path)))
    resolver.start(lambda endpoints: None)
    asked.wait()
    resolver.close()
    assert "libevrpc-watch" not in {thread.name for thread in threading.enumerate()}
    assert not caplog.messages
    may_answer.set()
