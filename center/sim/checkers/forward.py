"""I4: nobody goes back in (epoch, version), whatever restarts."""

from __future__ import annotations

from center.core.ballot import NO_STAMP, Stamp
from center.core.record import MapRecord, Record
from center.sim.checkers.base import Checker, Violation
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Forward"]


class Forward(Checker):
    """What centers serve, what their disks hold and what clients hold only ever grows.

    A wiped center is a new one. A client is held to what it had stored.
    """

    def __init__(self) -> None:
        self._served: dict[int, Stamp] = {}
        self._durable: dict[int, tuple[int, Stamp]] = {}
        self._held: dict[str, Stamp] = {}

    def started(self, center: int, served: Stamp) -> None:
        """Compare what a disk gives with what was served before the restart."""
        before = self._served.get(center, NO_STAMP)
        if NO_STAMP != served < before:
            raise Violation("I4", f"center {center} restarts with {served} after {before}")

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """Compare with what the center served last."""
        before = self._served.get(center, NO_STAMP)
        if record.stamp < before:
            raise Violation("I4", f"center {center} serves {record.stamp} after {before}")
        self._served[center] = record.stamp

    def wrote(self, center: int, record: Record) -> None:
        """Compare with what the disk held."""
        epoch, stamp = self._durable.get(center, (0, NO_STAMP))
        if record.accepted_epoch < epoch:
            text = f"center {center} promised {record.accepted_epoch} after {epoch}"
            raise Violation("I4", text)
        if record.stamp < stamp:
            raise Violation("I4", f"center {center} stores {record.stamp} over {stamp}")
        self._durable[center] = (record.accepted_epoch, record.stamp)

    def wiped(self, center: int) -> None:
        """Forget the center."""
        self._served.pop(center, None)
        self._durable.pop(center, None)

    def restored(self, client: str, held: ClusterMap | None) -> None:
        """Begin with what was stored."""
        self._held[client] = NO_STAMP if held is None else held.stamp

    def held(self, client: str, held: ClusterMap | None, usable: ClusterMap | None) -> None:
        """Compare with what the client held last."""
        before = self._held.get(client, NO_STAMP)
        stamp = NO_STAMP if held is None else held.stamp
        if stamp < before:
            raise Violation("I4", f"{client} holds {stamp} after {before}")
        self._held[client] = stamp
