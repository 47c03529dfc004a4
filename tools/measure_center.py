"""What a leader of real centers takes, keeps and tells: reports per second, memory, news.

Usage: python tools/measure_center.py [--servers N] [--clients N] [--rounds N] [--seconds S]
                                      [--json]

* reports_per_s: reports of 200 bytes, 500 unanswered at a time over one connection, taken by the
  leader of three centers, and how many maps it published meanwhile.
* rss_*_mib: memory of each center: idle, the most while the servers come, and with all of them
  in its map.
* visible_ms: from a registration until every center has told a client that waits for it.
* told_ms: from the first to the last of the clients that wait at one center and hold the new map.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from measure_failover import CENTER, Cluster

from libevrpc import RpcClient
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.prpc import PrpcDecoder, Reply, WireLimits
from libevrpc.core.prpc_encode import encode_request
from libevrpc.gen import center_pb2

WINDOW = 500
BURST = 50
REPORT_BYTES = 200
SERVICE = "measured.Service"
WAIT_MS = 20_000
FIRST_PORT = 20_000
LOOK_S = 0.02


class Flow:
    """Reports over one connection, `WINDOW` of them unanswered."""

    def __init__(self, address: str, servers: int) -> None:
        host, _, port = address.rpartition(":")
        self._sock = socket.create_connection((host, int(port)), 5.0)
        self._decoder = PrpcDecoder("client", WireLimits())
        self._requests = [_report(number).SerializeToString() for number in range(servers)]
        self._sent = self._answered = 0

    def run(self, seconds: float) -> float:
        """Report for so long; returns the rate.

        Raises:
            SystemExit: a report was refused.
        """
        began_s = time.monotonic()
        before = self._answered
        while time.monotonic() - began_s < seconds:
            self._send()
            self._receive()
        return (self._answered - before) / (time.monotonic() - began_s)

    def _send(self) -> None:
        while self._sent - self._answered < WINDOW:
            count = min(BURST, WINDOW - (self._sent - self._answered))
            frames = [self._frame(self._sent + each) for each in range(count)]
            self._sock.sendall(b"".join(frames))
            self._sent += count

    def _frame(self, number: int) -> bytes:
        body = self._requests[number % len(self._requests)]
        return encode_request("evrpc.Center", "Report", number + 1, body, timeout_ms=5000)

    def _receive(self) -> None:
        for event in self._decoder.receive_data(self._sock.recv(1 << 20)):
            assert isinstance(event, Reply)
            if event.error_code:
                sys.exit(f"a report was refused: {event.error_text}")
            self._answered += 1

    def close(self) -> None:
        self._sock.close()


class Waiting:
    """Clients that each hold a question open until there is a newer map."""

    def __init__(self, addresses: list[str]) -> None:
        self._clients = [RpcClient(address, timeout_s=30.0) for address in addresses]
        self._pulls = [client.stub(CENTER).Pull for client in self._clients]
        self._closed = False
        self._stamps: list[tuple[str, int, int]] = [("", 0, 0)] * len(addresses)

    def until_told(self, act: Callable[[], object], address: str) -> tuple[float, list[float]]:
        """Do `act`; returns its moment, and the moments at which each client knew `address`."""
        told = threading.Semaphore(0)
        moments = [0.0] * len(self._pulls)

        def ask(client: int, wait_ms: int) -> None:
            cluster_id, epoch, version = self._stamps[client]
            request = center_pb2.PullRequest(
                client_id=f"measure-{client}",
                service=SERVICE,
                cluster_id=cluster_id,
                epoch=epoch,
                version=version,
                wait_ms=wait_ms,
            )
            self._pulls[client].future(request).add_done_callback(
                lambda future: None if self._closed else take(client, future.result(), wait_ms)
            )

        def take(client: int, response: Any, wait_ms: int) -> None:
            now_s = time.monotonic()
            known = False
            if response.map:
                found = ClusterMap.decode(response.map)
                self._stamps[client] = (found.cluster_id, found.epoch, found.version)
                known = any(each.address == address for each in found.servers)
            if known or not wait_ms:
                moments[client] = now_s
                told.release()
            else:
                ask(client, wait_ms)

        def ask_all(wait_ms: int) -> None:
            for client in range(len(self._pulls)):
                ask(client, wait_ms)

        def await_all() -> None:
            for _ in self._pulls:
                if not told.acquire(timeout=30.0):
                    sys.exit("a client was told nothing for 30 s")

        ask_all(0)
        await_all()
        ask_all(WAIT_MS)
        time.sleep(0.2)  # until all of them wait
        acted_s = time.monotonic()
        act()
        await_all()
        return acted_s, sorted(moments)

    def close(self) -> None:
        self._closed = True
        for client in self._clients:
            client.close()


def _report(number: int) -> center_pb2.ReportRequest:
    """Make the report of another process at that address."""
    report = center_pb2.ReportRequest(
        address=f"127.0.0.1:{FIRST_PORT + number}",
        services=[SERVICE],
        session=str(time.monotonic_ns()),
        load=0.5,
    )
    report.tags.append("x" * (REPORT_BYTES - len(report.SerializeToString()) - 2))
    return report


def news(cluster: Cluster, asked: list[int], rounds: int) -> tuple[list[float], list[float]]:
    """Register server after server; returns ms to the last client's knowledge, and the spread."""
    leader = cluster.settled()
    waiting = Waiting([cluster.address(each) for each in asked])
    reporter = RpcClient(cluster.address(leader))
    stub = reporter.stub(CENTER)
    took_ms, spread_ms = [], []
    try:
        for number in range(rounds):
            report = _report(number)
            acted_s, moments = waiting.until_told(
                lambda report=report: _register(stub, report),  # type: ignore[misc]
                report.address,
            )
            took_ms.append((moments[-1] - acted_s) * 1000.0)
            spread_ms.append((moments[-1] - moments[0]) * 1000.0)
            goodbye = center_pb2.GoodbyeRequest(address=report.address, session=report.session)
            stub.Goodbye(goodbye)
    finally:
        waiting.close()
        reporter.close()
    return took_ms, spread_ms


