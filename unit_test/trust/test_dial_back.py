"""A center dials only who reported: it is no port scanner for whoever may report."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from center import dials
from center.core.events import DialOutcome, DialResult
from center.dials import Dials, dial, same_host
from libevrpc import RpcClient
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.gen import center_pb2
from unit_test.fix_net import free_port
from unit_test.interop.clusters import Cluster, wait_until

HERE = "127.0.0.1"
CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:0db8::0001", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("127.0.0.1", "::1", True),
        ("::ffff:127.0.0.1", "::1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "0.0.0.0", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("::", "::", False),
        ("a.example", "a.example", False),
        ("10.0.0.1", "", False),
        ("", "", False),
    ],
)
def test_hosts_are_compared_as_addresses(one: str, other: str, same: bool) -> None:
    assert same_host(one, other) is same


@pytest.mark.live
def test_another_host_than_the_reporter_is_not_dialled(tmp_path: Path) -> None:
    with socket.create_server((HERE, 0)) as server:
        server.setblocking(False)
        endpoint = Endpoint("localhost", server.getsockname()[1])
        for reporter in ("10.0.0.1", "0.0.0.0", ""):
            assert dial(endpoint, reporter) is DialOutcome.TIMEOUT
            with pytest.raises(BlockingIOError):
                server.accept()
        assert dial(endpoint, HERE) is DialOutcome.ACCEPTED
        server.accept()[0].close()
    unix = parse_endpoint(f"unix://{tmp_path}/none")
    assert dial(unix, "10.0.0.1") is DialOutcome.TIMEOUT
    assert dial(unix, "::1") is DialOutcome.REFUSED


@pytest.fixture
def results() -> queue.SimpleQueue[DialResult]:
    return queue.SimpleQueue()


@pytest.fixture
def dialler(results: queue.SimpleQueue[DialResult]) -> Iterator[Dials]:
    made = Dials(results.put)
    yield made
    made.close()


@pytest.mark.live
def test_the_last_reporter_counts(dialler: Dials, results: queue.SimpleQueue[DialResult]) -> None:
    dead = f"{HERE}:{free_port()}"

    def outcome() -> DialOutcome:
        dialler.dial(dead)
        return results.get(timeout=5.0).outcome

    assert outcome() is DialOutcome.TIMEOUT  # nobody reported it
    dialler.reported(dead, "10.0.0.1:5000")
    assert outcome() is DialOutcome.TIMEOUT
    dialler.reported(dead, "[::1]:5000")
    assert outcome() is DialOutcome.REFUSED


@pytest.mark.live
def test_reporters_are_remembered_within_bounds(
    dialler: Dials, results: queue.SimpleQueue[DialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dials, "REPORTERS_MAX", 2)
    ports = [free_port() for _ in range(5)]
    for port in ports:
        dialler.reported(f"{HERE}:{port}", f"{HERE}:5000")
    outcomes = []
    for port in ports:
        dialler.dial(f"{HERE}:{port}")
        outcomes.append(results.get(timeout=5.0).outcome)
    assert outcomes[0] is DialOutcome.TIMEOUT  # forgotten
    assert outcomes[2:] == [DialOutcome.REFUSED] * 3


@pytest.mark.live
@pytest.mark.slow
def test_a_center_does_not_knock_at_the_port_of_somebody_else(tmp_path: Path) -> None:
    """Who reports from loopback may not send the center to another address of this machine."""
    own = _own_address()
    if own is None:
        pytest.skip("this machine has no address but loopback")
    silent = "expiry_s = 50\n"  # nobody expires here: who goes was dialled
    with Cluster(tmp_path, 1, silent) as cluster, socket.create_server((own, 0)) as victim:
        cluster.leader()
        victim.settimeout(0.0)
        address = f"{own}:{victim.getsockname()[1]}"
        near = f"{HERE}:{free_port()}"  # and one that it may dial
        for each in (address, near):
            with RpcClient(cluster.address(1)) as client:
                told = center_pb2.ReportRequest(address=each, services=["x.Y"], weight=1.0)
                client.stub(CENTER).Report(told)
                wait_until(lambda each=each: each in cluster.servers_at(1))
        wait_until(lambda: cluster.servers_at(1) == [address])
        with pytest.raises(BlockingIOError):
            victim.accept()


def _own_address() -> str | None:
    """Return an IPv4 address of this machine that is not loopback."""
    import psutil

    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                return str(each.address)
    return None
