"""How soon a client hears of a new, a dead and a restarted server, per registry.

Real registries with our defaults, servers as processes of their own (SIGKILL for the dead), one
watching client in this process. The clock starts in the server's process just before it
announces itself, or at the kill; it stops when the client's list says so. A list in a file and
a name in DNS are changed by this program; many clients at random phases watch them.

    python tools/measure_registries.py [--trials N] [center zk etcd http file dns ...]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from compare import etcd as etcd_kind
from compare import zookeeper as zookeeper_kind
from compare.centers import CenterCluster
from compare.etcd import EtcdCluster
from compare.node import Node, free_ports
from compare.zookeeper import ZooKeeperCluster

from libevrpc import RpcServer
from libevrpc.core.endpoints import EndpointSet
from libevrpc.core.targets import parse_target
from libevrpc.registry import dns
from libevrpc.registry.opening import open_resolver
from libevrpc.settings import ClientSettings

SERVICE = "Measured"
TRIALS = 11
CLIENTS = 41
"""Clients that watch a file or a name."""
WAIT_S = 120.0
DNS_EVERY_S = 30.0
HTTP_EXPIRY_S = 10.0
"""As ZooKeeper's and etcd's here. An HTTP registry that is told nothing waits for five minutes."""
ROOT = Path(__file__).resolve().parent.parent


class Measured:
    """What the servers serve."""

    def hello(self) -> str:
        return "hello"


class View:
    """One client's list, and when it came to be so."""

    def __init__(self, target: str, folder: Path) -> None:
        self._changed = threading.Condition()
        self._since: dict[str, tuple[tuple[str, ...] | None, float]] = {}
        parsed, settings = parse_target(target), ClientSettings(state_dir=str(folder))
        self._resolver = open_resolver(parsed, SERVICE, settings)
        self._resolver.start(self._take)

    def _take(self, endpoints: EndpointSet) -> None:
        now_s = time.monotonic()
        told = {each.address: each.tags for each in endpoints.endpoints if each.weight}
        with self._changed:
            for address in told.keys() | self._since.keys():
                if self._said(address)[0] != told.get(address):
                    self._since[address] = told.get(address), now_s
            self._changed.notify_all()

    def _said(self, address: str) -> tuple[tuple[str, ...] | None, float]:
        """Return a server's tags, None: it is not there, or takes no calls; and since when."""
        return self._since.get(address, (None, 0.0))

    def until(self, address: str, tags: tuple[str, ...] | None) -> float:
        """Wait until a server is told with these tags; None: until it is not; return since when."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._said(address)[0] == tags, WAIT_S):
                raise SystemExit(f"not within {WAIT_S:g} s; {self._resolver.trouble()}")
            return self._said(address)[1]

    def close(self) -> None:
        self._resolver.close()


class Server:
    """A process that serves and announces itself until it is killed."""

    def __init__(self, target: str, address: str, tag: str, folder: Path) -> None:
        words = ["serve", target, address, tag, str(folder)]
        self._child = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._child.stdout is not None
        self.started_s = float(self._child.stdout.readline())

    def kill(self) -> float:
        """Crash it; return when."""
        killed_s = time.monotonic()
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()
        return killed_s


def serve(target: str, address: str, tag: str, folder: str) -> None:
    """Be one of the servers: say when we began, go on until standard input ends."""
    server = RpcServer(address, threads=1, registry=target, tags=tag, state_dir=folder)
    server.add_object(Measured())
    print(time.monotonic(), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0.0)


def measure_announcing(target: str, trials: int, folder: Path) -> dict[str, list[float]]:
    """Measure a registry that servers announce themselves at. The servers' lives overlap."""
    view = View(target, folder / "view")
    spans: dict[str, list[float]] = {"new": [], "restarted": [], "dead": []}
    servers: dict[str, Server] = {}
    # two that stay, so that the dead leave a list, and no mass of servers falls silent at once
    for port in free_ports(trials + 2):
        address = f"127.0.0.1:{port}"
        server = servers[address] = Server(target, address, "first", folder)
        seen_s = view.until(address, ("first",))
        spans["new"].append(seen_s - server.started_s)
    stay, leave = list(servers)[:2], list(servers)[2:]
    for address in leave:
        servers[address].kill()
        server = servers[address] = Server(target, address, "second", folder)
        seen_s = view.until(address, ("second",))
        spans["restarted"].append(seen_s - server.started_s)
    pause = threading.Event()
    for address in leave:
        pause.wait(random.random())  # another phase of everybody's period
        killed_s = servers.pop(address).kill()
        seen_s = view.until(address, None)
        spans["dead"].append(seen_s - killed_s)
    for address in stay:
        servers[address].kill()
    view.close()
    return spans


