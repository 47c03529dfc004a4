"""What a server has done so far, as one immutable snapshot."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerStatistics"]


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """Counters of one server since its start, added up over its loops.

    The parts are read one after the other while calls go on, so sums may be off by the
    calls of that moment.

    Attributes:
        connections: open now.
        accepted: connections ever taken.
        overflowed: connections turned away because there were too many.
        timed_out: connections closed by the connection timer manager.
        in_flight: calls admitted and not answered yet.
        waiting: of those, calls that wait for a worker.
        calls: admitted ever.
        failed: answered with an error by their handler, or undecodable.
        refused: turned down before they were admitted (unknown, limits, stopping).
        expired: deadline reached before the handler finished.
        cancelled: given up by the caller, or the connection ended.
        connections_per_loop: open now, loop by loop.
        worker_threads: started so far.
        worker_busy_s: seconds that workers have spent on calls, all together.
    """

    connections: int
    accepted: int
    overflowed: int
    timed_out: int
    in_flight: int
    waiting: int
    calls: int
    failed: int
    refused: int
    expired: int
    cancelled: int
    connections_per_loop: tuple[int, ...]
    worker_threads: int
    worker_busy_s: float

    @property
    def succeeded(self) -> int:
        """Calls answered with a result."""
        return max(0, self.calls - self.in_flight - self.failed - self.expired - self.cancelled)
