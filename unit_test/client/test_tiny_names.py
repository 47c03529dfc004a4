"""TinyRPC's own names: what its samples do, with ours behind them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import ConfigError, HttpRegistry, RpcClient, RpcError, RpcServer, StatusCode
from libevrpc import UsageError as Misuse
from libevrpc.core.targets import parse_target
from libevrpc.tinyrpc import (
    Client,
    Dial,
    DialHTTP,
    EtcdRegistryDiscovery,
    GeeRegistryDiscovery,
    MultiServersDiscovery,
    NewServer,
    Option,
    RandomSelect,
    RoundRobinSelect,
    Server,
    TinyRegistryDiscovery,
    XClient,
    XDial,
)
from unit_test.client.tiny import Args
from unit_test.fix_net import free_port
from unit_test.fix_peers import Peers, read_to_end
from unit_test.fix_rpc import WAIT_S, wait_until

pytestmark = pytest.mark.live


class Foo:
    """The sample's service."""

    def __init__(self) -> None:
        self.calls = 0
        self.release = threading.Event()

    def sum(self, args: Args) -> int:
        self.calls += 1
        return args.Num1 + args.Num2

    def sleep(self, args: Args) -> int:
        self.release.wait(args.Num1)
        return args.Num1 + args.Num2

    Sum, Sleep = sum, sleep


@pytest.fixture
def foos() -> Iterator[dict[str, Foo]]:
    servers: list[Server] = []
    found: dict[str, Foo] = {}
    for _ in range(2):
        server = NewServer()
        foo = Foo()
        server.Register(foo)
        found[server.Listen("tcp", "127.0.0.1:0", threads=1, workers=8)] = foo
        servers.append(server)
    yield found
    for foo in found.values():
        foo.release.set()
    for server in servers:
        server.Close()


def plain(address: str) -> str:
    return address.partition("@")[2]


@pytest.mark.parametrize("codec", ["gob", "json", "msgpack"])
def test_clients_of_one_server(foos: dict[str, Foo], codec: str) -> None:
    address = next(iter(foos))
    option = Option(CodecType=f"application/{codec}")
    clients: list[Client] = [
        Dial("tcp", plain(address), option),
        DialHTTP("tcp", plain(address), option),
        XDial(address, option),
        XDial("http@" + plain(address), option),
        Dial("tcp", plain(address)),
    ]
    for client in clients:
        with client:
            assert client.IsAvailable()
            assert client.Call("Foo.Sum", Args(1, 2), int) == 3
            calls = [client.Go("Foo.Sum", Args(n, n * n), int) for n in range(5)]
            assert [each.result(WAIT_S) for each in calls] == [n + n * n for n in range(5)]
            with pytest.raises(RpcError, match="can't find method Nothing"):
                client.Call("Foo.Nothing", Args(1, 2))
        assert not client.IsAvailable()
        with pytest.raises(RpcError, match="connection is shut down"):
            client.Call("Foo.Sum", Args(1, 2))


def test_a_server_on_a_unix_socket(tmp_path: Path) -> None:
    server = NewServer()
    server.Register(Foo(), "Other")
    address = server.Listen("unix", str(tmp_path / "s.sock"))
    server.Register(Foo())
    try:
        assert address == f"unix@{tmp_path}/s.sock"
        with XDial(address) as client:
            assert client.Call("Other.Sum", Args(1, 2), int) == 3
            assert client.Call("Foo.Sum", Args(1, 2), int) == 3
        with Dial("unix", str(tmp_path / "s.sock")) as client:
            assert client.Call("Foo.Sum", Args(1, 2), int) == 3
        with pytest.raises(Misuse, match="listens already"):
            server.Listen("tcp", "127.0.0.1:0")
        with pytest.raises(Misuse, match="service already defined: Foo"):
            server.Register(Foo())
    finally:
        server.Close()


