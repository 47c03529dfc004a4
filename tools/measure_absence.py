"""Kill every center for minutes while a client calls; count what fails, and what goes back.

Usage: python tools/measure_absence.py [--minutes M] [--rate N] [--json]

Three centers and three echo servers of this machine. All centers are killed, a client calls on at a
steady rate, a server and the client itself are restarted meanwhile; then the centers come back.
Exits 1 if a call failed, or if a center then serves an older map than before.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure_failover import ROOT, Cluster, newer_epoch_ms

from libevrpc import RpcClient, RpcError
from libevrpc.core.clustermap import ClusterMap

ECHO = ROOT / "samples" / "echo"
sys.path.insert(0, str(ECHO))

import echo_pb2  # noqa: E402

SERVICE = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
SERVERS = 3
SETTLE_S = 20.0


class Servers:
    """Echo servers as processes."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target = target
        self._log = (folder / "servers.log").open("ab")
        self._environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self._running: list[subprocess.Popen[bytes]] = []
        self.addresses: list[str] = []

    def start(self, listen: str = "127.0.0.1:0") -> None:
        """Start one and wait until it listens."""
        command = [sys.executable, str(ECHO / "server.py"), "--listen", listen]
        command += ["--registry", self._target]
        process = subprocess.Popen(
            command, cwd=ROOT, env=self._environ, stdout=subprocess.PIPE, stderr=self._log
        )
        self._running.append(process)
        assert process.stdout is not None
        self.addresses.append(process.stdout.readline().decode().split()[-1])

    def restart(self) -> None:
        """Stop the eldest politely and start it again at its address."""
        process, address = self._running.pop(0), self.addresses.pop(0)
        process.terminate()
        process.wait()
        self.start(address)

    def close(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait()
        self._log.close()


class Caller:
    """Calls at a steady rate and counts."""

    def __init__(self, target: str, folder: Path, rate: int) -> None:
        self._target, self._state_dir, self._pause_s = target, str(folder / "client"), 1.0 / rate
        self._request = echo_pb2.EchoRequest(request="here?")
        self._open()
        self.calls = 0
        self.failures: list[str] = []

    def _open(self) -> None:
        self._client = RpcClient(self._target, state_dir=self._state_dir)
        self._echo = self._client.stub(SERVICE).Echo

    def run(self, seconds: float) -> None:
        """Call for so long."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.calls += 1
            try:
                self._echo(self._request)
            except RpcError as exc:
                self.failures.append(str(exc))
            time.sleep(self._pause_s)

    def restart(self) -> None:
        """Begin anew with nothing but the map on disk."""
        self._client.close()
        self._open()

    def close(self) -> None:
        self._client.close()


def stamp_of(cluster: Cluster, center: int) -> tuple[int, int]:
    """Return (epoch, version) of the map that a center serves, (0, 0) for none."""
    found = cluster.pull(center)
    if not found:
        return (0, 0)
    decoded = ClusterMap.decode(found)
    return (decoded.epoch, decoded.version)


def await_servers(cluster: Cluster, count: int) -> None:
    """Wait until every center serves a map of so many servers."""
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s:
        maps = [cluster.pull(each) for each in cluster.ids]
        if all(each and len(ClusterMap.decode(each).servers) == count for each in maps):
            return
        time.sleep(0.05)
    sys.exit(f"not every center has {count} servers after {SETTLE_S:g} s")


def play(given: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run it; returns the figures."""
    cluster = Cluster(folder, 3)
    target = "center://" + ",".join(cluster.address(each) for each in cluster.ids)
    servers = Servers(target, folder)
    caller: Caller | None = None
    try:
        start_all(cluster)
        cluster.settled()
        for _ in range(SERVERS):
            servers.start()
        await_servers(cluster, SERVERS)
        caller = Caller(target, folder, given.rate)
        caller.run(1.0)
        before = max(stamp_of(cluster, each) for each in cluster.ids)
        for center in cluster.ids:
            cluster.reap(center)
        span_s = 60.0 * given.minutes / 3
        caller.run(span_s)
        servers.restart()
        caller.run(span_s)
        caller.restart()
        caller.run(span_s)
        alone = caller.calls
        start_all(cluster)
        back = [stamp_of(cluster, each) for each in cluster.ids]  # what they had on disk
        cluster.settled()
        newer_epoch_ms(cluster, cluster.ids, before[0], time.monotonic())
        await_servers(cluster, SERVERS)
        after = [stamp_of(cluster, each) for each in cluster.ids]
        caller.run(2.0)
        return {
            "minutes": given.minutes,
            "calls": caller.calls,
            "calls_without_centers": alone,
            "failed": len(caller.failures),
            "first_failure": caller.failures[0] if caller.failures else "",
            "map_before": before,
            "maps_after": after,
            "went_back": any(each < before for each in (*back, *after)),
        }
    finally:
        if caller is not None:
            caller.close()
        servers.close()
        cluster.close()


def start_all(cluster: Cluster) -> None:
    """Start every center and wait until each listens."""
    for center in cluster.ids:
        cluster.start(center)
    for center in cluster.ids:
        cluster.await_line(center)


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there is no center")
    parser.add_argument("--rate", type=int, default=50, help="calls per second")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = play(given, Path(folder))
    if given.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:22} {value}")
    return 1 if figures["failed"] or figures["went_back"] else 0


if __name__ == "__main__":
    sys.exit(main())
