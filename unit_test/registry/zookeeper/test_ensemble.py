"""Three nodes of ZooKeeper, some of them killed or frozen, while calls go on: none may fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compare.zookeeper import ZooKeeperCluster

from libevrpc import RpcClient
from unit_test.registry.call_load import CallLoad, call_load
from unit_test.registry.zookeeper.tree import SHORT_S, new_name

pytestmark = [pytest.mark.live, pytest.mark.slow]


@contextmanager
def load(zookeeper: ZooKeeperCluster, folder: Path) -> Iterator[CallLoad]:
    target = f"zk://{zookeeper.hosts()}?expiry={2 * SHORT_S}"
    with call_load(target, new_name("load.Foo"), folder) as calling:
        yield calling


def test_the_leader_is_killed(zookeeper_cluster: ZooKeeperCluster, tmp_path: Path) -> None:
    with load(zookeeper_cluster, tmp_path) as calling:
        zookeeper_cluster.nodes[zookeeper_cluster.leader()].kill()
        calling.require_news(2.0)
        calling.require_all()


def test_the_leader_is_frozen(zookeeper_cluster: ZooKeeperCluster, tmp_path: Path) -> None:
    """Its connections stay open and nothing answers: the worse way to die."""
    with load(zookeeper_cluster, tmp_path) as calling:
        node = zookeeper_cluster.nodes[zookeeper_cluster.leader()]
        node.freeze()
        calling.require_news(2.0)
        calling.require_all()
        node.thaw()
        calling.require_news(3.0)


def test_all_nodes_are_down_for_a_while(
    zookeeper_cluster: ZooKeeperCluster, tmp_path: Path
) -> None:
    with load(zookeeper_cluster, tmp_path) as calling:
        for node in zookeeper_cluster.nodes.values():
            node.kill()
        calling.servers.append(calling.serve())  # starts all the same
        calling.some_more()
        with RpcClient(calling.target, state_dir=str(tmp_path)) as later:
            assert later.call(f"{calling.service}.Sum", 1, 2) == 3  # by the list on disk
        zookeeper_cluster.mend()
        calling.require_all()
        calling.require_news(2.0)
