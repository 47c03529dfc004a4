"""The map that a client holds: when to ask for a newer one, and which one to take.

Pure: answers of centers and `now_s` in, actions out. The same object runs in production
and in the simulator. It keeps these promises:

* It never goes back: of one cluster only a larger (epoch, version) is taken, also after a
  restart (the record is stored and given back).
* An empty map never takes away the servers. It is taken, since the centers publish one only
  after every server said goodbye, but calls go on with the last servers known: if these are
  really gone the calls fail as they would have anyway, and if they are not nobody noticed.
* Another cluster's map is taken only after SWEEPS_MAX pulls in a row in which every center on
  the list was asked and none had the old cluster.
* With every center dead the map stays as it is, for ever.

A pull goes out every 30 to 60 s (jittered). Beside it one long-poll "newer than my stamp"
stands open; where it fails, back-off and the next center, and the pulls go on regardless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

import msgpack

from libevrpc.core.backoff import Backoff, BackoffPolicy, Randomness
from libevrpc.core.centerlist import CenterList
from libevrpc.core.clustermap import ClusterMap
from libevrpc.errors import ProtocolError

__all__ = [
    "Answer",
    "CacheAction",
    "Failed",
    "MapAdopted",
    "MapAnswer",
    "MapCache",
    "NotReady",
    "Note",
    "PersistRecord",
    "Pull",
    "PullPolicy",
    "may_replace",
]

NEVER_S = float("inf")
SWEEPS_MAX = 3
"""Pulls without any trace of the old cluster before another cluster's map is taken."""
RECORD_FORMAT = 1
CENTER_BACKOFF = BackoffPolicy(first_s=0.1, max_s=2.0)
"""Between tries while centers do not answer or have no leader; for ever."""


@dataclass(frozen=True, slots=True)
class PullPolicy:
    """When a client asks its centers. Immutable, any thread.

    Attributes:
        pull_min_s, pull_max_s: two pulls lie this far apart, evenly spread between.
        pull_timeout_s: an answer later than this counts as a failure.
        long_poll: keep a long-poll open.
        long_poll_s: how long a center may hold it; the answer may take pull_timeout_s more.
        backoff: after failures.
    """

    pull_min_s: float = 30.0
    pull_max_s: float = 60.0
    pull_timeout_s: float = 2.0
    long_poll: bool = True
    long_poll_s: float = 25.0
    backoff: BackoffPolicy = CENTER_BACKOFF


@dataclass(frozen=True, slots=True)
class MapAnswer:
    """A center's committed map; None: it has none newer than asked for, of that cluster.

    `stale`: the center follows no leader, and the map is merely the newest that it knows.
    """

    map: ClusterMap | None
    centers: tuple[str, ...] = ()
    stale: bool = False


@dataclass(frozen=True, slots=True)
class NotReady:
    """A center that cannot tell at present, and why; it still knows the centers."""

    centers: tuple[str, ...] = ()
    text: str = "it has no leader"


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer: refused, broken, timed out or unreadable.

    Attributes:
        text: one line for a person.
        barred: the center wants a token, and not what it was shown.
    """

    text: str
    barred: bool = False


Answer = MapAnswer | NotReady | Failed


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask `center` for a map; give the answer to `MapCache.answered` with this number.

    `stamp` is what the client holds of cluster `cluster_id` (empty: nothing). A center of
    that cluster answers with a newer map, or after `wait_s` (0: at once) with none; a center
    of another cluster answers with its own map.
    """

    number: int
    center: str
    cluster_id: str
    stamp: tuple[int, int]
    wait_s: float


@dataclass(frozen=True, slots=True)
class PersistRecord:
    """Store `record` in place of the last one; a failure to do so is one warning."""

    record: bytes


