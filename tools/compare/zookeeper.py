"""ZooKeeper as Debian ships it, run from its jar."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compare.cluster import Cluster

__all__ = ["DEFAULT", "FAST", "SMALL", "ZooKeeperCluster", "ZooKeeperProfile", "missing"]

JAR = Path("/usr/share/java/zookeeper.jar")
LOGGER = Path("/usr/share/java/slf4j-simple.jar")
ASK_S = 1.0


@dataclass(frozen=True, slots=True)
class ZooKeeperProfile:
    """The timing of an ensemble: ticks in ms, limits in ticks; the heap in MiB."""

    tick_ms: int = 2000
    init_limit: int = 10
    sync_limit: int = 5
    notify_ms: int = 200
    heap_mib: int = 512
    options: tuple[str, ...] = ()
    """Further ones of the JVM."""


DEFAULT = ZooKeeperProfile()
FAST = ZooKeeperProfile(tick_ms=100, init_limit=50, sync_limit=3, notify_ms=50)
SMALL = ZooKeeperProfile(
    tick_ms=500, heap_mib=64, options=("-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no")
)
"""For tests: sessions may be as short as a second, and a busy machine does not upset it. It is
compiled only as far as a short life is worth, and what it has written outlives it, not the
machine."""


def missing() -> str:
    """Name what ZooKeeper needs and this machine lacks; "" if it can run."""
    lacking = [str(path) for path in (JAR, LOGGER) if not path.exists()]
    if shutil.which("java") is None:
        lacking.append("java")
    return ", ".join(lacking)


class ZooKeeperCluster(Cluster):
    """An ensemble; one node is a standalone server. See `Cluster`."""

    kind = "zookeeper"

    def __init__(self, folder: Path, size: int, profile: ZooKeeperProfile = DEFAULT) -> None:
        self.profile = profile
        super().__init__(folder, size, ports_each=3)

    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        """See `Cluster.command`."""
        data = self.folder / f"zookeeper-data-{node}"
        data.mkdir()
        (data / "myid").write_text(f"{node}\n")
        lines = [
            f"tickTime={self.profile.tick_ms}",
            f"initLimit={self.profile.init_limit}",
            f"syncLimit={self.profile.sync_limit}",
            f"dataDir={data}",
            f"clientPort={self.ports[node][-1]}",
            "clientPortAddress=127.0.0.1",
            "4lw.commands.whitelist=srvr",
            "admin.enableServer=false",
            "maxClientCnxns=0",
        ]
        if len(self.ids) > 1:
            for each in self.ids:
                lines.append(f"server.{each}=127.0.0.1:{self.ports[each][0]}:{self.ports[each][1]}")
        config = self.folder / f"zookeeper-{node}.cfg"
        config.write_text("\n".join(lines) + "\n")
        words = [
            *("java", f"-Xmx{self.profile.heap_mib}m", "-XX:+UseSerialGC"),
            *self.profile.options,
            f"-Dzookeeper.fastleader.minNotificationInterval={self.profile.notify_ms}",
            *("-cp", f"{JAR}:{LOGGER}"),
            *("org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)),
        ]
        return words, {}

    def leader_seen_by(self, node: int) -> int | None:
        """See `Cluster.leader_seen_by`. A follower does not tell whom it follows: ask all."""
        if self.mode(node) not in ("leader", "follower", "standalone"):
            return None
        leads = [each for each in self.running() if self.mode(each) in ("leader", "standalone")]
        return leads[0] if len(leads) == 1 else None

    def mode(self, node: int) -> str:
        """Return what the node calls itself, "" if it serves nobody."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports[node][-1]), ASK_S) as sock:
                sock.sendall(b"srvr")
                with sock.makefile() as answer:
                    lines = answer.read().splitlines()
        except OSError:
            return ""
        modes = [line.removeprefix("Mode: ") for line in lines if line.startswith("Mode: ")]
        return modes[0] if modes else ""
