"""One-way calls: sent once there is a connection, moved while unsent, never lost silently."""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from libevrpc import Balancer, EndpointState, RpcClient, RpcError, RpcServer
from libevrpc.client import lease
from libevrpc.core.prpc import Request
from unit_test.client.test_remembered import center, client_at, dead, foo_map, remember
from unit_test.fix_channel import Fake
from unit_test.fix_net import free_port
from unit_test.fix_peers import full_queue
from unit_test.fix_rpc import WAIT_S, Serving, wait_until
from unit_test.registry.fake_center import FakeCenter

__all__ = ["center", "dead"]

pytestmark = pytest.mark.live


class DeadFirst(Balancer):
    """Takes the server that is not there first."""

    def choose(self, ready: list[EndpointState], now_s: float) -> EndpointState:  # type: ignore[override]
        return min(ready, key=lambda each: each.endpoint.weight)


class Told:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[int] = queue.SimpleQueue()

    def tell(self, number: int) -> None:
        self.calls.put(number)

    def heard(self, count: int) -> list[int]:
        return sorted(self.calls.get(timeout=WAIT_S) for _ in range(count))


def test_calls_behind_a_dial_that_fails_move_to_another_server() -> None:
    told = Told()
    with RpcServer("127.0.0.1:0") as server:
        server.add_object(told, name="Told")
        target = f"list://127.0.0.1:{free_port()};weight=0.5,{server.address}"
        with RpcClient(target, balancer=DeadFirst) as client:
            for number in range(50):
                client.oneway("Told.tell", number)
            assert told.heard(50) == list(range(50))


def test_calls_behind_a_dead_remembered_server_move_when_the_center_names_another(
    tmp_path: Path, center: tuple[FakeCenter, str], dead: list[str]
) -> None:
    told = Told()
    fake, address = center
    remember(tmp_path, center, foo_map(1, *dead))
    with RpcServer("127.0.0.1:0") as server:
        server.add_object(told, name="Foo")
        fake.map = foo_map(2, server.address)
        with client_at(tmp_path, address) as client:
            for number in range(5):
                client.oneway("Foo.tell", number)
            assert told.heard(5) == list(range(5))


def test_calls_that_reach_nobody_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "libevrpc.client.oneway")
    with RpcClient(f"127.0.0.1:{free_port()}", retries_max=0) as client:
        client.oneway("Foo.tell", 1)
        wait_until(lambda: caplog.records)
        for _ in range(20):
            client.oneway("Foo.tell", 1)
    assert "one-way calls lost count=1 last=Foo.tell: " in caplog.records[0].message
    assert "Connection refused" in caplog.records[0].message
    assert len(caplog.records) <= 3


def test_what_cannot_be_sent_is_told_the_caller() -> None:
    address = f"127.0.0.1:{free_port()}"
    with (
        RpcClient(address, body_bytes_max=8192) as client,
        pytest.raises(RpcError, match="limit"),
    ):
        client.oneway("Foo.tell", b"x" * 9000)


def test_a_deadline_that_has_passed_is_told_the_caller(serving: Serving) -> None:
    with RpcClient(serving.address) as client, pytest.raises(RpcError, match="had passed"):
        client.oneway("Foo.Sum", 1, timeout_s=0)


def test_what_the_server_does_not_take_is_told_the_caller(fake: Callable[..., Fake]) -> None:
    asked = threading.Event()
    release = threading.Event()

    def stuck(sock: socket.socket, event: Request) -> None:
        asked.set()
        release.wait(WAIT_S)

    server = fake(stuck)
    with RpcClient(server.address, unsent_bytes_max=1024, retries_max=0) as client:
        client.oneway("Foo.tell", 1)
        assert asked.wait(WAIT_S)

        def flood() -> None:
            for _ in range(200):
                client.oneway("Foo.tell", b"x" * 1_000_000)

        with pytest.raises(RpcError, match="too much is waiting to be sent") as caught:
            flood()
        assert caught.value.errno == 1011
        release.set()


def test_calls_wait_for_a_dial_and_leave_in_order(fake: Callable[..., Fake]) -> None:
    server = fake(lambda sock, event: None)
    with RpcClient(server.address) as client:
        for number in range(30):
            client.oneway("Foo.tell", number)
        wait_until(lambda: len(server.requests) == 30)
    assert [each.payload for each in server.requests] == [bytes([0x91, n]) for n in range(30)]
    assert all(each.user_fields and "evrpc-oneway" in each.user_fields for each in server.requests)


def test_a_client_that_closes_says_what_it_could_not_send(caplog: pytest.LogCaptureFixture) -> None:
    with full_queue() as port:
        client = RpcClient(f"127.0.0.1:{port}", connect_timeout_s=WAIT_S)
        client.oneway("Foo.tell", 1)
        client.close()
    assert "one-way calls lost count=1" in caplog.text


def test_a_client_that_closes_lets_long_ones_leave(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are longer than what the kernel keeps of them."""
    monkeypatch.setattr(lease, "_SETTLE_S", WAIT_S)

    class Lengths(Told):
        def take(self, data: bytes) -> None:
            self.tell(len(data))

    told, serving = Lengths(), serve()
    serving.server.add_object(told, name="Told")
    with RpcClient(serving.address) as client:
        assert client.call("Foo.Sum", 1) == 1
        for _ in range(3):
            client.oneway("Told.take", bytes(10_000_000))
    assert told.heard(3) == [10_000_000] * 3


def test_a_stopping_server_is_left_without_a_loss(serve: Callable[..., Serving]) -> None:
    told = Told()
    servers = []
    for _ in range(2):
        server = RpcServer("127.0.0.1:0")
        server.add_object(told, name="Told")
        server.start()
        servers.append(server)
    with RpcClient("list://" + ",".join(each.address for each in servers)) as client:
        for number in range(20):
            client.oneway("Told.tell", number)
        assert told.heard(20) == list(range(20))
        servers[0].stop(1.0)
        for number in range(20):
            client.oneway("Told.tell", number)
        assert told.heard(20) == list(range(20))
    servers[1].stop(0.0)
