"""The inbox of a follower: what servers told it, on its way to the leader."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from center.core.members import SERVERS_MAX, is_another
from center.core.messages import Departure, Forward, Report

__all__ = ["Inbox"]

FORWARD_ITEMS_MAX = 512
"""Most reports, and most departures, of one message to the leader."""
FORWARD_BYTES_MAX = 96 * 1024
"""Most bytes of its reports, and of its departures: with both, and what goes round them, a
`Forward` stays below what a message without a map may have."""
TEXT_HEAD_BYTES = 3
"""What goes before a text."""
ITEM_BYTES = 64
"""What a report or departure takes besides its texts."""
DEPARTURES_MAX = 1024
"""Most departures waiting; when full the oldest is dropped, its server then expires."""
Key = TypeVar("Key")
Item = TypeVar("Item")

FLUSH_S = 0.1
"""How long a plain report may wait; news goes at once."""


class Inbox:
    """Coalesces per server: the newest report of each, bounded by SERVERS_MAX servers."""

    def __init__(self) -> None:
        """Make an empty inbox."""
        self._reports: dict[str, Report] = {}
        self._departures: dict[tuple[str, str], Departure] = {}
        self._forwarded: dict[str, tuple[object, ...]] = {}
        self.due_s: float | None = None

    def report(self, report: Report, now_s: float) -> bool:
        """Keep a report until it is forwarded; False: refused, the inbox is full."""
        address = report.address
        if address not in self._reports and len(self._reports) >= SERVERS_MAX:
            return False
        self._reports[address] = report
        shape = (report.services, report.weight, report.draining, report.tags, report.session)
        news = self._forwarded.get(address) != shape
        if news:
            self._forwarded.pop(address, None)
            self._forwarded[address] = shape
            if len(self._forwarded) > SERVERS_MAX:
                del self._forwarded[next(iter(self._forwarded))]
        self._arm(now_s if news else now_s + FLUSH_S)
        return True

    def depart(self, departure: Departure, now_s: float) -> None:
        """Keep a departure until it is forwarded; it undoes a report of it that still waits."""
        address, session = departure.address, departure.session
        waiting = self._reports.get(address)
        if waiting is None or not is_another(session, waiting.session):
            self._reports.pop(address, None)
            self._forwarded.pop(address, None)
        self._departures[address, session] = departure
        if len(self._departures) > DEPARTURES_MAX:
            del self._departures[next(iter(self._departures))]
        self._arm(now_s)

    def _arm(self, at_s: float) -> None:
        self.due_s = at_s if self.due_s is None else min(self.due_s, at_s)

    def flush(self) -> list[Forward]:
        """Take everything out, in messages of bounded size; departures go first."""
        self.due_s = None
        forwards: list[Forward] = []
        while self._reports or self._departures:
            departures = _pop(self._departures, _bytes_of_departure)
            forwards.append(Forward(_pop(self._reports, _bytes_of_report), departures))
        return forwards


def _pop(waiting: dict[Key, Item], bytes_of: Callable[[Item], int]) -> tuple[Item, ...]:
    """Take the eldest, as many as fit into one message, and at least one."""
    taken: list[Item] = []
    room = FORWARD_BYTES_MAX
    for item in islice(waiting.values(), FORWARD_ITEMS_MAX):
        room -= bytes_of(item)
        if taken and room < 0:
            break
        taken.append(item)
    for key in list(islice(waiting, len(taken))):
        del waiting[key]
    return tuple(taken)


def _bytes_of(*texts: str) -> int:
    return ITEM_BYTES + sum(TEXT_HEAD_BYTES + len(text.encode()) for text in texts)


def _bytes_of_departure(departure: Departure) -> int:
    return _bytes_of(departure.address, departure.session)


def _bytes_of_report(report: Report) -> int:
    return _bytes_of(report.address, report.session, *report.services, *report.tags)
