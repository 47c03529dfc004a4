"""Clients with a `center://` target, centers and servers as processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError
from libevrpc.clock import monotonic_s
from unit_test.interop.clusters import Cluster, require_soon, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Give a cluster with two servers in its map."""
    with Cluster(tmp_path) as cluster:
        cluster.leader()
        cluster.await_servers(cluster.server()[1], cluster.server()[1])
        yield cluster


def client_of(cluster: Cluster) -> RpcClient:
    state_dir = str(cluster.folder / "client-state")
    return RpcClient(cluster.target(), balancer="round_robin", state_dir=state_dir)


@pytest.mark.alone  # it has a bound in time
def test_a_client_finds_servers_and_follows_their_coming_and_going(cluster: Cluster) -> None:
    with client_of(cluster) as client:
        pids = {client.call("Echo.pid") for _ in range(50)}
        assert len(pids) == 2

        def followed() -> float:
            third, address = cluster.server()
            wait_until(lambda: len(client.endpoints("Echo")) == 3)
            killed_s = third.signal(signal.SIGKILL)
            wait_until(lambda: len(client.endpoints("Echo")) == 2)
            took_s = monotonic_s() - killed_s
            assert address not in {each.address for each in client.endpoints("Echo")}
            return took_s

        require_soon(followed, 1.5)


def test_equal_keys_go_to_one_server(cluster: Cluster) -> None:
    with client_of(cluster) as client:

        def who(key: str) -> set[int]:
            return {client.call("Echo.pid", key=key) for _ in range(10)}

        for key in ("a", "b", "c"):
            # a fiftieth of all slots goes to the later server each second, so ours may just then
            assert len(who(key)) == 1 or len(who(key)) == 1


def test_calls_go_on_with_every_center_dead_also_after_a_restart(cluster: Cluster) -> None:
    with client_of(cluster) as client:
        assert client.call("Echo.echo", "one") == "one"
        for center in cluster.ids:
            cluster.kill(center)
        for number in range(20):
            assert client.call("Echo.echo", str(number)) == str(number)
    with client_of(cluster) as restarted:
        assert restarted.call("Echo.echo", "two") == "two"
        assert len(restarted.endpoints("Echo")) == 2


def test_a_client_without_map_and_centers_fails_at_its_deadline(tmp_path: Path) -> None:
    with (
        RpcClient("center://127.0.0.1:1/x.Y", state_dir=str(tmp_path)) as client,
        pytest.raises(RpcError, match="no center answers for service x.Y"),
    ):
        client.call("x.Y/z", timeout_s=1.5)  # time enough to be refused


def test_a_client_hears_of_servers_through_a_failover(cluster: Cluster) -> None:
    with client_of(cluster) as client:
        client.call("Echo.pid")
        cluster.kill(cluster.leader())
        cluster.leader()
        cluster.server()
        wait_until(lambda: len(client.endpoints("Echo")) == 3, what=cluster.logs())
