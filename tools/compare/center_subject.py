"""Our centers as a subject: reports register, the served map is what a watcher sees."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from compare.centers import CENTER, CenterCluster, client_of
from compare.node import ServiceError, free_ports
from compare.subject import VALUE_BYTES, Ended, FirstWrite, Subject, Watcher, pipelined
from libevrpc import RpcClient, RpcError
from libevrpc.core.clustermap import ClusterMap
from libevrpc.gen import center_pb2

__all__ = ["CenterSubject"]

SERVICE = "compare.Registered"
SESSION = "compare"
FIRST_PORT = 33000
"""Names are addresses of loopback where nobody listens: above this systems give out ports of
outgoing connections only."""
AGAIN_S = 0.01
PAUSE_S = 0.005
POLL_MS = 1000
CALL_S = 5.0
COMMIT_S = 30.0
REPORT_S = 1.0
"""How often servers report."""


class MapFollower:
    """A thread that long-polls one center; `on_map` hears of each map, on that thread."""

    def __init__(self, stub: Any, on_map: Callable[[ClusterMap], None]) -> None:
        self._stub = stub
        self._on_map = on_map
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        request = center_pb2.PullRequest(wait_ms=POLL_MS)
        while not self._ending.is_set():
            try:
                response = self._stub.Pull(request, timeout_s=POLL_MS / 1000 + 1.0)
            except RpcError:
                self._ending.wait(PAUSE_S)
                continue
            if not response.map:
                self._ending.wait(PAUSE_S)
                continue
            held = ClusterMap.decode(response.map)
            request.cluster_id, request.epoch = held.cluster_id, held.epoch
            request.version = held.version
            self._on_map(held)

    def end(self) -> None:
        """Let the thread end by itself."""
        self._ending.set()

    def join(self) -> None:
        """Wait for it, once its client is closed."""
        self._thread.join(POLL_MS / 1000 + 5.0)


class CenterSubject(Subject):
    """See `Subject`. The timing is what we ship. `compiled`: see `CenterCluster`."""

    errors = (RpcError,)
    owner_timeout_s = 3.0

    def __init__(self, folder: Path, compiled: Path) -> None:
        self.cluster: CenterCluster = CenterCluster(folder, 3, compiled)
        self._folder = folder
        self._clients: dict[int, RpcClient] = {}
        self._followers: list[MapFollower] = []
        self._ports = itertools.count(FIRST_PORT)
        self._many: list[Any] = []
        self._epoch = 0

    def connect(self, nodes: Sequence[int]) -> None:
        """See `Subject.connect`."""
        self.disconnect()
        self._clients = {each: client_of(self.cluster.address(each)) for each in nodes}

    def await_connected(self) -> None:
        """See `Subject.await_connected`. Remembers the epoch, too."""
        for each in self._clients:
            served = self._stub(each).Pull(center_pb2.PullRequest(), timeout_s=CALL_S)
            self._epoch = max(self._epoch, ClusterMap.decode(served.map).epoch)

    def disconnect(self) -> None:
        """See `Subject.disconnect`."""
        for follower in self._followers:
            follower.end()
        for client in self._clients.values():
            client.close()
        for follower in self._followers:
            follower.join()
        self._followers = []
        self._clients = {}

    def _stub(self, node: int) -> Any:
        return self._clients[node].stub(CENTER)

    def first_write(self, nodes: Sequence[int], within_s: float) -> FirstWrite:
        """See `Subject.first_write`: registrations until one is in a map of a newer epoch."""
        names = {each: self.new_name() for each in nodes}
        wanted, before = set(names.values()), self._epoch
        served_s: list[float] = []
        visible_s: list[float] = []
        done = threading.Event()

        def look(held: ClusterMap) -> None:
            now_s = time.monotonic()
            if held.epoch > before:
                served_s.append(now_s)
                if any(entry.address in wanted for entry in held.servers):
                    visible_s.append(now_s)
                    done.set()

        followers = [MapFollower(self._stub(each), look) for each in nodes]
        reporters = [
            threading.Thread(target=self._repeat, args=(each, names[each], done), daemon=True)
            for each in nodes
        ]
        for thread in reporters:
            thread.start()
        told = done.wait(within_s)
        done.set()
        for follower in followers:
            follower.end()
        for thread in reporters:
            thread.join()
        self._followers += followers
        if not told:
            raise ServiceError(f"no registration within {within_s:g} s\n{self.cluster.logs()}")
        return FirstWrite(visible_s[0], served_s[0])

    def _repeat(self, node: int, name: str, done: threading.Event) -> None:
        """Report again and again, as a server would that heard no answer."""
        stub, report = self._stub(node), report_of(name)
        while not done.is_set():
            try:
                stub.Report(report, timeout_s=0.2)
            except RpcError:
                done.wait(PAUSE_S)
            else:
                done.wait(AGAIN_S)

    def watch(self, node: int) -> Watcher:
        """See `Subject.watch`."""
        watcher = Watcher()

        def look(held: ClusterMap) -> None:
            watcher.told(entry.address for entry in held.servers)

        self._followers.append(MapFollower(self._stub(node), look))
        return watcher

    def new_name(self) -> str:
        """See `Subject.new_name`."""
        return f"127.0.0.1:{next(self._ports)}"

    def new_owned_name(self) -> str:
        """See `Subject.new_owned_name`: the owner listens there."""
        return f"127.0.0.1:{free_ports(1)[0]}"

    def register(self, node: int, name: str) -> None:
        """See `Subject.register`: taken means on its way to the leader."""
        response = self._stub(node).Report(report_of(name), timeout_s=CALL_S)
        if response.not_ready:
            raise ServiceError(f"center {node} has no leader\n{self.cluster.logs()}")

    def withdraw(self, node: int, name: str) -> None:
        """See `Subject.withdraw`."""
        request = center_pb2.GoodbyeRequest(address=name, session=SESSION)
        self._stub(node).Goodbye(request, timeout_s=CALL_S)

    def owner(self, name: str) -> list[str]:
        """See `Subject.owner`: a real server of ours."""
        script = str(Path(__file__).with_name("owner.py"))
        hosts = self.cluster.hosts()
        return [sys.executable, script, "center", hosts, name, str(self._folder / "owner-state")]

    def register_many(self, node: int, count: int) -> float:
        """See `Subject.register_many`: until the committed map names them all.

        What a leader took and lost with its leadership is reported anew, as servers do.
        """
        self._many = [report_of(self.new_name()) for _ in range(count)]
        watcher = self.watch(node)
        missing: Sequence[Any] = self._many
        began_s = time.monotonic()
        while missing:
            if time.monotonic() > began_s + COMMIT_S:
                text = f"{len(missing)} of {count} names not in a map"
                raise ServiceError(f"{text}\n{self.cluster.logs()}")
            pipelined(len(missing), partial(self._report_one_of, node, missing))
            lost = watcher.missing((each.address for each in self._many), REPORT_S)
            missing = [each for each in self._many if each.address in lost]
        return time.monotonic() - began_s

    def _report_one_of(self, node: int, reports: Sequence[Any], number: int, end: Ended) -> None:
        self._report(node, reports[number], end)

    def update_many(self, node: int, count: int) -> float:
        """See `Subject.update_many`: taken into the leader's memory, where the newest counts."""

        def begin(number: int, end: Ended) -> None:
            report = self._many[number % len(self._many)]
            report.load = number % 100 / 100.0
            self._report(node, report, end)

        return pipelined(count, begin)

    def _report(self, node: int, report: Any, end: Ended) -> None:
        def answered(future: Any) -> None:
            error = future.exception()
            if error is None and future.result().not_ready:
                error = ServiceError(f"center {node} has no leader")
            end(error)

        self._stub(node).Report.future(report, timeout_s=COMMIT_S).add_done_callback(answered)


def report_of(name: str) -> Any:
    """Make a report of VALUE_BYTES."""
    report = center_pb2.ReportRequest(
        address=name, services=[SERVICE], weight=1.0, load=0.5, session=SESSION
    )
    report.tags.append("x" * (VALUE_BYTES - report.ByteSize() - 2))
    return report
