"""One trial: a fresh cluster, every fault once, the load at last."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compare.cluster import wait_until
from compare.node import Node, ServiceError
from compare.subject import Subject

__all__ = ["ROWS", "Figures", "Scale", "run_trial"]

FAULT_S = 60.0
SETTLE_S = 0.5
"""A fault is no surprise to a cluster that is still busy with the last one."""
OWNERS = 2
STALL_MS = 200.0
"""A latency during which the machine stood still for longer than this is no figure."""
TICK_S = 0.02

ROWS = {
    "start_ms": "start of 3 processes -> first write, ms",
    "start_cpu_ms": "... processor time of all three until then, ms",
    "leader_killed_ms": "leader SIGKILL -> first committed write, read at a survivor, ms",
    "leader_killed_map_ms": "... -> newer map served by a survivor, ms",
    "leader_frozen_ms": "leader SIGSTOP -> first committed write, read at a survivor, ms",
    "leader_frozen_map_ms": "... -> newer map served by a survivor, ms",
    "register_ms": "register -> watcher on another node told, ms",
    "goodbye_ms": "clean goodbye -> watcher on another node told, ms",
    "owner_killed_ms": "owner SIGKILL -> watcher told, ms",
    "owner_frozen_ms": "owner SIGSTOP -> watcher told, ms",
    "registrations_per_s": "registrations of 200 B, 500 at once, committed, /s",
    "registrations_cpu_us": "... processor time of all three nodes for each, us",
    "updates_per_s": "load reports of 200 B, 500 at once, taken, /s",
    "updates_cpu_us": "... processor time of all three nodes for each, us",
    "memory_idle_mib": "resident memory of a node, idle, MiB",
    "memory_loaded_mib": "resident memory of a node, after the load, MiB",
}
"""What is measured, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of each is done in one trial."""

    pairs: int = 10
    registrations: int = 2000
    updates: int = 4000


@dataclass
class Figures:
    """What one system gave, by row; `stalls` counts figures that were thrown away."""

    rows: dict[str, list[float]] = field(default_factory=lambda: {each: [] for each in ROWS})
    stalls: int = 0

    def add(self, row: str, value: float) -> None:
        """Keep one figure."""
        self.rows[row].append(value)


class StallWatch:
    """A thread that finds out for how long this machine let nobody run."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        before_s = time.monotonic()
        while not self._ending.wait(TICK_S):
            now_s = time.monotonic()
            self.worst_ms = max(self.worst_ms, (now_s - before_s - TICK_S) * 1000.0)
            before_s = now_s

    def __enter__(self) -> StallWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


