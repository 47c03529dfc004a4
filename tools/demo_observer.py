"""The independent observer of the demo: it gives the verdict.

It knows calls, returns and payload echoes from the client's own counts, and epochs, versions
and servers from the maps that the centers' client ports serve, each asked every 5 ms. Of
the faults it is told only when they happened and to whom.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from libevrpc import ProtocolError, RpcClient, RpcError
from libevrpc.core.clustermap import ClusterMap
from libevrpc.gen import center_pb2

__all__ = ["CALLS_MIN", "CENTER", "Counts", "Findings", "Observer", "Sighting", "judge"]

CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]
CALLS_MIN = 20_000
FAILOVER_MAX_MS = 500.0
SERVER_OUT_MAX_MS = 1000.0
POLL_S = 0.005
DEAD_POLL_S = 0.05
POLL_TIMEOUT_S = 0.25
LINE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """One newer map, as one center served it."""

    at_s: float
    epoch: int
    version: int
    servers: frozenset[str]

    @property
    def stamp(self) -> tuple[int, int]:
        """Epoch and version."""
        return self.epoch, self.version


@dataclass(frozen=True, slots=True)
class Counts:
    """What the client said last."""

    started: int = 0
    returned: int = 0
    failed: int = 0
    slowest_ms: float = 0.0
    at_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    peers: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """What was measured, and what went wrong beside it."""

    failovers_ms: list[float] = field(default_factory=list)
    outs_ms: list[float] = field(default_factory=list)
    without_centers: int = 0
    troubles: list[str] = field(default_factory=list)


class Observer:
    """Watches one cluster and one client. Methods: the demo's thread, but for the threads' own.

    Args:
        centers: client address by id.
    """

    def __init__(self, centers: dict[int, str]) -> None:
        self.counts = Counts()
        self.serving: dict[int, Sighting | None] = dict.fromkeys(centers)
        """The newest map of each center that answers; None: it does not, or has none."""
        self.violations: list[str] = []
        self._reached: dict[int, tuple[int, int]] = {}
        """The newest stamp that each center has ever served, whatever became of it since."""
        self._digests: dict[tuple[int, int], int] = {}
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._lines_ended = threading.Event()
        self._pollers = [
            threading.Thread(target=self._poll, args=each, daemon=True) for each in centers.items()
        ]
        for poller in self._pollers:
            poller.start()

    # -- maps ---------------------------------------------------------------------------

    def _poll(self, center: int, address: str) -> None:
        """Ask one center for a newer map, again and again."""
        with RpcClient(address, timeout_s=POLL_TIMEOUT_S, retries_max=0) as client:
            pull = client.stub(CENTER).Pull
            held = center_pb2.PullRequest(client_id="observer")
            while not self._ending.is_set():
                try:
                    response = pull(held)
                    at_s = time.monotonic()
                    if response.map:
                        held = self._take(center, at_s, response.map)
                    self._ending.wait(POLL_S)
                except RpcError:
                    held = center_pb2.PullRequest(client_id="observer")
                    self._note(center, None)
                    self._ending.wait(DEAD_POLL_S)

    def _take(self, center: int, at_s: float, encoded: bytes) -> center_pb2.PullRequest:
        try:
            found = ClusterMap.decode(encoded)
        except ProtocolError as exc:
            self.violations.append(f"center {center} served an unreadable map: {exc}")
            return center_pb2.PullRequest(client_id="observer")
        servers = frozenset(server.address for server in found.servers)
        self._note(center, Sighting(at_s, found.epoch, found.version, servers), encoded)
        return center_pb2.PullRequest(
            client_id="observer",
            cluster_id=found.cluster_id,
            epoch=found.epoch,
            version=found.version,
        )

    def _note(self, center: int, seen: Sighting | None, encoded: bytes = b"") -> None:
        with self._changed:
            before = self.serving[center]
            if seen is not None:
                reached = self._reached.get(center, seen.stamp)
                if seen.stamp < reached:
                    self.violations.append(
                        f"center {center} went back from {reached} to {seen.stamp}"
                    )
                self._reached[center] = max(reached, seen.stamp)
                digest = zlib.crc32(encoded)
                if self._digests.setdefault(seen.stamp, digest) != digest:
                    self.violations.append(f"two different maps of epoch, version {seen.stamp}")
            if seen is not None or before is not None:
                self.serving[center] = seen
                self._changed.notify_all()

    @property
    def newest(self) -> tuple[int, int]:
        """Newest epoch and version ever seen; (0, 0) before the first map."""
        with self._changed:
            return max(self._digests, default=(0, 0))

    def wait(
        self, holds: Callable[[list[Sighting | None]], bool], centers: list[int], within_s: float
    ) -> bool:
        """Wait until what `centers` serve satisfies `holds`; False: not in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: holds([self.serving[each] for each in centers]), within_s
            )

    def settled(self, servers: set[str], centers: list[int], within_s: float) -> bool:
        """Wait until `centers` serve one and the same map of exactly `servers`."""

        def same(seen: list[Sighting | None]) -> bool:
            stamps = {each.stamp for each in seen if each is not None}
            return len(stamps) == 1 and all(
                each is not None and each.servers == servers for each in seen
            )

        return self.wait(same, centers, within_s)

    def newer_epoch(self, than: int, centers: list[int], within_s: float) -> float | None:
        """Wait until one of `centers` serves an epoch above `than`; returns the moment."""

        def newer(seen: list[Sighting | None]) -> list[float]:
            return [each.at_s for each in seen if each is not None and each.epoch > than]

        with self._changed:  # until it is read: a center may fall silent at any moment
            if not self.wait(lambda seen: bool(newer(seen)), centers, within_s):
                return None
            return min(newer([self.serving[each] for each in centers]))

    def gone(self, address: str, centers: list[int], within_s: float) -> float | None:
        """Wait until none of `centers` serves `address`; returns the moment of the last one."""

        def without(seen: list[Sighting | None]) -> bool:
            return all(each is not None and address not in each.servers for each in seen)

        with self._changed:  # until it is read: a center may fall silent at any moment
            if not self.wait(without, centers, within_s):
                return None
            seen = [self.serving[each] for each in centers]
            return max(each.at_s for each in seen if each is not None)

    # -- calls --------------------------------------------------------------------------

    def listen(self, lines: SimpleQueue[str | None]) -> None:
        """Follow the client's counts."""

        def follow() -> None:
            while (line := lines.get()) is not None:
                told: dict[str, Any] = json.loads(line)
                counts = Counts(**told)
                if counts.returned < self.counts.returned:
                    self.violations.append("the client's counts went back")
                with self._changed:
                    self.counts = counts
                    self._changed.notify_all()
            self._lines_ended.set()

        threading.Thread(target=follow, daemon=True).start()

    def counted_at(self, moment_s: float) -> Counts:
        """Return the first counts that the client made at or after `moment_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self.counts.at_s >= moment_s, LINE_WAIT_S)
            return self.counts

    def final_counts(self, within_s: float) -> Counts:
        """Wait for the client's last words; what was started and never returned has failed."""
        if not self._lines_ended.wait(within_s):
            self.violations.append("the client did not end")
        return self.counts

    def close(self) -> None:
        """End the polls."""
        self._ending.set()
        for poller in self._pollers:
            poller.join()


