"""Planners of simulated leaders: the real one, watched, and one that costs nothing."""

from __future__ import annotations

from collections.abc import Callable

from center.core.events import Planner
from center.sim.checkers.base import Plan
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable

__all__ = ["Given", "PlainPlanner", "WatchedPlanner"]

Given = tuple[ClusterMap, tuple[ServerEntry, ...], float, bool]
"""What a planner is given: previous map, servers, time, whether to weigh."""


class PlainPlanner:
    """Weights as given and no tables, for scenarios about centers alone."""

    def plan(
        self,
        previous: ClusterMap,
        servers: tuple[ServerEntry, ...],
        now_s: float,
        *,
        weigh: bool,
    ) -> tuple[tuple[ServerEntry, ...], tuple[ServiceTable, ...]]:
        """Return the servers as they are."""
        return servers, ()


class WatchedPlanner:
    """Shows what the real planner was given and what it made of it."""

    def __init__(self, planner: Planner, planned: Callable[[Given, Plan], object]) -> None:
        self._planner = planner
        self._planned = planned

    def plan(
        self,
        previous: ClusterMap,
        servers: tuple[ServerEntry, ...],
        now_s: float,
        *,
        weigh: bool,
    ) -> tuple[tuple[ServerEntry, ...], tuple[ServiceTable, ...]]:
        """Plan, and tell."""
        plan = self._planner.plan(previous, servers, now_s, weigh=weigh)
        self._planned((previous, servers, now_s, weigh), plan)
        return plan
