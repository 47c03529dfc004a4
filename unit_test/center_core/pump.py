"""Whole clusters in memory: nodes, a delay, disks and cuts, under one virtual clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from center.core.ballot import State
from center.core.codec import decode, encode
from center.core.events import (
    Action,
    Dial,
    Event,
    LinkDown,
    LinkUp,
    Log,
    MapCommitted,
    Message,
    Persist,
    Persisted,
    PersistFailed,
    Plan,
    Planned,
    RoleChanged,
    Send,
    Tick,
)
from center.core.node import Node
from center.core.record import Record, Voters
from center.core.timing import Timing
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable

DELAY_S = 0.001


class PlainPlanner:
    """Weights as given, no tables."""

    def plan(
        self,
        previous: ClusterMap,
        servers: tuple[ServerEntry, ...],
        now_s: float,
        *,
        weigh: bool,
    ) -> tuple[tuple[ServerEntry, ...], tuple[ServiceTable, ...]]:
        return servers, ()


def voters_of(count: int, digest: str = "d1gest") -> Voters:
    return Voters(tuple((each, f"127.0.0.1:{9000 + each}") for each in range(1, count + 1)), digest)


@dataclass
class Host:
    """One machine: a disk that survives, a node that may not."""

    id: int
    record: Record | None = None
    node: Node | None = None
    disk_s: float = 0.0005
    disk_fails: bool = False
    frozen_until_s: float | None = None
    committed: list[ClusterMap] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    roles: list[RoleChanged] = field(default_factory=list)
    dials: list[str] = field(default_factory=list)


class Pump:
    """Runs a cluster; `cut` holds directed links that lose everything."""

    def __init__(self, count: int = 3, *, seed: int = 1, timing: Timing | None = None) -> None:
        self.now_s = 100.0
        self.voters = voters_of(count)
        self.timing = timing or Timing()
        self.rng = random.Random(seed)
        self.hosts = {each: Host(each) for each in self.voters.ids}
        self.cut: set[tuple[int, int]] = set()
        self.lose: Callable[[int, int, Any], bool] = lambda sender, to, body: False
        self.plan_s = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # Hosts

    def start(self, *ids: int, **options: Any) -> None:
        """Start the centers `ids`, or all."""
        for each in ids or self.voters.ids:
            host = self.hosts[each]
            voters = options.pop("voters", self.voters)
            host.node = Node(
                each,
                voters,
                host.record,
                self.now_s,
                chance=random.Random(self.rng.random()),
                planner=PlainPlanner,
                timing=self.timing,
                **options,
            )
            self.feed(each, Tick())
            for other in self.voters.ids:
                if other != each and self.hosts[other].node is not None:
                    self.feed(other, LinkUp(each))
                    self.feed(each, LinkUp(other))

    def kill(self, center: int, *, seen: bool = True) -> None:
        """Kill a center; with `seen` the others' links close."""
        self.hosts[center].node = None
        if seen:
            for other, host in self.hosts.items():
                if host.node is not None and other != center:
                    self._after(DELAY_S, lambda other=other: self.feed(other, LinkDown(center)))

    def wipe(self, center: int) -> None:
        self.hosts[center].record = None

    def freeze(self, center: int, span_s: float) -> None:
        self.hosts[center].frozen_until_s = self.now_s + span_s

    def isolate(self, *ids: int) -> None:
        """Cut the links between `ids` and all others."""
        for one in ids:
            for other in self.voters.ids:
                if other not in ids:
                    self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        self.cut.clear()

    # Time

    def _after(self, span_s: float, job: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_s + span_s, self._count, job))

    def run(self, span_s: float) -> None:
        """Let `span_s` pass."""
        until_s = self.now_s + span_s
        while True:
            due = [
                (max(node.next_deadline_s(), host.frozen_until_s or 0.0), each)
                for each, host in self.hosts.items()
                if (node := host.node) is not None
            ]
            tick_s, center = min(due, default=(until_s + 1, 0))
            job_s = self._queue[0][0] if self._queue else until_s + 1
            if min(tick_s, job_s) > until_s:
                break
            if job_s <= tick_s:
                self.now_s = max(self.now_s, job_s)
                heapq.heappop(self._queue)[2]()
            else:
                self.now_s = max(self.now_s, tick_s)
                self.feed(center, Tick())
        self.now_s = until_s

    def run_until(self, condition: Callable[[], bool], limit_s: float = 10.0) -> float:
        """Let time pass until `condition`; return how much did."""
        began_s = self.now_s
        while not condition():
            assert self.now_s - began_s < limit_s, self.describe()
            self.run(0.001)
        return self.now_s - began_s

    def feed(self, center: int, event: Event) -> None:
        """Feed an event now, or when the center thaws."""
        host = self.hosts[center]
        node = host.node
        if node is None:
            return
        if host.frozen_until_s is not None and self.now_s < host.frozen_until_s:
            thaw_s = host.frozen_until_s - self.now_s
            self._after(thaw_s, lambda: self._feed_same(center, node, event))
            return
        self._carry_out(host, node, node.step(event, self.now_s))

    def _feed_same(self, center: int, node: Node, event: Event) -> None:
        if self.hosts[center].node is node:
            self.feed(center, event)

    def _carry_out(self, host: Host, node: Node, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(to, body):
                    if (host.id, to) not in self.cut and not self.lose(host.id, to, body):
                        encoded = encode(host.id, node.incarnation, body)
                        self._after(DELAY_S, lambda to=to, wire=encoded: self._deliver(to, wire))
                case Persist(token, record):
                    self._after(
                        host.disk_s,
                        lambda token=token, record=record: self._write(host, node, token, record),
                    )
                case Plan(token, job):
                    planned = Planned(token, job.run())
                    self._after(
                        self.plan_s,
                        lambda planned=planned: self._feed_same(host.id, node, planned),
                    )
                case Dial(address):
                    host.dials.append(address)
                case MapCommitted(record):
                    host.committed.append(ClusterMap.decode(record.payload))
                case RoleChanged():
                    host.roles.append(action)
                case Log(_, text):
                    host.logs.append(text)

    def _deliver(self, to: int, wire: bytes) -> None:
        self.feed(to, Message(*decode(wire)))

    def _write(self, host: Host, node: Node, token: int, record: Record) -> None:
        if host.node is not node:
            return
        if host.disk_fails:
            self.feed(host.id, PersistFailed(token, "no space left"))
            return
        host.record = record
        self._feed_same(host.id, node, Persisted(token))

    # Looking at it

    def node(self, center: int) -> Node:
        node = self.hosts[center].node
        assert node is not None
        return node

    def states(self) -> dict[int, State]:
        return {
            each: host.node.snapshot(self.now_s).state
            for each, host in self.hosts.items()
            if host.node is not None
        }

    def leaders(self) -> list[int]:
        return [each for each, state in self.states().items() if state is State.LEADING]

    def leader(self) -> int:
        (leader,) = self.leaders()
        return leader

    def settled(self) -> bool:
        """One leader, everybody else following, and all serve its map."""
        live = {each: host for each, host in self.hosts.items() if host.node is not None}
        states = self.states()
        if sorted(states.values())[:-1] != [State.FOLLOWING] * (len(live) - 1):
            return False
        stamps = {self.node(each).snapshot(self.now_s).stamp for each in live}
        epochs = {self.node(each).snapshot(self.now_s).epoch for each in live}
        return len(self.leaders()) == 1 and len(stamps) == 1 and {s[0] for s in stamps} == epochs

    def settle(self, limit_s: float = 5.0) -> int:
        """Run until settled; return the leader."""
        self.run_until(self.settled, limit_s)
        return self.leader()

    def map_of(self, center: int) -> ClusterMap:
        served = self.node(center).served
        assert served is not None
        return ClusterMap.decode(served.payload)

    def describe(self) -> str:
        lines = [f"t={self.now_s:.3f}"]
        for each, host in self.hosts.items():
            lines.append(f"{each}: {host.node and host.node.snapshot(self.now_s)}")
            lines += host.logs[-8:]
        return "\n".join(lines)

    def with_record(self, center: int, **changes: Any) -> None:
        """Change what is on a center's disk."""
        self.hosts[center].record = replace(self.hosts[center].record or Record(), **changes)
