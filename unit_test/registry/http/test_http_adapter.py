"""Servers and clients at HTTP registries that others wrote, at several, and at nonsense."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from libevrpc import HttpRegistry, RpcClient, RpcServer
from libevrpc.cli.main import main
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.targets import parse_target
from libevrpc.credentials import write_secret
from libevrpc.registry.base import Announcement
from libevrpc.registry.http import HttpAnnounceSession, HttpWatchSession
from libevrpc.registry.http_link import HttpLink
from libevrpc.registry.opening import open_registrar, open_resolver
from libevrpc.registry.session import RegistryError
from libevrpc.settings import ClientSettings, ServerSettings
from unit_test.fix_rpc import wait_until
from unit_test.registry.contract.harness import Watched, load
from unit_test.registry.http.conftest import Registry
from unit_test.registry.http.fake_tinyrpc import FakeRegistry

pytestmark = pytest.mark.live

Start = Callable[..., Registry]
Fake = Callable[..., FakeRegistry]
SERVER = Announcement("10.0.0.7:9998", ("Foo",), 2.0, ("red",), 9)


@pytest.fixture
def fake() -> Iterator[Fake]:
    """Give a function that starts unmodified registries; all end with the test."""
    with ExitStack() as stack:

        def start(*words: Any, **more: Any) -> FakeRegistry:
            made = FakeRegistry(*words, **more)
            stack.callback(made.close)
            return made

        yield start


@contextmanager
def announced(target: str, folder: Path, announcement: Announcement = SERVER) -> Iterator[Any]:
    registrar = open_registrar(parse_target(target), ServerSettings(state_dir=str(folder)))
    registrar.start(announcement, load)
    try:
        yield registrar
    finally:
        registrar.withdraw(5.0)
        registrar.close()


@contextmanager
def watched(target: str, folder: Path, service: str = "Foo") -> Iterator[Watched]:
    settings = ClientSettings(state_dir=str(folder / "client"))
    view = Watched(open_resolver(parse_target(target), service, settings))
    try:
        yield view
    finally:
        view.resolver.close()


def session(target: str) -> HttpWatchSession:
    return HttpWatchSession(parse_target(target), "Foo", set())


@pytest.mark.parametrize("dialect", ["tinyrpc", "geerpc"])
def test_an_unmodified_registry_hears_and_is_heard(
    fake: Fake, tmp_path: Path, dialect: str
) -> None:
    registry = fake(dialect)
    target = f"{registry.target}?dialect={dialect}&every=0.1"
    registry.servers = {"tcp@10.0.0.1:1": 1e12, "http@10.0.0.2:2": 1e12, "unix@/run/x": 1e12}
    with announced(target, tmp_path), watched(target, tmp_path) as view:
        view.until_addresses("10.0.0.1:1", "10.0.0.2:2", "unix:///run/x", "10.0.0.7:9998")
        transports = {each.address: each.transport for each in view.now}
        assert transports["10.0.0.2:2"] == "http"
        assert transports["10.0.0.7:9998"] == "tcp"
        wait_until(lambda: len(registry.posts) >= 3)
        header = registry.dialect.server_header
        assert {each[header] for each in registry.posts} == {"tcp@10.0.0.7:9998"}
    assert "DELETE" in registry.methods
    assert "tcp@10.0.0.7:9998" in registry.servers  # it knows no goodbye: it expires there


def test_beats_survive_errors_and_a_restart_that_forgets(fake: Fake, tmp_path: Path) -> None:
    registry = fake()
    with announced(f"{registry.target}?every=0.1", tmp_path):
        wait_until(lambda: registry.servers)
        for answer in (b"", b"garbage\r\n\r\n", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"):
            asked = threading.Event()

            def misbehave(
                head: bytes, answer: bytes = answer, asked: threading.Event = asked
            ) -> bytes:
                asked.set()
                return answer

            registry.answer = misbehave
            assert asked.wait(10.0)
        registry.servers = {}
        registry.answer = None
        wait_until(lambda: registry.servers)


def test_a_restart_that_forgot_everybody_drops_nobody_at_once(fake: Fake, tmp_path: Path) -> None:
    registry = fake()
    registry.servers = {"tcp@10.0.0.1:1": 1e12}
    with watched(f"{registry.target}?every=0.1", tmp_path) as view:
        view.until_addresses("10.0.0.1:1")
        registry.servers = {}
        view.until(view.resolver.trouble, "an empty list is not believed")
        assert "lists nobody" in str(view.resolver.trouble())
        registry.servers = {"tcp@10.0.0.1:1": 1e12, "tcp@10.0.0.3:3": 1e12}
        view.until_addresses("10.0.0.1:1", "10.0.0.3:3")
        assert all(each.endpoints for each in view.lists)


def test_an_empty_list_that_stays_is_believed(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libevrpc.registry.http._settle_s", lambda every_s: 0.0)
    registry = fake()
    registry.servers = {"tcp@10.0.0.1:1": 1e12}
    watching = session(registry.target)
    assert len(watching.fetch()) == 1
    registry.servers = {}
    assert watching.fetch() == ()


def test_what_a_registry_of_ours_forgot_is_asked_for_twice(registry: Start) -> None:
    first, second = registry(), registry()
    announcing = HttpAnnounceSession(parse_target(first.target()))
    announcing.put(SERVER)
    watching = session(first.target())
    assert len(watching.fetch()) == 1
    watching._places[0].link = session(second.target())._places[0].link  # noqa: SLF001
    with pytest.raises(RegistryError, match="restarted and knows less"):
        watching.fetch()
    assert watching.fetch() == ()


def test_records_go_through_a_registry_of_ours(registry: Start, tmp_path: Path) -> None:
    started = registry()
    with announced(started.target(), tmp_path), watched(started.target(), tmp_path) as view:
        view.until_addresses(SERVER.address)
        (found,) = view.now
        assert (found.weight, found.tags, found.limit, found.transport) == (2.0, ("red",), 9, "tcp")
        with watched(started.target("geerpc", "?dialect=geerpc"), tmp_path / "2", "Bar") as other:
            other.until(lambda: other.lists, "the registry has told")
            assert other.now == ()
    assert started.registry.addresses == []


def test_the_program_calls_and_lists_who_stands_in_a_registry_of_ours(
    registry: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It asks any server what it offers, so the service of that question is everybody's."""

    class Foo:
        def Sum(self, one: int, two: int) -> int:  # noqa: N802  # as callers spell it
            return one + two

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    target = registry().target()
    server = RpcServer("127.0.0.1:0", threads=1, workers=1, registry=target)
    server.add_object(Foo())
    with server:
        assert main(["call", target, "Foo.Sum", "-d", "[1, 2]", "--timeout", "30"]) == 0
        assert capsys.readouterr().out.strip() == "3"
        assert main(["list", target, "--timeout", "30"]) == 0
        assert "Sum(one: int, two: int) -> int" in capsys.readouterr().out


