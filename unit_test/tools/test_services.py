"""The services that tests talk to: real, found by themselves, and gone when they must be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from compare import etcd as etcd_kind
from compare.cluster import WAIT_S as SETTLED_S
from compare.cluster import Cluster
from compare.etcd import EtcdCluster
from compare.node import Node, ServiceError, free_ports
from compare.zookeeper import ZooKeeperCluster

import unit_test.fix_services as services
from unit_test.fix_rpc import wait_until

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"

ORPHAN = """
import sys
from pathlib import Path
from compare.node import Node
node = Node("orphan", ["sleep", "600"], Path(sys.argv[1]))
node.start()
print(node.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["zookeeper_cluster", "etcd_cluster"])
def three(request: pytest.FixtureRequest) -> Cluster:
    """Give a cluster of each kind."""
    cluster: Cluster = request.getfixturevalue(request.param)
    return cluster


def gone(pid: int) -> bool:
    """Return whether the process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.live
def test_one_server_of_each_answers(zookeeper: ZooKeeperCluster, etcd: EtcdCluster) -> None:
    wait_until(lambda: zookeeper.mode(1) == "standalone", SETTLED_S)
    assert zookeeper.leader() == 1
    assert zookeeper.hosts() == zookeeper.address(1)
    wait_until(lambda: etcd.healthy(1), SETTLED_S)
    assert etcd.leader() == 1


@pytest.mark.live
@pytest.mark.slow
def test_another_leads_after_the_leader_was_killed(three: Cluster) -> None:
    killed = three.leader()
    pid = three.nodes[killed].pid
    three.nodes[killed].kill()
    assert gone(pid)
    assert three.leader_seen_by(killed) is None
    assert three.leader() in set(three.ids) - {killed}
    three.mend()
    assert three.running() == three.ids
    wait_until(lambda: three.leader_seen_by(killed) is not None, SETTLED_S)


@pytest.mark.live
@pytest.mark.slow
def test_another_leads_while_the_leader_is_frozen(three: Cluster) -> None:
    frozen = three.leader()
    node = three.nodes[frozen]
    node.freeze()
    wait_until(lambda: psutil.Process(node.pid).status() == psutil.STATUS_STOPPED)
    assert node.alive
    assert frozen not in three.running()
    assert three.leader() != frozen
    node.thaw()
    wait_until(lambda: three.leader_seen_by(frozen) is not None, SETTLED_S)


@pytest.mark.live
def test_a_minority_has_no_leader(etcd_cluster: EtcdCluster) -> None:
    lonely = etcd_cluster.leader()
    for each in set(etcd_cluster.ids) - {lonely}:
        etcd_cluster.nodes[each].freeze()
    wait_until(lambda: etcd_cluster.leader_seen_by(lonely) is None, SETTLED_S)
    with pytest.raises(ServiceError, match="one leader of"):
        etcd_cluster.leader(within_s=0.1)


class StillbornCluster(EtcdCluster):
    """Its nodes end when they start."""

    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        return ["sh", "-c", "echo cannot start here; exit 3"], {}


@pytest.mark.live
def test_a_node_that_ends_at_its_start_is_named_with_its_log(tmp_path: Path) -> None:
    """At once: not when the wait for a leader is over."""
    told = r"(?s)^etcd-1 has ended by itself\n--- etcd-1\ncannot start here"
    with pytest.raises(ServiceError, match=told), StillbornCluster(tmp_path, 1):
        raise AssertionError("it was there")


@pytest.mark.live
def test_the_end_leaves_no_process_frozen_or_not(tmp_path: Path) -> None:
    services.require(etcd_kind.missing())
    with EtcdCluster(tmp_path, 3) as cluster:
        pids = [node.pid for node in cluster.nodes.values()]
        cluster.nodes[1].freeze()
    assert all(gone(pid) for pid in pids)
    assert not any(node.alive for node in cluster.nodes.values())
    assert "etcd-2" in cluster.logs()
    cluster.close()


@pytest.mark.live
def test_a_node_dies_with_whoever_started_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", ORPHAN, str(tmp_path / "log")]
    with subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        node = psutil.Process(pid)
        wait_until(lambda: node.name() == "sleep")  # its guard is set up by then
        parent.kill()
    wait_until(lambda: gone(pid))


def test_what_is_not_installed_is_left_out_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    services.require("")
    monkeypatch.delenv(services.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: java; `make services`"):
        services.require("java")
    monkeypatch.setenv(services.REQUIRED, "required")
    with pytest.raises(pytest.fail.Exception, match="not installed: java"):
        services.require("java")


def test_a_node_that_does_not_run_says_so(tmp_path: Path) -> None:
    node = Node("idle", ["true"], tmp_path / "log")
    with pytest.raises(ServiceError, match="idle does not run"):
        node.freeze()
    node.kill()
    assert not node.alive


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(50))) == 50
