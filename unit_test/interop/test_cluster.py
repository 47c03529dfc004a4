"""Three centers as processes: who leads, and how soon somebody leads again."""

from __future__ import annotations

import os
import signal
import socket
import statistics
from pathlib import Path

import pytest

from libevrpc.core.prpc_encode import encode_request
from unit_test.interop.clusters import CALM, Cluster, require_soon, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_three_centers_elect_one_leader_whom_all_follow(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.leader()

        def all_follow_one() -> bool:
            """Each says so of itself, and a moment later, when it has heard them, of the others."""
            seen = {each: cluster.status(each) for each in cluster.ids}
            views = [(own.leader, own) for own in seen.values() if own is not None]
            (leader, _), *_ = views
            return len(views) == 3 and all(
                named == leader
                and own.state == ("LEADING" if own.id == leader else "FOLLOWING")
                and [each.id for each in own.centers] == [1, 2, 3]
                and {each.leader for each in own.centers} == {leader}
                for named, own in views
            )

        wait_until(all_follow_one, what=cluster.logs())


@pytest.mark.alone  # it has a bound in time
def test_a_killed_leader_is_replaced_and_takes_part_again(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:

        def replaced() -> float:
            leader = cluster.leader()
            served = cluster.map(leader)
            assert served is not None
            killed_s = cluster.kill(leader)
            others = list(cluster.processes)
            took_s = cluster.newer_epoch(served.epoch, others) - killed_s
            cluster.restart(leader)
            return took_s

        assert statistics.median(require_soon(replaced, 1.0) for _ in range(3)) < 0.3
        cluster.leader()


@pytest.mark.alone  # it has a bound in time
def test_a_frozen_leader_is_replaced_and_follows_when_it_wakes(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:

        def replaced() -> float:
            leader = cluster.leader()
            served = cluster.map(leader)
            assert served is not None
            frozen = cluster.processes[leader]
            frozen_s = frozen.signal(signal.SIGSTOP)
            others = [each for each in cluster.ids if each != leader]
            took_s = cluster.newer_epoch(served.epoch, others) - frozen_s
            frozen.signal(signal.SIGCONT)
            assert cluster.leader() != leader
            return took_s

        require_soon(replaced, 1.5)


@pytest.mark.alone  # it has a bound in time
def test_a_leader_that_is_stopped_says_goodbye(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:

        def replaced() -> float:
            for center in cluster.ids:
                if center not in cluster.processes:
                    cluster.restart(center)
            leader = cluster.leader()
            served = cluster.map(leader)
            assert served is not None
            stopped = cluster.processes.pop(leader)
            stopped_s = stopped.signal(signal.SIGTERM)
            took_s = cluster.newer_epoch(served.epoch, list(cluster.processes)) - stopped_s
            assert stopped.wait() == 0
            return took_s

        require_soon(replaced, 1.0)


def test_a_center_alone_has_no_leader_but_keeps_serving_its_map(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.leader()
        _, address = cluster.server()
        cluster.await_servers(address)
        last = cluster.ids[0]
        for center in cluster.ids[1:]:
            cluster.kill(center)

        def alone() -> bool:
            status = cluster.status(last)
            return status is not None and status.state == "LOOKING" and not status.leader

        wait_until(alone, what="LOOKING")
        assert cluster.servers_at(last) == [address]


def test_epochs_grow_over_restarts_of_every_center(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        _, address = cluster.server()
        cluster.leader()
        cluster.await_servers(address)
        before = cluster.map(1)
        assert before is not None
        for center in cluster.ids:
            cluster.kill(center)
        cluster.servers.pop().end()
        cluster.start_all()
        cluster.newer_epoch(before.epoch, cluster.ids)
        after = cluster.map(cluster.leader())
        assert after is not None
        assert after.cluster_id == before.cluster_id
        assert after.stamp > before.stamp
        assert after.epoch > before.epoch


def junk_for(port: int) -> None:
    """Say all kinds of nonsense to a port."""
    zmtp = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00NULL" + b"\x00" * 48
    unknown = encode_request("evrpc.Center", "Pull", 1, b"\xff\xff\xff", timeout_ms=1000)
    for said in (b"", b"GET / HTTP/1.0\r\n\r\n", os.urandom(4096), zmtp, zmtp * 9, unknown):
        with socket.create_connection(("127.0.0.1", port), 5.0) as sock:
            sock.settimeout(0.05)
            try:
                sock.sendall(said)
                sock.recv(4096)
            except OSError:
                continue


@pytest.mark.alone  # its leader must stay
def test_junk_on_both_ports_changes_nothing(tmp_path: Path) -> None:
    with Cluster(tmp_path, settings=CALM) as cluster:
        leader = cluster.leader()
        before = cluster.map(leader)
        assert before is not None
        for center in cluster.ids:
            junk_for(cluster.peer_port[center])
            junk_for(cluster.client_port[center])
        assert cluster.leader() == leader
        after = cluster.map(leader)
        assert after is not None
        assert after.epoch == before.epoch
        assert "Traceback" not in cluster.logs()