def measure_listed(
    target: str, change: Callable[[Sequence[str]], None], folder: Path, period_s: float
) -> dict[str, list[float]]:
    """Measure a list that somebody else changes, with many clients at random phases."""
    change(["127.0.0.1:7"])
    pause = threading.Event()
    views = []
    for number in range(CLIENTS):
        views.append(View(target, folder / f"view-{number}"))
        pause.wait(random.random() * period_s / CLIENTS * 2)
    spans: dict[str, list[float]] = {}
    for what, listed in (("new", ["127.0.0.1:7", "127.0.0.2:7"]), ("dead", ["127.0.0.1:7"])):
        changed_s = time.monotonic()
        change(listed)
        tags = () if what == "new" else None
        spans[what] = [view.until("127.0.0.2:7", tags) - changed_s for view in views]
    for view in views:
        view.close()
    return spans


@contextmanager
def http_registry(folder: Path) -> Iterator[str]:
    """Run our HTTP registry."""
    (port,) = free_ports(1)
    listen = f"127.0.0.1:{port}"
    words = [sys.executable, "-m", "libevrpc.cli", "registry", "--listen", listen]
    node = Node("registry", words, folder / "registry.log", {"PYTHONPATH": str(ROOT)})
    node.start()
    try:
        yield f"http://{listen}/_tinyrpc_/registry?expiry={HTTP_EXPIRY_S:g}"
    finally:
        node.stop()


@contextmanager
def cluster(made: AbstractContextManager[object], scheme: str) -> Iterator[str]:
    """Run a cluster; give its target."""
    with made as running:
        yield f"{scheme}://{running.hosts()}"  # type: ignore[attr-defined]


def registry(scheme: str, folder: Path) -> AbstractContextManager[str]:
    """Return a registry that servers announce themselves at, three nodes where it has nodes."""
    folder.mkdir()
    if scheme == "center":
        return cluster(CenterCluster(folder, 3, folder / "compiled"), "center")
    if scheme == "zk":
        return cluster(ZooKeeperCluster(folder, 3, zookeeper_kind.SMALL), "zk")
    if scheme == "etcd":
        return cluster(EtcdCluster(folder, 3), "etcd")
    return http_registry(folder)


def measure(scheme: str, trials: int, folder: Path) -> dict[str, list[float]]:
    """Measure one kind of registry."""
    if scheme == "file":
        path = folder / "servers"

        def write(listed: Sequence[str]) -> None:
            scratch = folder / "servers.new"
            scratch.write_text("".join(f"{address}\n" for address in listed))
            scratch.replace(path)

        return measure_listed(f"file://{path}", write, folder, 1.0)
    if scheme == "dns":
        zone: list[str] = []
        dns.addresses_of = lambda host: list(zone)

        def enter(listed: Sequence[str]) -> None:
            zone[:] = [address.partition(":")[0] for address in listed]

        return measure_listed(f"dns://x.test:7?every={DNS_EVERY_S:g}", enter, folder, DNS_EVERY_S)
    with ExitStack() as stack:
        target = stack.enter_context(registry(scheme, folder / scheme))
        return measure_announcing(target, trials, folder)


def missing(scheme: str) -> str:
    """Say what is not installed; empty: nothing."""
    kinds = {"zk": zookeeper_kind.missing, "etcd": etcd_kind.missing}
    return kinds[scheme]() if scheme in kinds else ""


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        target, address, tag, folder = sys.argv[2:]
        serve(target, address, tag, folder)
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "schemes", nargs="*", default=["center", "zk", "etcd", "http", "file", "dns"]
    )
    parser.add_argument("--trials", type=int, default=TRIALS, help="servers of each kind of end")
    given = parser.parse_args()
    for scheme in given.schemes:
        lacking = missing(scheme)
        if lacking:
            print(json.dumps({"registry": scheme, "left_out": f"not installed: {lacking}"}))
            continue
        with tempfile.TemporaryDirectory() as folder:
            spans = measure(scheme, given.trials, Path(folder))
        line: dict[str, object] = {"registry": scheme}
        for what, each in spans.items():
            line[what] = {
                "median_s": round(statistics.median(each), 3),
                "worst_s": round(max(each), 3),
                "n": len(each),
            }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
