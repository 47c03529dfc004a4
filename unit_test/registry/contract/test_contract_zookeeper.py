"""The contract on ZooKeeper, in our layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compare.zookeeper import ZooKeeperCluster

from unit_test.fix_rpc import wait_until
from unit_test.registry.contract.harness import Harness
from unit_test.registry.contract.suite import AnnounceContract
from unit_test.registry.zookeeper.tree import expire, sharing

pytestmark = pytest.mark.live


class ZooKeeperHarness(Harness):
    """One server of the test session's, below a root of its own."""

    name = "zookeeper"
    expiry_s = 2.0

    def __init__(self, cluster: ZooKeeperCluster) -> None:
        self._cluster = cluster
        cluster.mend()

    def target(self, service: str = "") -> str:
        return f"zk://{self._cluster.hosts()}/{service}".rstrip("/") + (
            f"?root=/contract&expiry={self.expiry_s}"
        )

    def down(self) -> None:
        self._cluster.nodes[1].kill()

    def silence(self) -> None:
        self._cluster.nodes[1].freeze()  # a JVM takes its time to start

    def up(self) -> None:
        self._cluster.mend()

    def lose_sessions(self) -> None:
        with sharing(self.parsed()) as session:
            before = session.epoch
            expire(self._cluster.hosts(), session)
            wait_until(lambda: session.epoch > before)

    def close(self) -> None:
        self.up()


@pytest.fixture(scope="module")
def harness(zookeeper_kept: ZooKeeperCluster) -> Iterator[Harness]:
    made = ZooKeeperHarness(zookeeper_kept)
    yield made
    made.close()


@pytest.mark.usefixtures("zookeeper")
class TestZooKeeper(AnnounceContract):
    """See `AnnounceContract`."""
