"""The reign: what a leader does from the promise of a quorum until it gives up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from center.core.ballot import Stamp
from center.core.events import Action, Log, LogLevel, Plan, PlannedMap, Planner, Send
from center.core.leadership import Lease
from center.core.ledger import Ledger
from center.core.members import Members, Roll, flaw_of
from center.core.messages import Departure, Forward, Ping, Pong, Report
from center.core.publication import Publication
from center.core.record import MapRecord
from center.core.timing import Timing
from libevrpc.core.clustermap import ClusterMap, ServerEntry
from libevrpc.errors import UsageError

__all__ = ["Reign"]

LOAD_BAND = 0.1
"""A reported load that differs less from the published one is not worth a new map."""
DROPPED_LOG_S = 1.0
"""A line stands for all reports dropped since the one before, this long ago or longer."""
LIVE_PATIENCES = 2
"""A center is in the map's list of live ones until it is silent for so many patiences."""


class Reign:
    """The leader of one epoch: lease, servers, maps.

    It ends when the node sets `over`; a write that completes later then changes nothing.
    """

    def __init__(
        self,
        publication: Publication,
        adopted: ClusterMap,
        lease: Lease,
        members: Members,
        planner: Planner,
        ledger: Ledger,
        timing: Timing,
        epoch: int,
        me: int,
        others: tuple[int, ...],
        on_commit: Callable[[MapRecord, float], list[Action]],
    ) -> None:
        """Begin over `adopted`, whose servers `members` has taken over."""
        self._me = me
        self._others = others
        self._timing = timing
        self._ledger = ledger
        self._planner = planner
        self._on_commit = on_commit
        self._map = adopted
        self._news_s: float | None = None
        self._planned_s = -math.inf
        self._plans = 0
        self._planning: tuple[int, int] | None = None
        self._complaint = ""
        self._round_s = self._sweep_s = -math.inf
        self._weigh = False
        self._dropped = 0
        self._dropped_log_s = -math.inf
        self.epoch = epoch
        self.publication = publication
        self.lease = lease
        self.members = members
        self.followers: set[int] = set()
        self.over = False

    # What arrives ---------------------------------------------------------------------------

    def report(self, report: Report, now_s: float) -> list[Action]:
        """Take a server's report; those that cannot enter a map are dropped, with a line at times.

        Strangers may send thousands of them in one message of a follower's kind.
        """
        flaw = flaw_of(report)
        if not flaw:
            self._news(self.members.report(report, now_s), now_s)
            return []
        self._dropped += 1
        if now_s < self._dropped_log_s + DROPPED_LOG_S:
            return []
        count, self._dropped, self._dropped_log_s = self._dropped, 0, now_s
        return [Log(LogLevel.WARNING, f"report dropped (count {count}): {flaw}")]

    def depart(self, departure: Departure, now_s: float) -> None:
        """Take proof that a server is gone: out with the next publication."""
        if self.members.depart(departure, now_s):
            self._news_s = now_s

    def forwarded(self, forward: Forward, now_s: float) -> list[Action]:
        """Take what a follower's servers told it."""
        for departure in forward.departures:
            self.depart(departure, now_s)
        actions: list[Action] = []
        for report in forward.reports:
            actions += self.report(report, now_s)
        return actions

    def _news(self, changed: bool, now_s: float) -> None:
        """Publish soon: at once after a quiet while, else `batch_s` after the last plan."""
        if changed and self._news_s is None:
            self._news_s = max(now_s, self._planned_s + self._timing.batch_s)

    def joined(self, peer: int, stamp: Stamp, now_s: float) -> list[Action]:
        """Take in a center that has promised itself to this epoch and holds `stamp`."""
        self.followers.add(peer)
        return self._catch_up(peer, stamp, now_s)

    def ponged(self, peer: int, pong: Pong, now_s: float) -> list[Action]:
        """Count an answer for the lease, and the durable copy it tells of.

        A follower that lacks the newest map gets it; so a lost `Put` and a lost `Stored` are
        both made good by the next ping.
        """
        self.followers.add(peer)
        self.lease.answered(peer, pong.sequence)
        actions = self._catch_up(peer, pong.stamp, now_s)
        return actions + self.stored(peer, pong.stamp, now_s)

    def _catch_up(self, peer: int, held: Stamp, now_s: float) -> list[Action]:
        put = self.publication.put_for(peer, held, now_s, self._timing.heartbeat_s)
        return [] if put is None else [Send(peer, put)]

    def stored(self, holder: int, stamp: Stamp, now_s: float) -> list[Action]:
        """Count a durable copy; at a quorum the map is committed and everybody told at once."""
        committed = None if self.over else self.publication.stored(holder, stamp)
        if committed is None:
            return []
        return [*self._on_commit(committed, now_s), *self._ping(now_s)]

    # What is due ----------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Action]:
        """Ping, judge the servers, publish: whatever is due."""
        actions: list[Action] = []
        if now_s >= self.lease.ping_due_s:
            actions += self._ping(now_s)
            actions += self._store_own()
        if now_s >= self._round_s:
            self._round_s = now_s + self._timing.round_s
            self._weigh = True
        if now_s >= self._sweep_s and now_s < self.lease.until_s(now_s):
            self._sweep_s = now_s + self._timing.heartbeat_s
            changed, dials = self.members.sweep(now_s)
            self._news(changed, now_s)
            actions += dials
        if self._plan_due(now_s):
            actions.append(self._plan(now_s))
        actions += self.members.log
        self.members.log.clear()
        return actions

    def _ping(self, now_s: float) -> list[Action]:
        sequence = self.lease.sent(now_s)
        committed = self.publication.committed
        ping = Ping(self.epoch, sequence, committed, self.members.silent(now_s))
        return [Send(peer, ping) for peer in self._others]

    def _plan_due(self, now_s: float) -> bool:
        if self._planning is not None or self.publication.busy:
            return False
        news = self._news_s is not None and now_s >= self._news_s
        return news or self._weigh or (not self.publication.own and not self._plans)

    def _plan(self, now_s: float) -> Plan:
        """Ask for the next map; what changes meanwhile goes into the one after."""
        self._plans += 1
        self._planned_s = now_s
        self._planning = (self.epoch, self._plans)
        weigh, self._weigh, self._news_s = self._weigh, False, None
        live = self.lease.live(now_s, LIVE_PATIENCES * self._timing.patience_s)
        head = ClusterMap(
            self.publication.cluster_id,
            self.epoch,
            self.publication.next_version,
            (),
            (),
            live,
        )
        roll = self.members.roll(now_s)
        job = MapJob(self._planner, self._map, head, roll, weigh, not self.publication.own)
        return Plan(self._planning, job)

    def planned(self, token: tuple[int, int], made: PlannedMap, now_s: float) -> list[Action]:
        """Publish what was planned, unless an earlier leadership had asked for it."""
        if token != self._planning:
            return []
        self._planning = None
        actions: list[Action] = []
        if made.complaint not in ("", self._complaint):
            actions.append(Log(LogLevel.ERROR, made.complaint))
        self._complaint = made.complaint
        if made.map is None:
            return actions
        self._map = made.map
        self.publication.publish(made.payload)
        actions += self._store_own()
        for peer in self._others:
            if peer in self.followers:
                actions += self._catch_up(peer, (0, 0), now_s)
        return actions

    def _store_own(self) -> list[Action]:
        newest = self.publication.newest
        if newest is None or self._ledger.newest.stamp >= newest.stamp:
            return []
        stamp = newest.stamp
        return self._ledger.store(
            self.publication.cluster_id,
            newest,
            False,
            lambda done_s: self.stored(self._me, stamp, done_s),
        )

    def stretch(self, lag_s: float) -> None:
        """Count the node's own lag for no server's silence. The lease is not stretched."""
        self.members.stretch(lag_s)

    def deadline_s(self) -> float:
        """Return when something is due."""
        due_s = min(self.lease.ping_due_s, self._round_s)
        if self._news_s is not None and self._planning is None and not self.publication.busy:
            due_s = min(due_s, self._news_s)
        return due_s