class Trial:
    """The story of one trial, in order. One thread."""

    def __init__(self, subject: Subject, figures: Figures, scale: Scale, folder: Path) -> None:
        self._subject = subject
        self._cluster = subject.cluster
        self._figures = figures
        self._scale = scale
        self._folder = folder

    def run(self) -> None:
        """Measure every row.

        Raises:
            ServiceError: the system did not do what it must.
        """
        self._start()
        self._memory("memory_idle_mib")
        self._names()
        self._owner("owner_killed_ms", Node.kill)
        self._owner("owner_frozen_ms", Node.freeze)
        self._leader("leader_frozen", Node.freeze)
        self._leader("leader_killed", Node.kill)
        self._load()
        self._memory("memory_loaded_mib")

    def _start(self) -> None:
        with self._latencies() as add:
            since_s = time.monotonic()
            self._cluster.start()
            quorum = len(self._cluster.ids) // 2 + 1
            wait_until(lambda: self._cluster.listening() >= quorum, self._cluster.logs, FAULT_S)
            self._subject.connect(self._cluster.ids)
            wrote = self._subject.first_write(self._cluster.ids, FAULT_S)
            add("start_ms", wrote.visible_s - since_s)
            add("start_cpu_ms", self._processor_s())

    def _memory(self, row: str) -> None:
        nodes = self._cluster.nodes.values()
        self._figures.add(row, statistics.mean(each.memory_bytes() for each in nodes) / 2**20)

    def _settle(self) -> tuple[int, list[int]]:
        """Return the leader and the others, once everything runs and clients are connected."""
        leader = self._cluster.mend()
        time.sleep(SETTLE_S)
        others = [each for each in self._cluster.ids if each != leader]
        return leader, others

    def _names(self) -> None:
        """Register at one follower, watch at the other."""
        _, (here, there) = self._settle()
        subject = self._subject
        subject.connect([here, there])
        subject.await_connected()
        watcher = subject.watch(there)
        for _ in range(self._scale.pairs):
            name = subject.new_name()
            with self._latencies() as add:
                since_s = time.monotonic()
                subject.register(here, name)
                add("register_ms", watcher.await_name(name, True, FAULT_S) - since_s)
                since_s = time.monotonic()
                subject.withdraw(here, name)
                add("goodbye_ms", watcher.await_name(name, False, FAULT_S) - since_s)

    def _owner(self, row: str, fault: Callable[[Node], None]) -> None:
        """Kill or freeze one of two who registered a name each; watch at a follower.

        Of two, because centers keep the last silent server of a service in the map.
        """
        _, (here, _) = self._settle()
        subject = self._subject
        subject.connect([here])
        subject.await_connected()
        watcher = subject.watch(here)
        names = [subject.new_owned_name() for _ in range(OWNERS)]
        owners = [
            Node(f"owner of {name}", subject.owner(name), self._folder / "owners.log")
            for name in names
        ]
        owner, name = owners[0], names[0]
        try:
            for each in owners:
                each.start()
            for owned in names:
                watcher.await_name(owned, True, FAULT_S)
            time.sleep(SETTLE_S)
            with self._latencies() as add:
                since_s = time.monotonic()
                fault(owner)
                add(row, watcher.await_name(name, False, FAULT_S) - since_s)
        except ServiceError as error:
            raise ServiceError(f"{error}\n{owner.log_tail()}\n{self._cluster.logs()}") from None
        finally:
            for each in owners:
                each.kill()

    def _leader(self, row: str, fault: Callable[[Node], None]) -> None:
        leader, others = self._settle()
        subject = self._subject
        subject.connect(others)
        subject.await_connected()
        with self._latencies() as add:
            since_s = time.monotonic()
            fault(self._cluster.nodes[leader])
            wrote = subject.first_write(others, FAULT_S)
            add(f"{row}_ms", wrote.visible_s - since_s)
            if wrote.served_s is not None:
                add(f"{row}_map_ms", wrote.served_s - since_s)

    def _load(self) -> None:
        """All at the leader, which is the one that works."""
        leader, _ = self._settle()
        subject = self._subject
        subject.connect([leader])
        subject.await_connected()
        self._rate("registrations", subject.register_many, leader, self._scale.registrations)
        self._rate("updates", subject.update_many, leader, self._scale.updates)

    def _rate(self, row: str, run: Callable[[int, int], float], leader: int, count: int) -> None:
        """Measure requests per second, and what one costs all nodes together."""
        before_s = self._processor_s()
        self._figures.add(f"{row}_per_s", count / run(leader, count))
        used_s = self._processor_s() - before_s
        self._figures.add(f"{row}_cpu_us", used_s / count * 1e6)

    def _processor_s(self) -> float:
        return sum(node.processor_s() for node in self._cluster.nodes.values())

    @contextmanager
    def _latencies(self) -> Iterator[Callable[[str, float], None]]:
        """Give a function that takes figures in seconds; they count if the machine ran on."""
        taken: list[tuple[str, float]] = []
        with StallWatch() as stall:
            yield lambda row, span_s: taken.append((row, span_s * 1000.0))
        if stall.worst_ms > STALL_MS:
            self._figures.stalls += len(taken)
            return
        for row, value_ms in taken:
            self._figures.add(row, value_ms)


def run_trial(make: Callable[[Path], Subject], figures: Figures, scale: Scale) -> None:
    """Run one trial on a fresh cluster; ends every process, whatever happens.

    Raises:
        ServiceError: the system did not do what it must.
    """
    with tempfile.TemporaryDirectory(prefix="libevrpc-compare-") as folder:
        subject = make(Path(folder))
        try:
            Trial(subject, figures, scale, Path(folder)).run()
        except subject.errors as error:
            raise ServiceError(f"{error!r}\n{subject.cluster.logs()}") from error
        finally:
            subject.disconnect()
            subject.cluster.close()
