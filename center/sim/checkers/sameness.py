"""I11: the same input gives the same assignment, whoever computes it."""

from __future__ import annotations

from collections.abc import Callable

from center.core.events import Planner
from center.sim.checkers.base import Checker, Plan, Violation
from libevrpc.core.clustermap import ClusterMap, ServerEntry

__all__ = ["Sameness"]

PLANS_MAX = 6
"""Plans of one leadership that are computed again, the first ones."""
REIGNS_MAX = 2
"""Leaderships whose plans are computed again."""

Given = tuple[ClusterMap, tuple[ServerEntry, ...], float, bool]


class Sameness(Checker):
    """Gives what one leader was given to another planner, in the same order."""

    def __init__(self, planner: Callable[[], Planner]) -> None:
        self._planner = planner
        self._plans: dict[int, list[tuple[Given, Plan]]] = {}

    def planned(self, reign: int, given: Given, plan: Plan) -> None:
        """Keep the first plans of the first leaderships."""
        if reign not in self._plans and len(self._plans) >= REIGNS_MAX:
            return
        plans = self._plans.setdefault(reign, [])
        if len(plans) < PLANS_MAX:
            plans.append((given, plan))

    def ended(self) -> None:
        """Compute them again."""
        for plans in self._plans.values():
            planner = self._planner()
            for (previous, servers, now_s, weigh), plan in plans:
                again = planner.plan(previous, servers, now_s, weigh=weigh)
                if again != plan:
                    raise Violation("I11", f"two plans over {previous.stamp} differ")
