"""Real ZooKeeper and etcd on free loopback ports, alone or as clusters of three.

The processes are started when first asked for and kept for the session, because a JVM takes
its time; each test gets them mended: the dead started again, the frozen continued, a leader
found. Data of earlier tests are still there: use names of your own. Their logs stand below a
failed test's report.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from compare import etcd as etcd_kind
from compare import zookeeper as zookeeper_kind
from compare.cluster import Cluster
from compare.etcd import EtcdCluster
from compare.zookeeper import ZooKeeperCluster

REQUIRED = "LIBEVRPC_TEST_SERVICES"
"""Set to `required` where a missing service is a failure, as in CI."""


def require(lacking: str) -> None:
    """Leave the test out if something is lacking; fail it where services are required."""
    if lacking:
        text = f"not installed: {lacking}; `make services` brings it"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(text, pytrace=False)
        pytest.skip(text)


@pytest.fixture(scope="session")
def zookeeper_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperCluster]:
    """Give one standalone server for the session."""
    require(zookeeper_kind.missing())
    folder = tmp_path_factory.mktemp("zookeeper")
    with ZooKeeperCluster(folder, 1, zookeeper_kind.SMALL) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def zookeeper_cluster_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperCluster]:
    """Give an ensemble of three for the session."""
    require(zookeeper_kind.missing())
    folder = tmp_path_factory.mktemp("zookeeper-cluster")
    with ZooKeeperCluster(folder, 3, zookeeper_kind.SMALL) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def etcd_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Give one server for the session."""
    require(etcd_kind.missing())
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), 1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def etcd_cluster_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Give a cluster of three for the session."""
    require(etcd_kind.missing())
    with EtcdCluster(tmp_path_factory.mktemp("etcd-cluster"), 3) as cluster:
        yield cluster


@pytest.fixture
def zookeeper(zookeeper_kept: ZooKeeperCluster) -> ZooKeeperCluster:
    """Give one ZooKeeper server that answers. `hosts()` is its address."""
    zookeeper_kept.mend()
    return zookeeper_kept


@pytest.fixture
def zookeeper_cluster(zookeeper_cluster_kept: ZooKeeperCluster) -> ZooKeeperCluster:
    """Give three ZooKeeper servers with a leader, to be killed and frozen."""
    zookeeper_cluster_kept.mend()
    return zookeeper_cluster_kept


@pytest.fixture
def etcd(etcd_kept: EtcdCluster) -> EtcdCluster:
    """Give one etcd server that answers. `hosts()` is its address."""
    etcd_kept.mend()
    return etcd_kept


@pytest.fixture
def etcd_cluster(etcd_cluster_kept: EtcdCluster) -> EtcdCluster:
    """Give three etcd servers with a leader, to be killed and frozen."""
    etcd_cluster_kept.mend()
    return etcd_cluster_kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the services' logs under the report of a test that failed with them."""
    report = yield
    if report.failed:
        given: dict[str, Any] = getattr(item, "funcargs", {})
        for name, each in given.items():
            if isinstance(each, Cluster):
                report.sections.append((f"logs of {name}", each.logs()))
    return report
