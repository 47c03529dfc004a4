"""Bugs that only a change of the centers list shows: in the code, and in the procedure itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from center.centers_list import CentersList
from center.core.events import Persist
from center.core.ledger import Ledger
from center.core.record import Record, Voters
from center.sim import procedure
from center.sim.faults import ListChange
from center.sim.mutations.planting import planted
from center.sim.procedure import Procedure
from libevrpc.core.mapcache import MapCache

__all__: list[str] = []


@planted(
    "a center starts with a list older than the one its disk was written under", Record, "fits"
)
def outdated_list_accepted(before: Any) -> Any:
    return lambda self, voters: True


@planted("who left a list may come back with the folder that he left with", Record, "fits")
def newcomers_keep_their_folders(before: Any) -> Any:
    def fits(self: Record, voters: Voters) -> bool:
        return before(self, voters) or voters.generation > self.list_generation

    return fits


@planted("the digest leaves out the generation", CentersList, "digest")
def digest_without_generation(before: Any) -> Any:
    return lambda self, generation=1: before(self, 1)


@planted("the list is not written beside what was promised under it", Ledger, "_persist")
def list_not_durable(before: Any) -> Any:
    def _persist(self: Ledger, record: Record) -> Persist:
        persist: Persist = before(self, record)
        return replace(persist, record=replace(record, list_digest="", list_generation=0))

    return _persist


class _Deaf:
    """A list of centers that learns no others."""

    def __init__(self, centers: Any) -> None:
        self._centers = centers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._centers, name)

    def name(self, addresses: Iterable[str]) -> bool:
        return False


@planted("a client asks only the centers that it was started with", MapCache, "start")
def clients_learn_no_list(before: Any) -> Any:
    def start(self: Any, now_s: float) -> Any:
        self.centers = _Deaf(self.centers)
        return before(self, now_s)

    return start


@planted("procedure: who leaves is not stopped", Procedure, "_stop_leavers")
def leavers_go_on(before: Any) -> Any:
    return lambda self, fault, new, rest: self._write(fault, new)


@planted("procedure: the list is written before who leaves is stopped", Procedure, "_stop_leavers")
def list_written_first(before: Any) -> Any:
    def _stop_leavers(self: Procedure, fault: ListChange, new: Voters, rest: list[int]) -> None:
        for center in self._staying(new):
            self._cluster.centers[center].give(new)
        before(self, fault, new, rest)

    return _stop_leavers


@planted("procedure: those that stay need not have the newest map first", Procedure, "_agreed")
def laggards_not_awaited(before: Any) -> Any:
    return lambda self, new: True


@planted("procedure: what the stopped ones said is not awaited", procedure, "GONE_S")
def last_words_not_awaited(before: Any) -> Any:
    return 0.0


@planted("procedure: everybody who comes is told that the cluster is new", Procedure, "_told_new")
def newcomers_told_new(before: Any) -> Any:
    def _told_new(self: Procedure, old: Collection[int], coming: list[int]) -> list[int]:
        return coming

    return _told_new
