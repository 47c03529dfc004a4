"""Centers with keys and tokens, as processes."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from center.bus import public_key
from libevrpc import RpcClient, RpcError
from libevrpc.core.clustermap import ClusterMap
from libevrpc.credentials import write_secret
from libevrpc.gen import center_pb2
from unit_test.interop.clusters import Cluster, Status

__all__ = ["GuardedCluster", "KeyedCluster"]

CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]


class KeyedCluster(Cluster):
    """A cluster whose list and key files are those of the moment a center is started.

    Attributes:
        keys: public keys per center, as its line has them; empty: the list is without keys.
        key_files: the secret that a center is started with; absent: none.
    """

    def __init__(self, folder: Path, centers: int = 3, settings: str = "") -> None:
        self.keys: dict[int, list[str]] = {}
        self.key_files: dict[int, Path] = {}
        super().__init__(folder, centers, settings)

    def key_of(self, center: int, name: str) -> tuple[Path, str]:
        """Make a secret; returns its file and the public key."""
        path = self.folder / f"center-{center}-{name}.key"
        secret = secrets.token_bytes(32)
        write_secret(path, "a test's", secret.hex())
        return path, public_key(secret).hex()

    def give_keys(self) -> None:
        """Give every center a key, and list them."""
        for center in self.ids:
            self.key_files[center], key = self.key_of(center, "first")
            self.keys[center] = [key]
        self.list_keys()

    def list_keys(self) -> None:
        """Write the list with the keys of now."""
        self._write_list()

    def _write_list(self) -> None:
        lines = (
            f"{each} {self.host(each)} {self.peer_port[each]} {self.client_port[each]}"
            f" {','.join(self.keys.get(each, []))}\n"
            for each in self.ids
        )
        self.list_path.write_text("".join(lines))

    def words(self, center: int, **options: str) -> list[str]:
        """See `Cluster.words`; the setting key_file comes from a file of this center's own."""
        config = self.folder / f"center-{center}.ini"
        key_file = self.key_files.get(center, "")
        config.write_text(f"[center]\nkey_file = {key_file}\n{self._settings}")
        return super().words(center, **{"config": str(config), **options})


class GuardedCluster(KeyedCluster):
    """A cluster whose centers want a token; `token_file` is what the test itself shows."""

    token_file = ""

    def status(self, center: int) -> Status | None:
        """See `Cluster.status`."""
        found: Status | None = self._ask(center, "Status", center_pb2.StatusRequest())
        return found

    def map(self, center: int, service: str = "") -> ClusterMap | None:
        """See `Cluster.map`."""
        found = self._ask(center, "Pull", center_pb2.PullRequest(service=service))
        return ClusterMap.decode(found.map) if found is not None and found.map else None

    def _ask(self, center: int, method: str, request: Any) -> Any:
        try:
            with RpcClient(
                self.address(center), timeout_s=2.0, token_file=self.token_file
            ) as client:
                return getattr(client.stub(CENTER), method)(request)
        except RpcError:
            return None