def test_an_expiry_of_its_own(registry: Start) -> None:
    started = registry()
    target = parse_target(started.target(options="?expiry=2"))
    announcing = HttpAnnounceSession(target)
    announcing.put(Announcement("unix:///run/a", ()))
    assert started.registry.addresses == ["unix@/run/a"]
    wait_until(lambda: started.registry.addresses == [])

    def there_again() -> bool:
        announcing.beat(5.0)
        return started.registry.addresses == ["unix@/run/a"]

    announcing.wake()
    wait_until(there_again)


def test_two_registries_know_the_same_and_one_may_be_down(
    fake: Fake, registry: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign, ours = fake(), registry()
    down = socket.socket()
    down.bind(("127.0.0.1", 0))
    refused = f"127.0.0.1:{down.getsockname()[1]}"
    listed = f"127.0.0.1:{foreign.port},{ours.address},{refused}"
    target = f"http://{listed}/_tinyrpc_/registry?every=0.1"
    foreign.servers = {"tcp@10.0.0.1:1": 1e12}
    with announced(target, tmp_path), watched(target, tmp_path) as view:
        view.until_addresses("10.0.0.1:1", SERVER.address)
        wait_until(lambda: "tcp@10.0.0.7:9998" in foreign.servers)  # one tells the view of it
        wait_until(lambda: ours.registry.addresses == ["tcp@10.0.0.7:9998"])
        foreign.answer = lambda head: b""
        other = Announcement("10.0.0.8:1", ("Foo",))
        with announced(ours.target(), tmp_path / "other", other):
            view.until_addresses("10.0.0.1:1", SERVER.address, other.address)
        view.until_addresses("10.0.0.1:1", SERVER.address)
        foreign.answer = None
        foreign.servers.pop("tcp@10.0.0.1:1")
        view.until_addresses(SERVER.address)
    down.close()
    assert f"{refused}: cannot connect: Connection refused; going on with the others" in caplog.text


def test_what_only_a_silent_registry_listed_stays_until_another_drops_it(fake: Fake) -> None:
    one, two = fake(), fake()
    one.servers = {"a:1": 1e12, "b:1": 1e12}
    two.servers = {"b:1": 1e12, "c:1": 1e12}
    watching = session(
        f"http://127.0.0.1:{one.port},127.0.0.1:{two.port}/_tinyrpc_/registry?every=0.1"
    )
    assert {each.address for each in watching.fetch()} == {"a:1", "b:1", "c:1"}
    one.answer = lambda head: b""
    two.servers.pop("b:1")
    for _ in range(3):
        assert {each.address for each in watching.fetch()} == {"a:1", "c:1"}


GARBAGE = {
    "hangs up": b"",
    "no HTTP": b"220 smtp.example.com\r\n",
    "half an answer": b"HTTP/1.1 200 OK\r\nX-Tinyrpc-Servers: a:1\r\nContent-Length: 9\r\n\r\n",
    "another program": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "an error": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX-Tinyrpc-Servers: " + b"a:1," * (5 << 18),
    "lying JSON": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Libevrpc-Version: 1\r\n"
        b'Content-Length: 14\r\n\r\n{"servers": 7}'
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_nonsense_is_named_and_harms_nobody(fake: Fake, tmp_path: Path, kind: str) -> None:
    registry = fake()
    registry.servers = {"tcp@10.0.0.1:1": 1e12}
    with watched(f"{registry.target}?every=0.1", tmp_path) as view:
        view.until_addresses("10.0.0.1:1")
        registry.answer = lambda head: GARBAGE[kind]
        view.until(view.resolver.trouble, "the registry is in trouble")
        assert f"127.0.0.1:{registry.port}" in str(view.resolver.trouble())
        assert view.addresses == {"10.0.0.1:1"}
        registry.answer = None
        view.until(lambda: view.resolver.trouble() is None, "it is well again")


@pytest.mark.parametrize("kind", ["hangs up", "no HTTP", "an error", "a redirect", "a long header"])
def test_nonsense_is_no_announcement(fake: Fake, kind: str) -> None:
    registry = fake()
    registry.answer = lambda head: GARBAGE[kind]
    announcing = HttpAnnounceSession(parse_target(registry.target))
    with pytest.raises(RegistryError, match=f"127.0.0.1:{registry.port}"):
        announcing.put(SERVER)
    registry.answer = None
    announcing.put(SERVER)
    assert list(registry.servers) == ["tcp@10.0.0.7:9998"]


def test_unreadable_entries_are_left_out_and_named_once(
    fake: Fake, registry: Start, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = fake()
    foreign.servers = {"tcp@10.0.0.1:1": 1e12, "nonsense": 1e12, "tcp@@": 1e12}
    watching = session(foreign.target)
    for _ in range(2):
        assert [each.address for each in watching.fetch()] == ["10.0.0.1:1"]
    assert caplog.text.count("left out of the list: 'nonsense'") == 1
    started = registry()
    peer = started.peer()
    headers = "X-Tinyrpc-Server: tcp@10.0.0.1:1\r\nContent-Type: application/json\r\n"
    peer.ask("/_tinyrpc_/registry", '{"weight":"heavy"}', headers)
    assert session(started.target()).fetch() == ()
    assert "tcp@10.0.0.1:1" in caplog.text


def test_a_silent_registry_does_not_hold_up_the_end(tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    target = f"http://127.0.0.1:{silent.getsockname()[1]}/_tinyrpc_/registry"
    with pytest.raises(RegistryError, match="no answer within"):
        session(target).fetch()
    silent.close()


def test_a_token_is_shown(registry: Start, tmp_path: Path) -> None:
    token = tmp_path / "token"
    write_secret(str(token), "a test's", "opensesameplease")
    started = registry({"token_file": str(token)})
    with pytest.raises(RegistryError, match="401"):
        HttpAnnounceSession(parse_target(started.target())).put(SERVER)
    settings = ServerSettings(token_file=str(token), state_dir=str(tmp_path))
    registrar = open_registrar(parse_target(started.target()), settings)
    registrar.start(SERVER, load)
    wait_until(lambda: started.registry.addresses)
    resolver = open_resolver(
        parse_target(started.target()),
        "Foo",
        ClientSettings(token_file=str(token), state_dir=str(tmp_path)),
    )
    view = Watched(resolver)
    view.until_addresses(SERVER.address)
    resolver.close()
    registrar.withdraw(5.0)
    registrar.close()


def test_a_registry_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "registry.sock"
    server = RpcServer(f"unix://{path}")
    with HttpRegistry(server) as kept, server:
        link = HttpLink(parse_endpoint(f"unix://{path}"), "/_tinyrpc_/registry", {})
        assert link.ask("POST", {"X-Tinyrpc-Server": "tcp@a:1"}).status == 200
        assert kept.addresses == ["tcp@a:1"]
    with pytest.raises(RegistryError, match="No such file"):
        link.ask("GET", {})


class Foo:
    def sum(self, one: int, two: int) -> int:
        return one + two


def test_a_client_calls_through_the_registry(registry: Start, tmp_path: Path) -> None:
    started = registry()
    state = str(tmp_path)
    server = RpcServer("127.0.0.1:0", registry=started.target(), state_dir=state)
    server.add_object(Foo())
    with server, RpcClient(started.target(), state_dir=state) as client:
        assert client.call("Foo.sum", 20, 22) == 42
        found = started.peer().get("/_tinyrpc_/registry", "Accept: application/json\r\n")
        (entry,) = json.loads(found.body)["servers"]
        assert entry["server"] == f"tcp@{server.address}"
        assert entry["record"]["services"] == ["Foo"]
    assert started.registry.addresses == []
