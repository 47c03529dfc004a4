"""Bugs of servers, their silence and their slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from center.core import members
from center.core.assignment import _Stock, _Table
from center.core.events import Action, PlannedMap
from center.core.leadership import Lease
from center.core.members import Members
from center.core.messages import (
    Departure,
    Report,
)
from center.core.reign import Reign
from center.sim.mutations.planting import planted

__all__: list[str] = []


class _EndlessLease:
    """A lease for whoever asks until when."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)

    def until_s(self, now_s: float) -> float:
        return float("inf")


@planted("a leader out of contact judges servers", Reign, "tick")
def expiry_without_a_lease(before: Any) -> Any:
    def tick(self: Reign, now_s: float) -> list[Action]:
        lease = self.lease
        self.lease = cast(Lease, _EndlessLease(lease))
        try:
            actions: list[Action] = before(self, now_s)
        finally:
            self.lease = lease
        return actions

    return tick


@planted("all servers expire together", Members, "sweep")
def empty_over_full(before: Any) -> Any:
    def sweep(self: Members, now_s: float) -> tuple[bool, list[Action]]:
        expired = [
            address
            for address, age_s in self.ages_s(now_s).items()
            if age_s >= self._timing.expire_s
        ]
        for address in expired:
            del self._members[address]
        return bool(expired), []

    return sweep


@planted("a report registers a server, and proves its life no further", Members, "report")
def reports_prove_no_life(before: Any) -> Any:
    def report(self: Members, report: Report, now_s: float) -> bool:
        known = self._members.get(report.address)
        heard_s = None if known is None else known.heard_s
        changed: bool = before(self, report, now_s)
        if known is not None and heard_s is not None:
            known.heard_s = heard_s
        return changed

    return report


@planted("who registers while a map is planned is forgotten when it is there", Reign, "planned")
def plan_forgets_the_meantime(before: Any) -> Any:
    def planned(
        self: Reign, token: tuple[int, int], made: PlannedMap, now_s: float
    ) -> list[Action]:
        named = {entry.address for entry in made.map.servers} if made.map is not None else None
        actions: list[Action] = before(self, token, made, now_s)
        known = vars(self.members)["_members"]
        for address in [each for each in known if named is not None and each not in named]:
            del known[address]
        return actions

    return planned


@planted("servers that fall silent together expire like one", members, "MASS_MIN")
def mass_expires(before: Any) -> Any:
    return 1_000_000


@planted("the last server leaves when its port refuses", Members, "depart")
def last_server_refused(before: Any) -> Any:
    def depart(self: Members, departure: Departure, now_s: float) -> bool:
        changed: bool = before(self, replace(departure, goodbye=True), now_s)
        return changed

    return depart


@planted("a round moves as many slots as it likes", _Table, "rebalance")
def moves_without_budget(before: Any) -> Any:
    return lambda self, ring, band, moves_max: before(self, ring, 0.0, len(self.owners))


@planted("slots are chosen by memory addresses", _Stock, "pop")
def assignment_by_chance(before: Any) -> Any:
    chosen = [0]

    def pop(self: _Stock, donor: int, taker: int) -> int:
        chosen[0] += 1
        slots = self._slots_of[donor]
        if slots and not self._homes_of[donor]:
            return slots.pop(chosen[0] % len(slots))
        slot: int = before(self, donor, taker)
        return slot

    return pop