def test_the_three_time_outs(foos: dict[str, Foo]) -> None:
    with (
        Peers(read_to_end) as peers,
        pytest.raises(RpcError, match="connect timeout: expect within 100ms"),
    ):
        Dial("tcp", peers.address, Option(ConnectTimeout=0.1))
    address = next(iter(foos))
    with XDial(address) as client:
        with pytest.raises(RpcError, match="rpc client: call failed") as caught:
            client.Call("Foo.Sleep", Args(3, 1), int, timeout_s=0.1)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
    with (
        XDial(address, Option(ConnectTimeout=0, HandleTimeout=0.1)) as client,
        pytest.raises(RpcError, match="request handle timeout: expect within 100ms"),
    ):
        client.Call("Foo.Sleep", Args(3, 1), int, timeout_s=WAIT_S)


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(RpcError, match="Connection refused"):
        Dial("tcp", f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize("mode", [RandomSelect, RoundRobinSelect])
def test_what_the_sample_does(foos: dict[str, Foo], mode: int) -> None:
    with XClient(MultiServersDiscovery(list(foos)), mode) as client:
        calls = [client.Go("Foo.Sum", Args(n, n * n), int) for n in range(5)]
        assert [each.result(WAIT_S) for each in calls] == [n + n * n for n in range(5)]
        for n in range(5):
            assert client.Broadcast("Foo.Sum", Args(n, n * n), int) == n + n * n
        assert client.Broadcast("Foo.Sleep", Args(0, 1), int) == 1
        with pytest.raises(RpcError) as caught:
            client.Broadcast("Foo.Sleep", Args(4, 1), int, timeout_s=0.2)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        assert sorted(client.Servers()) == sorted(foos)
    assert sum(foo.calls for foo in foos.values()) == 15
    if mode == RoundRobinSelect:
        assert {foo.calls for foo in foos.values()} == {7, 8}


def test_a_list_that_changes(foos: dict[str, Foo]) -> None:
    first, second = foos
    discovery = MultiServersDiscovery([])
    discovery.Refresh()
    with XClient(discovery, RoundRobinSelect) as client:
        with pytest.raises(RpcError, match="rpc discovery: no available servers"):
            client.Call("Foo.Sum", Args(1, 2))
        with pytest.raises(RpcError, match="rpc discovery: no available servers"):
            client.Go("Foo.Sum", Args(1, 2))
        assert client.Broadcast("Foo.Sum", Args(1, 2)) is None
        for listed in ([first], [second], ["http@" + plain(second)], [first, second]):
            discovery.Update(listed)
            assert discovery.GetAll() == listed
            for _ in range(2):
                assert client.Call("Foo.Sum", Args(1, 2), int) == 3
            assert client.Servers() == listed
        assert [foo.calls for foo in foos.values()] == [3, 5]
        with pytest.raises(ConfigError):
            discovery.Update(["tcp@nowhere"])
        assert discovery.GetAll() == [first, second]
    discovery.Update([first])  # nobody follows any more
    assert discovery.Get(RandomSelect) == discovery.Get(RoundRobinSelect) == first
    with pytest.raises(Misuse, match="RandomSelect"):
        discovery.Get(7)
    with pytest.raises(RpcError, match="no available servers"):
        MultiServersDiscovery([]).Get(RandomSelect)


def test_an_address_with_two_transports_is_one_server(
    foos: dict[str, Foo], caplog: pytest.LogCaptureFixture
) -> None:
    address = plain(next(iter(foos)))
    both = [f"tcp@{address}", f"http@{address}", f"tcp@{address}"]
    with XClient(MultiServersDiscovery(both)) as client:
        assert client.Servers() == both[:1]
        assert client.Broadcast("Foo.Sum", Args(1, 2), int) == 3
    assert next(iter(foos.values())).calls == 1
    assert f"left out is the second transport (http) of {address}" in caplog.text


def test_a_client_that_closes_keeps_no_news_from_the_others(
    foos: dict[str, Foo], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = foos
    discovery = MultiServersDiscovery([first])
    leaving = XClient(discovery)
    with XClient(discovery) as staying:
        route, closer = RpcClient.route, threading.Thread(target=leaving.Close)

        def racing(client: RpcClient, service: str) -> Any:
            """Close the first client that is told, in the midst of it."""
            if closer.ident is None:
                closer.start()
                wait_until(lambda: not client.endpoints())
            return route(client, service)

        with monkeypatch.context() as patches:
            patches.setattr(RpcClient, "route", racing)
            discovery.Update([second])
        closer.join()
        assert staying.Servers() == [second]
    with pytest.raises(RpcError, match="shut down"):
        leaving.Call("Foo.Sum", Args(1, 2))


@pytest.mark.parametrize(
    ("discovery", "path"),
    [
        (TinyRegistryDiscovery, "/_tinyrpc_/registry"),
        (GeeRegistryDiscovery, "/_geerpc_/registry"),
    ],
)
def test_servers_come_from_a_registry(
    discovery: type[TinyRegistryDiscovery],
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with RpcServer("127.0.0.1:0", threads=1) as keeper:
        registry = HttpRegistry(keeper)
        url = f"http://{keeper.address}{path}"
        servers = [NewServer() for _ in range(2)]
        for server in servers:
            server.Register(Foo())
            server.Listen("tcp", "127.0.0.1:0", registry=f"{url}?dialect={discovery.dialect}")
        try:
            with XClient(discovery(url), RoundRobinSelect) as client:
                client.Call("Foo.Sum", Args(1, 2), int, timeout_s=WAIT_S)
                wait_until(lambda: len(client.Servers()) == 2)
                assert client.Broadcast("Foo.Sum", Args(1, 3), int) == 4
                servers.pop().Close()
                wait_until(lambda: len(client.Servers()) == 1)
                assert client.Call("Foo.Sum", Args(1, 2), int) == 3
        finally:
            for server in servers:
                server.Close()
    registry.close()


def test_registries_are_targets() -> None:
    found = parse_target(TinyRegistryDiscovery("http://127.0.0.1:9999/_tinyrpc_/registry").target)
    assert (found.scheme, found.path) == ("http", "/_tinyrpc_/registry")
    assert dict(found.query) == {"dialect": "tinyrpc", "every": "10"}
    gee = GeeRegistryDiscovery("http://127.0.0.1:9999/_geerpc_/registry", 2.5).target
    assert dict(parse_target(gee).query) == {"dialect": "geerpc", "every": "2.5"}
    etcd = parse_target(EtcdRegistryDiscovery("127.0.0.1:2379", 5.0).target)
    assert (etcd.scheme, dict(etcd.query)) == ("etcd", {"layout": "tinyrpc"})


def test_a_server_that_could_not_listen_may_try_elsewhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = NewServer()
        server.Register(Foo())
        try:
            with pytest.raises(ConfigError, match="in use"):
                server.Listen("tcp", f"127.0.0.1:{taken.getsockname()[1]}")
            with XDial(server.Listen("tcp", "127.0.0.1:0")) as client:
                assert client.Call("Foo.Sum", Args(1, 2), int) == 3
        finally:
            server.Close()


def test_a_service_that_cannot_be_served_is_not_taken_for_served() -> None:
    server = NewServer()
    server.Listen("tcp", "127.0.0.1:0")
    try:
        for _ in range(2):
            with pytest.raises(Misuse, match="method"):
                server.Register(object(), "Nothing")
    finally:
        server.Close()


def test_wrong_use_is_told() -> None:
    for wrong, told in (
        (lambda: Dial("udp", "127.0.0.1:1"), "tcp or unix"),
        (lambda: DialHTTP("unix", "/x"), "network 'unix': tcp"),
        (lambda: XDial("127.0.0.1:1"), "protocol@address"),
        (lambda: XDial("tcp@127.0.0.1:1", Option(CodecType="xml")), "invalid codec type xml"),
        (lambda: XDial("tcp@127.0.0.1:1", Option(Dialect="x")), "tinyrpc or geerpc"),
        (lambda: XClient(MultiServersDiscovery([]), 7), "RandomSelect"),
        (lambda: NewServer().Listen("udp", "x"), "tcp or unix"),
    ):
        with pytest.raises(Misuse, match=told):
            wrong()
    NewServer().Close()
