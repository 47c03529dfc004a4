"""A client that starts with the map of an earlier process, of servers that may be gone."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import ClientController, RpcClient, RpcError, RpcServer, StatusCode
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.targets import parse_target
from libevrpc.registry.opening import open_resolver
from libevrpc.settings import ClientSettings
from unit_test.fix_net import free_ports
from unit_test.fix_rpc import WAIT_S, Serving, wait_until
from unit_test.registry.fake_center import FakeCenter, map_of

pytestmark = pytest.mark.live

Way = Callable[..., Any]


def waiting(client: RpcClient, **more: Any) -> Any:
    return client.call("Foo.Sum", 1, 2, **more)


def future(client: RpcClient, **more: Any) -> Any:
    return client.future("Foo.Sum", 1, 2, **more).result()


ways = pytest.mark.parametrize("way", [waiting, future])


@pytest.fixture
def center() -> Iterator[tuple[FakeCenter, str]]:
    """Give a center whose pulls wait for the test, and its address."""
    fake = FakeCenter(queue.SimpleQueue())
    with RpcServer("127.0.0.1:0", threads=1) as server:
        server.add_service(fake)
        yield fake, server.address
        server.stop(0.0)


@pytest.fixture
def dead() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(2)]


def foo_map(version: int, *addresses: str) -> ClusterMap:
    return map_of(1, version, *addresses, service="Foo")


def remember(folder: Path, center: tuple[FakeCenter, str], found: ClusterMap) -> None:
    """Leave a map behind, as an earlier process would."""
    fake, address = center
    fake.map = found
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    settings = ClientSettings(state_dir=str(folder))
    resolver = open_resolver(parse_target(f"center://{address}"), "Foo", settings)
    resolver.start(told.put)
    assert not told.get(timeout=WAIT_S).remembered
    resolver.close()
    fake.map = None


def client_at(folder: Path, address: str, **settings: Any) -> RpcClient:
    """Give a client that may not try anything again."""
    given = {"retries_max": 0, "retry_budget_percent": 0.0, "timeout_s": 4 * WAIT_S, **settings}
    return RpcClient(f"center://{address}", state_dir=str(folder), **given)


@ways
def test_a_call_waits_for_the_center_when_everybody_remembered_is_gone(
    way: Way, tmp_path: Path, center: tuple[FakeCenter, str], dead: list[str], serving: Serving
) -> None:
    fake, address = center
    remember(tmp_path, center, foo_map(1, *dead))
    fake.map = foo_map(2, serving.address)
    controller = ClientController()
    with client_at(tmp_path, address) as client:
        assert way(client, controller=controller) == 3
        assert controller.peer == serving.address
        assert [each.address for each in client.endpoints()] == [serving.address]


@ways
def test_who_is_left_of_those_remembered_is_called_without_the_center(
    way: Way, tmp_path: Path, center: tuple[FakeCenter, str], dead: list[str], serving: Serving
) -> None:
    fake, address = center
    remember(tmp_path, center, foo_map(1, *dead, serving.address))
    fake.holds = True
    for _ in range(5):
        with client_at(tmp_path, address) as client:
            assert way(client) == 3


@ways
@pytest.mark.parametrize("ready", [True, False], ids=["silent", "leaderless"])
def test_without_the_center_the_call_fails_at_its_deadline_with_what_it_met(
    way: Way, ready: bool, tmp_path: Path, center: tuple[FakeCenter, str], dead: list[str]
) -> None:
    fake, address = center
    remember(tmp_path, center, foo_map(1, *dead))
    fake.ready = ready
    if ready:
        fake.holds = True
    controller = ClientController()
    for timeout_s in (0.2, 2.0):  # a busy machine may need longer to try them
        with client_at(tmp_path, address) as client, pytest.raises(RpcError) as failed:
            way(client, timeout_s=timeout_s, controller=controller)
        if controller.retries == len(dead):
            break
    assert "Connection refused" in failed.value.text
    assert failed.value.code is StatusCode.UNAVAILABLE
    assert controller.latency_s >= timeout_s
    assert controller.retries == len(dead), "each of them once"


@ways
def test_what_the_center_confirms_is_not_waited_for(
    way: Way, tmp_path: Path, center: tuple[FakeCenter, str], dead: list[str]
) -> None:
    fake, address = center
    remember(tmp_path, center, foo_map(1, *dead))
    fake.map = foo_map(1, *dead)
    controller = ClientController()
    with client_at(tmp_path, address) as client:
        with pytest.raises(RpcError, match="Connection refused"):
            way(client, controller=controller)
        assert controller.latency_s < WAIT_S


def test_a_call_that_waits_can_be_given_up_and_ends_with_its_client(
    tmp_path: Path, center: tuple[FakeCenter, str], dead: list[str]
) -> None:
    fake, address = center
    remember(tmp_path, center, foo_map(1, *dead))
    fake.holds = True
    with client_at(tmp_path, address) as client:
        futures = [client.future("Foo.Sum", 1) for _ in range(2)]
        wait_until(lambda: futures[0].cancel() or futures[0].done())
        assert futures[0].exception(WAIT_S)
        assert futures[0].cancelled()
    error = futures[1].exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.UNAVAILABLE
