"""Three members of etcd, some of them killed or frozen, while calls go on: none may fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compare.etcd import EtcdCluster

from libevrpc.registry import etcd_watch
from unit_test.registry.call_load import CallLoad, call_load
from unit_test.registry.contract.harness import new_service

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(autouse=True)
def look_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_watch, "QUIET_S", 0.5)


@contextmanager
def load(cluster: EtcdCluster, folder: Path, layout: str = "libevrpc") -> Iterator[CallLoad]:
    target = f"etcd://{cluster.hosts()}?expiry=2&layout={layout}"
    with call_load(target, new_service("Load"), folder) as calling:
        yield calling


def test_the_leader_is_killed(etcd_cluster: EtcdCluster, tmp_path: Path) -> None:
    with load(etcd_cluster, tmp_path) as calling:
        etcd_cluster.nodes[etcd_cluster.leader()].kill()
        calling.require_news(2.0)
        calling.require_all()


def test_the_leader_is_frozen(etcd_cluster: EtcdCluster, tmp_path: Path) -> None:
    """Its connections stay open and nothing answers: the worse way to die."""
    with load(etcd_cluster, tmp_path) as calling:
        node = etcd_cluster.nodes[etcd_cluster.leader()]
        node.freeze()
        calling.require_news(2.0)
        calling.require_all()
        node.thaw()
        calling.require_news(3.0)


def test_a_frozen_member_leaves_no_watch_deaf(etcd_cluster: EtcdCluster, tmp_path: Path) -> None:
    """Whichever member a watch is of: one after the other is frozen."""
    with load(etcd_cluster, tmp_path) as calling:
        for number, node in etcd_cluster.nodes.items():
            node.freeze()
            calling.require_news(float(number + 1))
            node.thaw()


def test_all_members_are_down_for_a_while(etcd_cluster: EtcdCluster, tmp_path: Path) -> None:
    with load(etcd_cluster, tmp_path) as calling:
        for node in etcd_cluster.nodes.values():
            node.kill()
        calling.servers.append(calling.serve())  # starts all the same
        calling.some_more()
        with calling.new_client() as later:
            assert later.call(f"{calling.service}.Sum", 1, 2) == 3  # by the list on disk
        etcd_cluster.mend()
        calling.require_all()
        calling.require_news(2.0)


def test_tinyrpc_layout_survives_the_leader(etcd_cluster: EtcdCluster, tmp_path: Path) -> None:
    with load(etcd_cluster, tmp_path, "tinyrpc") as calling:
        etcd_cluster.nodes[etcd_cluster.leader()].kill()
        calling.servers.append(calling.serve())
        calling.require_all()
        calling.some_more()
