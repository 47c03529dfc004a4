"""What a node must not wait for: durable writes, plans, the reading of large maps; a thread each.

A slow disk or thousands of services stop no heartbeat.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from center.core.events import (
    Persist,
    Persisted,
    PersistFailed,
    Plan,
    Planned,
    PlannedMap,
)
from center.core.record import MapRecord
from center.mailbox import Item, ReadMap
from center.store import Store
from libevrpc.core.clustermap import ClusterMap

__all__ = ["JobThread", "plan_map", "read_map", "write_record"]

log = logging.getLogger(__name__)

_JOIN_S = 5.0


class JobThread:
    """Runs jobs one after the other and tells what came out. Few wait: the node sees to it.

    Args:
        name: of the thread.
        on_done: told the outcome of each job, on that thread.
        at_end: called on that thread after its last job.
    """

    def __init__(
        self,
        name: str,
        on_done: Callable[[Item], object],
        at_end: Callable[[], object] | None = None,
    ) -> None:
        self._on_done = on_done
        self._at_end = at_end
        self._jobs: queue.SimpleQueue[Callable[[], Item] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()

    def put(self, job: Callable[[], Item]) -> None:
        """Run `job`, which does not raise, soon. Any thread; never blocks."""
        self._jobs.put(job)

    def stop(self) -> bool:
        """Do what waits and end. Any thread, after `start`; False: it takes too long."""
        self._jobs.put(None)
        self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._on_done(job())
            del job  # until the next one it would hold two maps
        if self._at_end is not None:
            self._at_end()


def write_record(store: Store, persist: Persist) -> Persisted | PersistFailed:
    """Write a record durably. One thread only."""
    try:
        store.write(persist.record)
    except OSError as exc:
        return PersistFailed(persist.token, exc.strerror or str(exc))
    except Exception as exc:  # no memory, or a fault of ours: the node must hear of it
        log.exception("writing failed")
        return PersistFailed(persist.token, f"{type(exc).__name__}: {exc}")
    return Persisted(persist.token)


def plan_map(plan: Plan) -> Planned:
    """Make the next map. Any thread, one job of a node at a time."""
    try:
        made = plan.job.run()
    except Exception as exc:  # a fault of ours must not cost the cluster its leader
        log.exception("planning failed")
        made = PlannedMap(None, complaint=f"map not published: {type(exc).__name__}: {exc}")
    return Planned(plan.token, made)


def read_map(record: MapRecord) -> ReadMap:
    """Decode a committed map. Any thread."""
    try:
        return ReadMap(record, ClusterMap.decode(record.payload))
    except Exception:  # not only what a map may be wrong with: nobody waits for it for ever
        log.exception("committed map cannot be read stamp=%s", record.stamp)
        return ReadMap(record, None)
