"""Our centers, as processes with their default settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from compare.cluster import Cluster
from libevrpc import RpcClient, RpcError
from libevrpc.gen import center_pb2

__all__ = ["CENTER", "CenterCluster", "client_of"]

ROOT = Path(__file__).resolve().parent.parent.parent
CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]
ASK_S = 1.0


def client_of(address: str) -> RpcClient:
    """Make a client of one center that says at once what fails, and comes back at once."""
    return RpcClient(address, retries_max=0, set_aside_min_s=0.001, set_aside_max_s=0.01)


class CenterCluster(Cluster):
    """A cluster. See `Cluster`.

    Args:
        folder, size: see `Cluster`.
        compiled: where Python keeps compiled files. Centers start as they are installed,
            compiled once, whatever this environment says of compiled files.
    """

    kind = "center"

    def __init__(self, folder: Path, size: int, compiled: Path) -> None:
        self._compiled = compiled
        super().__init__(folder, size, ports_each=2)
        (folder / "centers_list").write_text(
            "".join(f"{i} 127.0.0.1 {peer} {client}\n" for i, (peer, client) in self.ports.items())
        )

    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        """See `Cluster.command`."""
        words = [
            *(sys.executable, "-m", "center", "--id", str(node)),
            *("--centers-list", str(self.folder / "centers_list")),
            *("--data-dir", str(self.folder / f"center-data-{node}")),
        ]
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self._compiled),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        return words, environment

    def leader_seen_by(self, node: int) -> int | None:
        """See `Cluster.leader_seen_by`."""
        with client_of(self.address(node)) as client:
            try:
                seen = client.stub(CENTER).Status(center_pb2.StatusRequest(), timeout_s=ASK_S)
            except RpcError:
                return None
        return int(seen.leader) or None if seen.map_epoch else None
