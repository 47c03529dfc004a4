"""I5: what a client holds was committed."""

from __future__ import annotations

from center.sim.checkers.base import Checker, Violation
from center.sim.checkers.history import History, map_of
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Clients"]


class Clients(Checker):
    """A client's map is the client's part of a committed one, to the letter."""

    def __init__(self, history: History, service: str) -> None:
        self._history = history
        self._service = service

    def held(self, client: str, held: ClusterMap | None, usable: ClusterMap | None) -> None:
        """Look its stamp up."""
        for each in (held, usable):
            if each is None:
                continue
            record = self._history.commits.get(each.stamp)
            if record is None:
                raise Violation("I5", f"{client} holds {each.stamp}, which was never committed")
            if map_of(record.payload).part(self._service) != each:
                raise Violation("I5", f"{client} holds another map {each.stamp} than the centers")
