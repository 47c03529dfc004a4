"""Three nodes of ZooKeeper, some of them killed or frozen, while calls go on: none may fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compare.zookeeper import ZooKeeperCluster

from libevrpc import RpcClient, RpcError, RpcServer
from unit_test.fix_rpc import Foo, wait_until
from unit_test.registry.zookeeper.tree import SHORT_S, new_name

pytestmark = [pytest.mark.live, pytest.mark.slow]

WITHIN_S = 40.0
"""Longest wait for an ensemble that has lost a node; it takes about three seconds."""


class Load:
    """Servers announced in ZooKeeper, a client that finds them there, calls that never pause."""

    def __init__(self, zookeeper: ZooKeeperCluster, folder: Path) -> None:
        self.service = new_name("load.Foo")
        self.target = f"zk://{zookeeper.hosts()}?expiry={2 * SHORT_S}"
        self._folder = folder
        self.servers = [self.serve(), self.serve()]
        self.client = RpcClient(self.target, state_dir=str(folder), timeout_s=10.0)
        self.calls = 0
        self.failed: list[RpcError] = []
        self._done = threading.Event()
        self._caller = threading.Thread(target=self._call)

    def serve(self) -> RpcServer:
        server = RpcServer(
            "127.0.0.1:0",
            threads=1,
            workers=2,
            drain_s=0.0,
            registry=self.target,
            state_dir=str(self._folder),
        )
        server.add_object(Foo(), self.service)
        server.start()
        return server

    def start(self) -> None:
        self.client.call(f"{self.service}.Sum", 1, 2)
        wait_until(lambda: self.known == self.announced)
        self._caller.start()

    @property
    def announced(self) -> set[str]:
        return {each.address for each in self.servers}

    @property
    def known(self) -> set[str]:
        return {each.address for each in self.client.endpoints(self.service)}

    def require_news(self, weight: float) -> None:
        """Change a server's weight and wait until the client has heard of it."""
        self.servers[0].announce(weight=weight)

        def heard() -> bool:
            found = {each.address: each for each in self.client.endpoints(self.service)}
            assert set(found) <= self.announced
            return self.servers[0].address in found and (
                found[self.servers[0].address].weight == weight
            )

        wait_until(heard, WITHIN_S)

    def _call(self) -> None:
        while not self._done.wait(0.002):
            try:
                assert self.client.call(f"{self.service}.Sum", 1, 2) == 3
                self.calls += 1
            except RpcError as exc:
                self.failed.append(exc)

    def stop(self) -> None:
        self._done.set()
        if self._caller.ident is not None:
            self._caller.join()
        self.client.close()
        for server in self.servers:
            server.stop()


@contextmanager
def load(zookeeper: ZooKeeperCluster, folder: Path) -> Iterator[Load]:
    made = Load(zookeeper, folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
    assert made.calls > 0
    assert made.failed == []


def test_the_leader_is_killed(zookeeper_cluster: ZooKeeperCluster, tmp_path: Path) -> None:
    with load(zookeeper_cluster, tmp_path) as calling:
        zookeeper_cluster.nodes[zookeeper_cluster.leader()].kill()
        calling.require_news(2.0)
        assert calling.known == calling.announced


def test_the_leader_is_frozen(zookeeper_cluster: ZooKeeperCluster, tmp_path: Path) -> None:
    """Its connections stay open and nothing answers: the worse way to die."""
    with load(zookeeper_cluster, tmp_path) as calling:
        node = zookeeper_cluster.nodes[zookeeper_cluster.leader()]
        node.freeze()
        calling.require_news(2.0)
        assert calling.known == calling.announced
        node.thaw()
        calling.require_news(3.0)


def test_all_nodes_are_down_for_a_while(
    zookeeper_cluster: ZooKeeperCluster, tmp_path: Path
) -> None:
    with load(zookeeper_cluster, tmp_path) as calling:
        for node in zookeeper_cluster.nodes.values():
            node.kill()
        calling.servers.append(calling.serve())  # starts all the same
        calls = calling.calls
        wait_until(lambda: calling.calls > calls + 50)
        with RpcClient(calling.target, state_dir=str(tmp_path)) as later:
            assert later.call(f"{calling.service}.Sum", 1, 2) == 3  # by the list on disk
        zookeeper_cluster.mend()
        wait_until(lambda: calling.known == calling.announced, WITHIN_S)
        calling.require_news(2.0)
