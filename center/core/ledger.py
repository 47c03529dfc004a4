"""The ledger: what is durable, what is on its way to the disk, and what waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from center.core.ballot import Stamp
from center.core.events import Action, Log, LogLevel, Persist
from center.core.record import MapRecord, Record

__all__ = ["Ledger"]

WAITING_MAX = 64
"""Most changes waiting for one write; more are refused, and their senders ask again."""

PROBE_S = 1.0
"""A disk that failed is tried again this often, whether or not anything is to be written."""

Then = Callable[[float], list[Action]]
"""What to do at the time when a change is durable."""


@dataclass(slots=True)
class _Draft:
    """Changes that share one write; `refused`: more were wanted than it takes."""

    record: Record
    then: list[Then] = field(default_factory=list)
    refused: bool = False


class Ledger:
    """One write at a time; what is asked for meanwhile shares the next one.

    `durable` is the truth: nothing is acknowledged that is not in it. `promised` looks ahead
    at what is on its way, so that a promise asked for binds from then on. A write that
    fails changes nothing: its changes are forgotten, and whoever wanted them asks again.
    """

    def __init__(self, record: Record | None, digest: str, generation: int) -> None:
        """Start from the stored `record`, None on an empty disk."""
        self.durable = record or Record()
        self._settled = _settles(self.durable)
        self._digest = digest
        self._generation = generation
        self._writing: _Draft | None = None
        self._waiting: _Draft | None = None
        self._token = 0
        self._failures = 0
        self._failing_since_s = 0.0
        self._probe_s = 0.0
        self.trouble = ""

    @property
    def newest(self) -> Record:
        """The record as it will be when every write under way has succeeded."""
        draft = self._waiting or self._writing
        return self.durable if draft is None else draft.record

    @property
    def promised(self) -> int:
        """The largest epoch promised, durable or about to be."""
        return self.newest.accepted_epoch

    @property
    def cluster_id(self) -> str:
        """Name of the cluster, once a map that bears it was committed; else "".

        The first leader of all draws it. If he dies before his map is committed, the next
        one may draw another.
        """
        return self.durable.cluster_id if self._settled else ""

    def accept(self, epoch: int, then: Then, *, forgot: bool = False) -> list[Action]:
        """Promise `epoch`; lower promises are never written.

        `forgot`: the promise of a center that may not vote, until it has a map. What is on
        its way to disk counts: after a promise that forgot nothing, nothing is forgotten.
        """
        record = self.newest
        remembers = record.map is not None or (record.accepted_epoch > 0 and not record.forgot)
        promised = replace(
            record,
            accepted_epoch=max(epoch, record.accepted_epoch),
            forgot=forgot and not remembers,
        )
        return self._want(promised, then)

    def store(self, cluster_id: str, new: MapRecord, committed: bool, then: Then) -> list[Action]:
        """Keep `new`, which must be newer than what is kept."""
        record = replace(
            self.newest, cluster_id=cluster_id, map=new, committed=committed, forgot=False
        )
        return self._want(record, then)

    def mark_committed(self, stamp: Stamp) -> list[Action]:
        """Note that the kept map is committed, if it has `stamp` and this is news."""
        record = self.newest
        if record.stamp != stamp or record.committed:
            return []
        return self._want(replace(record, committed=True), lambda now_s: [])

    def _want(self, record: Record, then: Then) -> list[Action]:
        record = replace(record, list_digest=self._digest, list_generation=self._generation)
        if self._writing is None:
            self._writing = _Draft(record, [then])
            return [self._persist(record)]
        if self._waiting is None:
            self._waiting = _Draft(record)
        elif len(self._waiting.then) >= WAITING_MAX:
            told, self._waiting.refused = self._waiting.refused, True
            text = f"disk is behind; {WAITING_MAX} changes wait for it"
            return [] if told else [Log(LogLevel.WARNING, text)]
        self._waiting.record = record
        self._waiting.then.append(then)
        return []

    def _persist(self, record: Record) -> Persist:
        self._token += 1
        return Persist(self._token, record)

    def _next(self) -> list[Action]:
        self._writing, self._waiting = self._waiting, None
        return [] if self._writing is None else [self._persist(self._writing.record)]

    def on_persisted(self, token: int, now_s: float) -> list[Action]:
        """The write is durable: run what waited for it, begin the next one."""
        done = self._writing
        if done is None or token != self._token:
            return []
        same = done.record.cluster_id == self.durable.cluster_id
        self._settled = (self._settled and same) or _settles(done.record)
        self.durable = done.record
        actions: list[Action] = []
        if self._failures:
            actions.append(Log(LogLevel.INFO, f"disk writes again failures={self._failures}"))
            self._failures = 0
            self.trouble = ""
        actions += self._next()
        for then in done.then:
            actions += then(now_s)
        return actions

    def on_failed(self, token: int, text: str, now_s: float) -> list[Action]:
        """The write failed: nothing has changed, nothing is acknowledged.

        What waited was built upon it and is forgotten with it.
        """
        if self._writing is None or token != self._token:
            return []
        self._writing = self._waiting = None
        self._failures += 1
        self.trouble = text
        self._probe_s = now_s + PROBE_S
        if self._failures > 1:
            return []
        self._failing_since_s = now_s
        return [Log(LogLevel.ERROR, f"durable state not written: {text}")]

    def failing(self, now_s: float, span_s: float) -> bool:
        """Return whether nothing could be written for `span_s` or longer."""
        return self._failures > 0 and now_s - self._failing_since_s >= span_s

    def probe(self, now_s: float, *, damaged: bool) -> list[Action]:
        """Write what is durable again, now and then, to see whether a failing disk writes.

        `damaged`: what was on the disk could not be read; where this is written over it the
        next start must still know that something is lost.
        """
        if not self._failures or self._writing is not None or now_s < self._probe_s:
            return []
        record = self.durable
        lost = record.forgot or (damaged and not record.says_something)
        return self._want(replace(record, forgot=lost), lambda done_s: [])


def _settles(record: Record) -> bool:
    """Whether `record` shows that a map of its cluster was committed.

    A leader makes his second map only when the first one is.
    """
    kept = record.map
    return record.committed or (kept is not None and kept.parent[0] == kept.epoch)