@dataclass(frozen=True, slots=True)
class MapAdopted:
    """Balance over this map from now on; its servers are not empty."""

    map: ClusterMap


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person may want to read in the log."""

    text: str


CacheAction = Pull | PersistRecord | MapAdopted | Note


def may_replace(stored: bytes, record: bytes) -> bool:
    """Return whether `record` may be stored in place of `stored`, both PersistRecords.

    Several processes share one file: none replaces the map of another one by an older map
    of the same cluster, or its next start would go back.
    """
    old, new = _newest_of(stored), _newest_of(record)
    if old is None or new is None:
        return old is None
    return old.cluster_id != new.cluster_id or old.stamp <= new.stamp


def _newest_of(record: bytes) -> ClusterMap | None:
    """Return the newest map of a PersistRecord; None if it has none or cannot be read."""
    try:
        record_format, newest, _, _ = msgpack.unpackb(record)
        if record_format != RECORD_FORMAT or newest is None:
            return None
        return ClusterMap.decode(newest)
    except (ValueError, TypeError, ProtocolError):
        return None


@dataclass(slots=True)
class _Ask:
    """One question on its way."""

    number: int
    center: str
    started_s: float
    deadline_s: float


class MapCache:
    """What a client knows of its cluster. One thread, or under one lock.

    Call `start` once, `answered` with every answer, `tick` at `next_deadline_s`; carry out
    the returned actions in their order.

    Attributes:
        map: the newest map taken; None before the first.
        usable: the newest one with servers in it: what to balance over.
        heard: a center under a leader has answered since this object was made.
        trouble: centers of the list that were no help when last asked, and what they said;
            replaced, never changed, so that any thread may read it.
        confirmed: a center under a leader has shown, or has nothing newer than, `usable` since
            this object was made; until then a stored map may be of long ago.
    """

    def __init__(
        self,
        centers: Iterable[str],
        rng: Randomness,
        policy: PullPolicy | None = None,
        record: bytes | None = None,
    ) -> None:
        """Begin with what was stored.

        Args:
            centers: configured addresses, in order.
            rng: jitter.
            policy: see `PullPolicy`.
            record: the last PersistRecord of an earlier process; an unreadable one is as
                good as none.

        Raises:
            ConfigError: neither configured nor stored centers.
        """
        self._rng = rng
        self._policy = policy or PullPolicy()
        self.map: ClusterMap | None = None
        self.usable: ClusterMap | None = None
        self.heard = False
        self.confirmed = False
        self.trouble: Mapping[str, NotReady | Failed] = {}
        self._notes: list[CacheAction] = []
        self.centers = CenterList(centers, self._restore(record))
        self._numbers = 0
        self._pull: _Ask | None = None
        self._pull_due_s = NEVER_S
        self._pull_backoff = Backoff(self._policy.backoff, rng)
        self._poll: _Ask | None = None
        self._poll_due_s = NEVER_S
        self._poll_backoff = Backoff(self._policy.backoff, rng)
        self._swept: set[str] = set()
        self._strangers: dict[str, ClusterMap] = {}
        self._stranger_id = ""
        self._sweeps = 0

    def start(self, now_s: float) -> list[CacheAction]:
        """Balance over the stored map, if any, and pull at once."""
        actions, self._notes = self._notes, []
        if self.usable is not None:
            actions.append(MapAdopted(self.usable))
        self._pull_due_s = now_s
        self._open_poll(now_s)
        return actions + self.tick(now_s)

    def next_deadline_s(self) -> float:
        """When to call `tick` next; infinity before `start`."""
        pull_s = self._pull.deadline_s if self._pull else self._pull_due_s
        poll_s = self._poll.deadline_s if self._poll else self._poll_due_s
        return min(pull_s, poll_s)

    def tick(self, now_s: float) -> list[CacheAction]:
        """Give up what is overdue, ask what is due."""
        actions: list[CacheAction] = []
        for ask in (self._pull, self._poll):
            if ask is not None and now_s >= ask.deadline_s:
                actions += self.answered(ask.number, Failed("no answer in time"), now_s)
        if self._pull is None and now_s >= self._pull_due_s:
            self._pull = self._ask(now_s, 0.0, actions)
        if self._poll is None and now_s >= self._poll_due_s:
            self._poll = self._ask(now_s, self._policy.long_poll_s, actions)
        return actions

    def answered(self, number: int, answer: Answer, now_s: float) -> list[CacheAction]:
        """Take the answer to a `Pull`; answers nobody waits for any more are dropped."""
        actions: list[CacheAction] = []
        if self._pull is not None and self._pull.number == number:
            ask, self._pull = self._pull, None
            self._pulled(ask, answer, now_s, actions)
        elif self._poll is not None and self._poll.number == number:
            ask, self._poll = self._poll, None
            self._polled(ask, answer, now_s, actions)
        else:
            return []
        return actions + self.tick(now_s)

    # -- asking -----------------------------------------------------------------------

    def _ask(self, now_s: float, wait_s: float, actions: list[CacheAction]) -> _Ask:
        self._numbers += 1
        center = self.centers.current
        cluster_id, stamp = "", (0, 0)
        if self.map is not None:
            cluster_id, stamp = self.map.cluster_id, self.map.stamp
        actions.append(Pull(self._numbers, center, cluster_id, stamp, wait_s))
        deadline_s = now_s + wait_s + self._policy.pull_timeout_s
        return _Ask(self._numbers, center, now_s, deadline_s)

    def _open_poll(self, now_s: float) -> None:
        if self._policy.long_poll and self.map is not None and self._poll_due_s == NEVER_S:
            self._poll_due_s = now_s

    def _turn_from(self, center: str) -> None:
        if self.centers.current == center:
            self.centers.advance()

    # -- answers ----------------------------------------------------------------------

    def _pulled(self, ask: _Ask, answer: Answer, now_s: float, actions: list[CacheAction]) -> None:
        news = self._take_ours(answer, actions)
        self._note(ask, answer, news is not None)
        if news is not None:
            self._swept.clear()
            self._strangers.clear()
            self._sweeps = 0
            self._pull_backoff.succeeded()
            self._open_poll(now_s)
            self._pull_due_s = now_s + self._interval_s()
            return
        self._swept.add(ask.center)
        self._turn_from(ask.center)
        if isinstance(answer, MapAnswer) and answer.map is not None:
            self._strangers[answer.map.cluster_id] = answer.map
            self._pull_due_s = now_s
        else:
            self._pull_due_s = now_s + self._pull_backoff.failed()
        if self._swept.issuperset(self.centers.addresses):
            self._end_sweep(now_s, actions)

    def _polled(self, ask: _Ask, answer: Answer, now_s: float, actions: list[CacheAction]) -> None:
        news = self._take_ours(answer, actions)
        self._note(ask, answer, news is not None)
        held = now_s - ask.started_s >= self._policy.long_poll_s / 2
        if news or (news is not None and held):
            self._poll_backoff.succeeded()
            self._poll_due_s = now_s
            return
        self._turn_from(ask.center)
        self._poll_due_s = now_s + self._poll_backoff.failed()

    def _note(self, ask: _Ask, answer: Answer, ours: bool) -> None:
        """Keep what a center was no help with, or forget it."""
        trouble = {c: said for c, said in self.trouble.items() if c in self.centers.addresses}
        if not isinstance(answer, MapAnswer):
            trouble[ask.center] = answer
        elif not ours:
            trouble[ask.center] = NotReady((), "it speaks of another cluster")
        elif answer.stale:
            trouble[ask.center] = NotReady()
        else:
            trouble.pop(ask.center, None)
        self.trouble = trouble

    def _take_ours(self, answer: Answer, actions: list[CacheAction]) -> bool | None:
        """Take an answer of our own cluster: True if the map is news; None if it is not ours."""
        match answer:
            case MapAnswer(found, centers, stale):
                if found is not None and self.map and found.cluster_id != self.map.cluster_id:
                    return None
                news = found is not None and (self.map is None or found.stamp > self.map.stamp)
                if found is not None and news:
                    self._adopt(found, centers, actions)
                elif self.centers.name(centers):
                    actions.append(self._record())
                if not stale:
                    self._confirm()
                return news
            case NotReady(centers, _):
                if self.map is None and self.centers.name(centers):
                    actions.append(self._record())
                return None
            case Failed():
                return None
            case _:
                assert_never(answer)

    def _end_sweep(self, now_s: float, actions: list[CacheAction]) -> None:
        """Judge a pull that asked every center and found our cluster nowhere.

        A round without any answer says nothing: it neither counts nor starts over.
        """
        strangers = list(self._strangers.values())
        self._swept.clear()
        self._strangers.clear()
        if not strangers:
            return
        self._pull_due_s = now_s + self._interval_s()
        stranger = strangers[-1]
        again = len(strangers) == 1 and stranger.cluster_id == self._stranger_id
        self._sweeps = self._sweeps + 1 if again else int(len(strangers) == 1)
        self._stranger_id = stranger.cluster_id
        actions.append(
            Note(f"centers speak of another cluster id={stranger.cluster_id} pulls={self._sweeps}")
        )
        if self._sweeps >= SWEEPS_MAX:
            self._sweeps = 0
            self._adopt(stranger, (), actions)
            self._confirm()
            self._open_poll(now_s)

    def _confirm(self) -> None:
        """Note that the newest map is no memory. An empty one says nothing of `usable`."""
        self.heard = True
        if self.usable is not None and self.usable is self.map:
            self.confirmed = True

    def _adopt(
        self, found: ClusterMap, centers: tuple[str, ...], actions: list[CacheAction]
    ) -> None:
        self.map = found
        self.centers.name(centers)
        if found.servers:
            self.usable = found
            actions += [self._record(), MapAdopted(found)]
        else:
            known = "go on with the last known" if self.usable else "wait for the first one"
            actions += [self._record(), Note(f"map without servers: calls {known}")]

    def _interval_s(self) -> float:
        policy = self._policy
        return policy.pull_min_s + (policy.pull_max_s - policy.pull_min_s) * self._rng.random()

    # -- record -----------------------------------------------------------------------

    def _record(self) -> PersistRecord:
        newest = self.map.encode() if self.map else None
        usable = self.usable.encode() if self.usable and self.usable is not self.map else None
        record: bytes = msgpack.packb([RECORD_FORMAT, newest, usable, list(self.centers.named)])
        return PersistRecord(record)

    def _restore(self, record: bytes | None) -> tuple[str, ...]:
        if record is None:
            return ()
        try:
            record_format, newest, usable, centers = msgpack.unpackb(record)
            if record_format != RECORD_FORMAT or not all(isinstance(c, str) for c in centers):
                raise ValueError(f"format {record_format!r}")
            restored = ClusterMap.decode(newest) if newest is not None else None
            self.usable = ClusterMap.decode(usable) if usable is not None else restored
        except (ValueError, TypeError, ProtocolError) as exc:
            self._notes.append(Note(f"stored map is unreadable, starting without: {exc}"))
            return ()
        self.map = restored
        if self.usable is not None and not self.usable.servers:
            self.usable = None
        return tuple(centers)