@dataclass(frozen=True, slots=True)
class MapJob:
    """The planner's work and the encoding of what comes out (see `PlanJob`).

    Attributes:
        planner: of this leadership.
        previous: the newest map.
        head: the next one, without servers and tables.
        roll: the servers as they report.
        weigh: weights may move.
        first: make a map though nothing differs.
    """

    planner: Planner
    previous: ClusterMap
    head: ClusterMap
    roll: Roll
    weigh: bool
    first: bool

    def run(self) -> PlannedMap:
        """Plan; where the map grew too long, without the servers that would be new in it."""
        servers = self.roll.entries()
        try:
            return self._made_of(servers)
        except UsageError as exc:
            known = {entry.address for entry in self.previous.servers}
            kept = tuple(entry for entry in servers if entry.address in known)
            why = f"map without {len(servers) - len(kept)} new servers: {exc}"
        try:
            return replace(self._made_of(kept), complaint=why)
        except UsageError as exc:
            return PlannedMap(None, complaint=f"map not published: {exc}")

    def _made_of(self, servers: tuple[ServerEntry, ...]) -> PlannedMap:
        entries, tables = self.planner.plan(
            self.previous, servers, self.roll.now_s, weigh=self.weigh
        )
        planned = replace(self.head, servers=entries, tables=tables)
        if not self.first and not _differ(self.previous, planned):
            return PlannedMap(None)
        return PlannedMap(planned, planned.encode())


def _shape(entry: ServerEntry) -> tuple[object, ...]:
    return (entry.address, entry.services, entry.weight, entry.state, entry.tags)


def _differ(published: ClusterMap, planned: ClusterMap) -> bool:
    """Whether `planned` is worth a version: ages never are, loads beyond the band are."""
    if (published.tables, published.centers) != (planned.tables, planned.centers):
        return True
    if len(published.servers) != len(planned.servers):
        return True
    return any(
        _shape(old) != _shape(new) or abs(old.load - new.load) >= LOAD_BAND
        for old, new in zip(published.servers, planned.servers, strict=True)
    )