def _register(stub: Any, report: center_pb2.ReportRequest) -> None:
    if stub.Report(report).not_ready:
        sys.exit("the center that led at the start leads no more: is the machine busy?")


def memory(cluster: Cluster) -> list[float]:
    """Return the resident memory of each center in MiB."""
    pids = [cluster.pid(each) for each in cluster.ids]
    return [round(psutil.Process(pid).memory_info().rss / 2**20, 1) for pid in pids]


class Peak:
    """The largest memory of each center, looked at every `LOOK_S`. One thread of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.mib = [0.0 for _ in cluster.ids]
        self._cluster = cluster
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ending.wait(LOOK_S):
            self.mib = list(map(max, self.mib, memory(self._cluster)))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


def not_one_leader(before: center_pb2.StatusResponse, after: center_pb2.StatusResponse) -> str:
    """Return why reports sent between two statuses of a center do not count, "" if they do.

    One that leads no more answers too, and takes nothing.
    """
    if before.leads and after.leads and before.epoch == after.epoch:
        return ""
    return f"center {before.id} did not lead all the while: its reports do not count"


def measured(given: argparse.Namespace, cluster: Cluster) -> dict[str, Any]:
    """Measure everything on a cluster that has started."""
    leader = cluster.settled()
    figures: dict[str, Any] = {"rss_idle_mib": memory(cluster)}
    took_ms, _ = news(cluster, cluster.ids, given.rounds)
    figures["visible_ms"] = _three(took_ms)
    _, spread_ms = news(cluster, [leader] * given.clients, given.rounds)
    figures["told_ms"] = _three(spread_ms)
    flow = Flow(cluster.address(leader), given.servers)
    before = cluster.status(leader)
    with Peak(cluster) as peak:
        figures["reports_per_s"] = round(flow.run(given.seconds))
    after = cluster.status(leader)
    flow.close()
    if why_not := not_one_leader(before, after):
        sys.exit(f"{why_not}:\n{cluster.log(leader)}")
    figures["maps_meanwhile"] = after.version - before.version
    figures["servers_in_map"] = len(after.servers)
    figures["rss_most_mib"] = peak.mib
    figures["rss_full_mib"] = memory(cluster)
    return figures


def with_centers(
    folder: Path, compiled: Path, count: int, use: Callable[[Cluster], dict[str, Any]]
) -> dict[str, Any]:
    """Start centers in a new `folder`, return what `use` of them gives, and end them.

    Who compiles what it runs needs more memory: the first center does it for those after it.
    """
    folder.mkdir()
    cluster = Cluster(folder, count, compiled)
    try:
        for center in cluster.ids:
            cluster.start(center)
        for center in cluster.ids:
            cluster.await_line(center)
        return use(cluster)
    finally:
        cluster.close()


def _three(values: list[float]) -> dict[str, float]:
    return {
        "min": round(min(values), 1),
        "median": round(statistics.median(values), 1),
        "max": round(max(values), 1),
    }


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20, help="registrations that are timed")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long reports are sent")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_STATE_HOME", folder)
        compiled = Path(folder) / "pycache"
        with_centers(Path(folder) / "compiling", compiled, 1, lambda cluster: {})
        figures = with_centers(
            Path(folder) / "measured", compiled, 3, lambda cluster: measured(given, cluster)
        )
    if given.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:16} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
