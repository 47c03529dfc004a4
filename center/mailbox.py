"""What other threads hand to the node's thread, and the bell that wakes it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from center.core.events import Event, NodeStatus, ServerGoodbye, ServerReport
from center.core.members import is_another
from center.core.record import MapRecord
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Item", "Mailbox", "Question", "ReadMap"]

REPORTS_MAX = 10_000
"""Servers with a report that waits; one more is refused."""
WAITING_MAX = 20_000
"""Other things of servers and operators that wait; one more is refused."""
ITEMS_PER_TURN_MAX = 500
"""Items taken in one turn; the rest waits until the bus and the clock had theirs."""


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody wants the node's status; `answer(status, leads)` runs on its thread."""

    answer: Callable[[NodeStatus, bool], object]


@dataclass(frozen=True, slots=True)
class ReadMap:
    """A committed map, decoded by another thread; None: it cannot be read."""

    record: MapRecord
    map: ClusterMap | None


Item = Event | Question | ReadMap


class Mailbox:
    """Items for one thread. `take`, `quiet` and `close`: that thread; the rest: any.

    No lock: each step is one operation of a deque or dict, which are atomic, and the order
    of the steps makes up for what may happen between them.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._reports: dict[str, ServerReport] = {}
        self._rung = False
        self._read_fd = -1
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to take."""
        return self._read_fd

    # -- any thread ---------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Hand over what must not be lost and is bounded by the node: results of its actions."""
        self._items.append(item)
        self.ring()

    def offer(self, item: Item) -> bool:
        """Hand over what comes from outside; False if too much waits already.

        Of several reports of one server only the newest is kept; a goodbye undoes a report
        of its session that still waits.
        """
        if isinstance(item, ServerReport):
            address = item.report.address
            if address not in self._reports and len(self._reports) >= REPORTS_MAX:
                return False
            self._reports[address] = item
            self.ring()
            return True
        if len(self._items) >= WAITING_MAX:
            return False
        if isinstance(item, ServerGoodbye):
            waiting = self._reports.get(item.address)
            if waiting is None or not is_another(item.session, waiting.report.session):
                self._reports.pop(item.address, None)
        self.put(item)
        return True

    def ring(self) -> None:
        """Wake the thread. The flag is read after the item is in: no item waits unseen."""
        if not self._rung:
            self._rung = True
            os.write(self._write_fd, b"!")  # a handful of bytes at most: never full

    # -- the node's thread --------------------------------------------------------------

    def quiet(self) -> None:
        """Silence the bell, before `take`."""
        os.read(self._read_fd, 64)

    def take(self) -> list[Item]:
        """Take what waits, within this turn's share."""
        self._rung = False  # before the look: who comes later rings again
        count = min(len(self._items), ITEMS_PER_TURN_MAX)
        items: list[Item] = [self._items.popleft() for _ in range(count)]
        for address in list(self._reports)[:ITEMS_PER_TURN_MAX]:
            report = self._reports.pop(address, None)
            if report is not None:  # else a goodbye came in between
                items.append(report)
        if self._items or self._reports:
            self.ring()
        return items

    def close(self) -> None:
        """Give the pipe back, once nobody can ring any more. Any number of times."""
        if self._read_fd >= 0:
            os.close(self._read_fd)
            os.close(self._write_fd)
            self._read_fd = self._write_fd = -1

    def __del__(self) -> None:
        """Give the pipe back where a thread that might ring outlived everybody else."""
        self.close()
