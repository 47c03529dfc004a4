"""The contract on etcd, in our own layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compare.etcd import EtcdCluster

from unit_test.registry.contract.harness import Harness
from unit_test.registry.contract.suite import AnnounceContract
from unit_test.registry.etcd.plain import ask


class EtcdHarness(Harness):
    """One member of etcd; it keeps its data when it is killed."""

    name = "etcd"

    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster

    def target(self, service: str = "") -> str:
        slash = "/" if service else ""
        return f"etcd://{self._cluster.hosts()}{slash}{service}?expiry={self.expiry_s:g}"

    def down(self) -> None:
        self._cluster.nodes[1].kill()

    def up(self) -> None:
        self._cluster.mend()

    def lose_sessions(self) -> None:
        address = self._cluster.address(1)
        for lease in ask(address, "/v3/lease/leases", {}).get("leases", []):
            try:
                ask(address, "/v3/lease/revoke", {"ID": lease["ID"]})
            except AssertionError as exc:  # one of an earlier test may just have ended
                if "lease not found" not in str(exc):
                    raise

    def close(self) -> None:
        self.up()


@pytest.fixture(scope="module")
def harness(etcd_kept: EtcdCluster) -> Iterator[Harness]:
    made = EtcdHarness(etcd_kept)
    yield made
    made.close()


@pytest.mark.usefixtures("etcd")
class TestEtcd(AnnounceContract):
    pass