def judge(
    findings: Findings, counts: Counts, violations: list[str], epoch: int
) -> tuple[str, list[str]]:
    """Return the last line, and why the demo failed: nothing if it did not."""
    failed = counts.failed + (counts.started - counts.returned)
    troubles = [*findings.troubles, *violations, *counts.failures]
    failover_ms = max(findings.failovers_ms, default=None)
    out_ms = max(findings.outs_ms, default=None)
    if failed:
        troubles.append(f"{failed} calls failed")
    if counts.returned < CALLS_MIN:
        troubles.append(f"{counts.returned} calls, fewer than {CALLS_MIN}")
    if failover_ms is None or failover_ms >= FAILOVER_MAX_MS:
        troubles.append(f"leader failover: {failover_ms} ms, not below {FAILOVER_MAX_MS:g}")
    if out_ms is None or out_ms >= SERVER_OUT_MAX_MS:
        troubles.append(f"dead server out of the map: {out_ms} ms, not below {SERVER_OUT_MAX_MS:g}")
    if not findings.without_centers:
        troubles.append("no call returned without centers")
    line = {
        "calls": counts.returned,
        "failed": failed,
        "leader_failover_ms": None if failover_ms is None else round(failover_ms, 1),
        "dead_server_out_of_map_ms": None if out_ms is None else round(out_ms, 1),
        "calls_without_centers": findings.without_centers,
        "epoch": epoch,
    }
    return json.dumps(line), troubles
