"""etcd as Debian ships it."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare.cluster import Cluster

__all__ = ["DEFAULT", "FAST", "EtcdCluster", "EtcdProfile", "missing"]

ASK_S = 1.0


@dataclass(frozen=True, slots=True)
class EtcdProfile:
    """The timing of a cluster, ms."""

    heartbeat_ms: int = 100
    election_ms: int = 1000


DEFAULT = EtcdProfile()
FAST = EtcdProfile(heartbeat_ms=10, election_ms=100)


def missing() -> str:
    """Name what etcd needs and this machine lacks; "" if it can run."""
    return "" if shutil.which("etcd") else "etcd"


class EtcdCluster(Cluster):
    """A cluster. See `Cluster`."""

    kind = "etcd"

    def __init__(self, folder: Path, size: int, profile: EtcdProfile = DEFAULT) -> None:
        self.profile = profile
        super().__init__(folder, size, ports_each=2)

    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        """See `Cluster.command`."""
        peers = {each: f"http://127.0.0.1:{self.ports[each][0]}" for each in self.ids}
        client = f"http://127.0.0.1:{self.ports[node][-1]}"
        words = [
            *("etcd", "--name", f"n{node}"),
            *("--data-dir", str(self.folder / f"etcd-data-{node}")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peers[node], "--initial-advertise-peer-urls", peers[node]),
            *("--initial-cluster", ",".join(f"n{i}={url}" for i, url in peers.items())),
            *("--initial-cluster-state", "new"),
            *("--heartbeat-interval", str(self.profile.heartbeat_ms)),
            *("--election-timeout", str(self.profile.election_ms)),
            *("--logger", "zap", "--log-outputs", "stderr"),
        ]
        return words, {}

    def leader_seen_by(self, node: int) -> int | None:
        """See `Cluster.leader_seen_by`: the leader's id is one of the members' own."""
        if not self.healthy(node):
            return None
        seen = self._status(node).get("leader", "0")
        for each in self.running():
            header = self._status(each).get("header", {})
            if header.get("member_id") == seen:
                return each
        return None

    def healthy(self, node: int) -> bool:
        """Return whether the node answers and has a leader."""
        return self._ask(node, "GET", "/health", "").get("health") == "true"

    def _status(self, node: int) -> dict[str, Any]:
        return self._ask(node, "POST", "/v3/maintenance/status", "{}")

    def _ask(self, node: int, method: str, path: str, body: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[node][-1], timeout=ASK_S)
        try:
            connection.request(method, path, body or None)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()
        return answer
