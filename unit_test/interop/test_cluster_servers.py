"""Servers as processes at a cluster of centers: seen soon, gone soon."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.core.places import places_of
from libevrpc.gen import center_pb2
from unit_test.fix_net import free_port
from unit_test.interop.clusters import Cluster, ask, require_soon, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster whose centers no test of this module harms."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.leader()
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """Give the shared cluster, without servers before and after the test."""
    yield shared
    for process in shared.servers:
        process.end()
    shared.servers.clear()

    def empty() -> bool:
        for address in shared.servers_at(1):
            goodbye(shared, address)
        return not any(shared.servers_at(each) for each in shared.ids)

    wait_until(empty, what=shared.logs())


@pytest.fixture
def port() -> Iterator[str]:
    """Give an address that somebody listens on, so that no dial proves it dead."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def report(cluster: Cluster, address: str, **fields: Any) -> center_pb2.ReportResponse:
    request = center_pb2.ReportRequest(address=address, services=["x.Y"], **fields)
    response: center_pb2.ReportResponse | None = ask(
        cluster.address(1), "Report", request, center_pb2.ReportResponse, cluster.answer_s
    )
    assert response is not None
    return response


def goodbye(cluster: Cluster, address: str, session: str = "") -> None:
    request = center_pb2.GoodbyeRequest(address=address, session=session)
    response = ask(
        cluster.address(1), "Goodbye", request, center_pb2.GoodbyeResponse, cluster.answer_s
    )
    assert response is not None


@pytest.mark.alone  # it has a bound in time
def test_a_report_is_seen_at_every_center_soon(cluster: Cluster, port: str) -> None:
    def seen() -> float:
        goodbye(cluster, port)
        cluster.await_servers()
        began_s = monotonic_s()
        report(cluster, port)
        return cluster.await_servers(port) - began_s

    wait_until(lambda: not report(cluster, port).not_ready, what=cluster.logs())
    require_soon(seen, 0.5)


@pytest.mark.alone  # it has a bound in time
def test_servers_register_and_leave_by_a_signal(cluster: Cluster) -> None:
    first, first_address = cluster.server()
    _, second_address = cluster.server()
    cluster.await_servers(first_address, second_address)
    found = cluster.map(1, "Echo")
    assert found is not None
    assert {entry.address for entry in found.servers} == {first_address, second_address}
    assert len(found.tables) == 1
    first.signal(signal.SIGTERM)
    cluster.await_servers(second_address, within_s=2.0)
    assert first.wait() == 0


@pytest.mark.alone  # it has a bound in time
def test_a_goodbye_is_in_every_map_at_once(cluster: Cluster, port: str) -> None:
    took_s = []
    _, kept = cluster.server()
    for session in ("a", "b", "c"):
        report(cluster, port, session=session)
        cluster.await_servers(kept, port)
        began_s = monotonic_s()
        goodbye(cluster, port, session)
        took_s.append(cluster.await_servers(kept) - began_s)
        report(cluster, port, session=session)  # late, of a session that has ended
    cluster.await_servers(kept)
    assert min(took_s) < 0.15


@pytest.mark.alone  # it has a bound in time
def test_a_killed_server_is_out_of_the_map_within_a_second(cluster: Cluster) -> None:
    _, other = cluster.server()

    def out() -> float:
        process, address = cluster.server()
        cluster.await_servers(address, other)
        killed_s = process.signal(signal.SIGKILL)
        return cluster.await_servers(other) - killed_s

    require_soon(out, 1.0)


@pytest.mark.alone  # it has a bound in time
def test_a_frozen_server_expires_and_comes_back_when_it_wakes(cluster: Cluster) -> None:
    process, address = cluster.server()
    _, other = cluster.server()
    cluster.await_servers(address, other)
    frozen_s = process.signal(signal.SIGSTOP)
    assert cluster.await_servers(other) - frozen_s < 4.5
    process.signal(signal.SIGCONT)
    cluster.await_servers(address, other)


def test_all_centers_name_the_same_places(cluster: Cluster, port: str) -> None:
    # who has not been heard for a while, on a busy machine, is no place until he is heard again
    wanted = [cluster.address(each) for each in places_of(port, cluster.ids)]
    wait_until(lambda: list(report(cluster, port).places) == wanted, what=cluster.logs())
    asked = center_pb2.PlacesRequest(address=port)
    everybody = center_pb2.CentersRequest()
    for center in cluster.ids:
        address = cluster.address(center)

        def named(address: str = address) -> bool:
            found = ask(address, "Places", asked, center_pb2.PlacesResponse)
            return found is not None and list(found.places) == wanted

        def listed(address: str = address) -> bool:
            found = ask(address, "Centers", everybody, center_pb2.CentersResponse)
            centers = [cluster.address(each) for each in cluster.ids]
            return found is not None and list(found.centers) == centers and not found.not_ready

        wait_until(named, what=f"places of center {center}\n{cluster.logs()}")
        wait_until(listed, what=f"centers of center {center}\n{cluster.logs()}")
    cluster.await_servers(port)


def test_a_report_that_cannot_enter_a_map_is_refused(cluster: Cluster) -> None:
    for request in (
        center_pb2.ReportRequest(address="nonsense"),
        center_pb2.ReportRequest(address="127.0.0.1:5", weight=-1.0),
    ):
        assert ask(cluster.address(1), "Report", request, center_pb2.ReportResponse) is None
    assert cluster.servers_at(1) == []


def test_a_restarted_server_finds_its_remembered_center(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        mine = f"127.0.0.1:{free_port()}"  # nobody else is given it meanwhile
        process, address = cluster.server(cluster.target(1), mine)
        cluster.await_servers(address)
        owner = places_of(address, cluster.ids)[0]
        process.signal(signal.SIGKILL)
        process.wait()
        # Only the remembered owner lives, and it has no leader: the server keeps asking it.
        for center in cluster.ids:
            if center != owner:
                cluster.kill(center)
        configured = 1 if owner != 1 else 2
        again, _ = cluster.server(f"center://{cluster.address(configured)}", address)
        assert again is not process
        cluster.restart(next(each for each in cluster.ids if each not in (owner, configured)))
        wait_until(lambda: address in cluster.servers_at(owner), what=cluster.logs())


def test_a_server_outlives_a_failover_without_leaving_the_map(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        _, address = cluster.server()
        cluster.await_servers(address)
        leader = cluster.leader()
        served = cluster.map(leader)
        assert served is not None
        cluster.kill(leader)
        others = list(cluster.processes)
        cluster.newer_epoch(served.epoch, others)
        until_s = monotonic_s() + 1.5

        def lost_or_over() -> bool:
            assert all(cluster.servers_at(each) == [address] for each in others)
            return monotonic_s() > until_s

        wait_until(lost_or_over)
