"""Kill the leader of a cluster of real processes again and again; print how long others needed.

Usage: python tools/measure_failover.py [--rounds N] [--centers N] [--stop] [--starts N] [--json]

Measured from the signal until a survivor's client port serves a map of a newer epoch; every
survivor is asked each 5 ms. `--starts` measures start-up instead: from the launch of all
processes until the first of them serves a map.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from libevrpc import RpcClient, RpcError
from libevrpc.core.clustermap import ClusterMap
from libevrpc.gen import center_pb2

ROOT = Path(__file__).resolve().parent.parent
POLL_S = 0.005
GIVE_UP_S = 30.0
CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


class Cluster:
    """Centers as processes of this machine, each with its folder below `folder`."""

    def __init__(self, folder: Path, count: int, pycache: Path | None = None) -> None:
        self._folder = folder
        # As installed: compiled once, whatever this environment says of compiled files.
        self._environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(pycache or folder / "pycache")}
        self._environ.pop("PYTHONDONTWRITEBYTECODE", None)
        ports = free_ports(2 * count)
        self.ids = list(range(1, count + 1))
        self._client_port = {each: ports[2 * each - 1] for each in self.ids}
        lines = [f"{i} 127.0.0.1 {ports[2 * i - 2]} {ports[2 * i - 1]}\n" for i in self.ids]
        (folder / "centers_list").write_text("".join(lines))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: dict[int, RpcClient] = {}

    def start(self, center: int) -> None:
        """Launch one center; `await_line` waits until it listens."""
        self._processes[center] = subprocess.Popen(
            [
                *(sys.executable, "-m", "center", "--id", str(center)),
                *("--centers-list", str(self._folder / "centers_list")),
                *("--data-dir", str(self._folder / f"data-{center}")),
            ],
            cwd=ROOT,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=(self._folder / f"log-{center}").open("ab"),
        )

    def await_line(self, center: int) -> None:
        """Block until the center listens."""
        out = self._processes[center].stdout
        assert out is not None
        if not out.readline():
            sys.exit(f"center {center} did not start:\n{self.log(center)}")

    def address(self, center: int) -> str:
        """Return the center's client address."""
        return f"127.0.0.1:{self._client_port[center]}"

    def pid(self, center: int) -> int:
        return self._processes[center].pid

    def log(self, center: int) -> str:
        return (self._folder / f"log-{center}").read_text()

    def pull(self, center: int) -> bytes:
        """Return the map that the center serves now, empty without one."""
        response = self._client(center).stub(CENTER).Pull(center_pb2.PullRequest(), timeout_s=1.0)
        encoded: bytes = response.map
        return encoded

    def pull_epoch(self, center: int) -> int:
        """Return the epoch of the map that the center serves now, 0 without one."""
        encoded = self.pull(center)
        return ClusterMap.decode(encoded).epoch if encoded else 0

    def status(self, center: int) -> center_pb2.StatusResponse:
        response: center_pb2.StatusResponse = (
            self._client(center).stub(CENTER).Status(center_pb2.StatusRequest(), timeout_s=1.0)
        )
        return response

    def _client(self, center: int) -> RpcClient:
        client = self._clients.get(center)
        if client is None:
            address = self.address(center)
            client = RpcClient(address, retries_max=0, set_aside_min_s=0.001, set_aside_max_s=0.01)
            self._clients[center] = client
        return client

    def kill(self, center: int, number: signal.Signals) -> None:
        self._processes[center].send_signal(number)

    def reap(self, center: int) -> None:
        """End a center for good and forget its connection."""
        process = self._processes.pop(center)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        client = self._clients.pop(center, None)
        if client is not None:
            client.close()

    def close(self) -> None:
        for center in list(self._processes):
            self.reap(center)

    def settled(self) -> int:
        """Block until every running center follows one leader; returns it."""
        until_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < until_s:
            try:
                seen = {(each.leader, each.map_epoch) for each in map(self.status, self.ids)}
            except RpcError:
                seen = set()
            if len(seen) == 1 and (found := seen.pop())[0] and found[1]:
                return found[0]
            time.sleep(POLL_S)
        sys.exit("no stable leader:\n" + "\n".join(self.log(each) for each in self.ids))


def newer_epoch_ms(cluster: Cluster, asked: list[int], than: int, since_s: float) -> float:
    """Ask until one of `asked` serves an epoch above `than`; returns the time it took."""
    while time.monotonic() - since_s < GIVE_UP_S:
        for center in asked:
            try:
                epoch = cluster.pull_epoch(center)
            except RpcError:
                continue
            if epoch > than:
                return (time.monotonic() - since_s) * 1000.0
        time.sleep(POLL_S)
    sys.exit("no newer epoch:\n" + "\n".join(cluster.log(each) for each in asked))


def failovers(rounds: int, centers: int, stop: bool) -> list[float]:
    """Kill (or freeze) the leader `rounds` times; returns the times in ms."""
    took_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), centers)
        try:
            for center in cluster.ids:
                cluster.start(center)
            for center in cluster.ids:
                cluster.await_line(center)
            for _ in range(rounds):
                leader = cluster.settled()
                epoch = cluster.pull_epoch(leader)
                survivors = [each for each in cluster.ids if each != leader]
                for each in survivors:  # connected before the kill, as clients are
                    cluster.pull_epoch(each)
                since_s = time.monotonic()
                cluster.kill(leader, signal.SIGSTOP if stop else signal.SIGKILL)
                took_ms.append(newer_epoch_ms(cluster, survivors, epoch, since_s))
                if stop:
                    cluster.kill(leader, signal.SIGCONT)
                else:
                    cluster.reap(leader)
                    cluster.start(leader)
                    cluster.await_line(leader)
        finally:
            cluster.close()
    return took_ms


def starts(rounds: int, centers: int) -> list[float]:
    """Start a fresh cluster `rounds` times; returns the times to its first map in ms."""
    took_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first one compiles, and does not count
            nth = Path(folder) / str(number)
            nth.mkdir()
            cluster = Cluster(nth, centers, Path(folder) / "pycache")
            try:
                since_s = time.monotonic()
                for center in cluster.ids:
                    cluster.start(center)
                for center in cluster.ids:  # asking earlier would only take their processor time
                    cluster.await_line(center)
                took_ms.append(newer_epoch_ms(cluster, cluster.ids, 0, since_s))
            finally:
                cluster.close()
    return took_ms[1:]


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="times the leader is killed")
    parser.add_argument("--centers", type=int, default=3)
    parser.add_argument("--stop", action="store_true", help="freeze (SIGSTOP) instead of kill")
    parser.add_argument("--starts", type=int, default=0, help="measure start-up so many times")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    given = parser.parse_args()
    os.environ.setdefault("XDG_STATE_HOME", tempfile.gettempdir())
    if given.starts:
        what, took_ms = "start_to_first_map", starts(given.starts, given.centers)
    else:
        what = "leader_frozen" if given.stop else "leader_killed"
        took_ms = failovers(given.rounds, given.centers, given.stop)
    figures = {
        "what": what,
        "n": len(took_ms),
        "min_ms": round(min(took_ms), 1),
        "median_ms": round(statistics.median(took_ms), 1),
        "max_ms": round(max(took_ms), 1),
    }
    if given.json:
        print(json.dumps(figures))
    else:
        print(" ".join(f"{key}={value}" for key, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
