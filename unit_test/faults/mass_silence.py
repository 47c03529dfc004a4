"""Four of ten servers fall silent at once: the fault, and what was seen of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ServerState
from unit_test.faults.history import faults_of
from unit_test.faults.stage import Stage
from unit_test.interop.clusters import wait_until

__all__ = ["Silence", "fall_silent"]


@dataclass(slots=True)
class Silence:
    """What was seen of four of ten servers that fell silent at once.

    Attributes:
        suspected_ms: until every center's map had them as suspects, and all ten.
        dropped_ms: until no center's map had them.
        calls, failed: of a client, to the others.
        faults: what must never be, and was.
    """

    suspected_ms: float
    dropped_ms: float
    calls: int
    failed: int
    faults: list[str]


def fall_silent(stage: Stage, within_s: float = 90.0) -> Silence:
    """Freeze four of ten servers until they are dropped; they come back when they go on.

    Args:
        stage: without servers and clients.
        within_s: how long it may take until they are dropped.
    """
    _, living = stage.flock(6, "Echo")
    frozen, silent = stage.flock(4, "Other")
    stage.leader()
    stage.await_servers(*living, *silent)
    stage.call()
    since_s = frozen.signal(signal.SIGSTOP)

    def suspected() -> bool:
        maps = [stage.map(each) for each in stage.ids]
        return all(
            found is not None
            and {s.address for s in found.servers if s.state is ServerState.SUSPECT} == set(silent)
            and len(found.servers) == len(living) + len(silent)
            for found in maps
        )

    wait_until(suspected, what=f"four suspects\n{stage.logs()}")
    suspected_ms = (monotonic_s() - since_s) * 1000.0
    dropped_ms = (stage.await_servers(*living, within_s=within_s) - since_s) * 1000.0
    frozen.signal(signal.SIGCONT)
    stage.await_servers(*living, *silent)
    history = stage.history()
    failures = [call.failure for call in history.calls if call.failure]
    faults = [*faults_of(history), *failures[:3]]
    return Silence(suspected_ms, dropped_ms, len(history.calls), len(failures), faults)
