"""Planning: from the living servers to their weights and to the tables over them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from center.core.assignment import (
    USUAL_POLICY,
    USUAL_WEIGHTS,
    Assigned,
    AssignmentKind,
    AssignmentPolicy,
    Member,
    ServerLoad,
    WeightPolicy,
    assign,
    next_weights,
    ramped_weight,
    smoothed_utilisation,
)
from center.core.members import WEIGHT_MIN
from libevrpc.core.clustermap import (
    WEIGHT_MAX,
    ClusterMap,
    ServerEntry,
    ServerState,
    ServiceTable,
)

__all__ = ["SlotPlanner"]


@dataclass(slots=True)
class _Known:
    """What one leadership remembers of a server; `weight` is before slow start."""

    nominal: float
    weight: float
    since_s: float
    utilisation: float | None = None


class SlotPlanner:
    """The usual `Planner`: weights follow load, tables follow weights, both slowly.

    One table per distinct set of servers that offer a service, but services that come to
    share their servers keep the tables they had: else the slots of one would move because
    a server of another died. A suspect owns its slots on (its word is out, not its data)
    with weight 0 for whoever balances by weight; a draining server loses them.
    """

    def __init__(
        self,
        kind: AssignmentKind = AssignmentKind.SLOTS,
        policy: AssignmentPolicy = USUAL_POLICY,
        weights: WeightPolicy = USUAL_WEIGHTS,
    ) -> None:
        """Plan for one leadership."""
        self._kind = kind
        self._policy = policy
        self._weights = weights
        self._known: dict[str, _Known] = {}

    def plan(
        self,
        previous: ClusterMap,
        servers: tuple[ServerEntry, ...],
        now_s: float,
        *,
        weigh: bool,
    ) -> tuple[tuple[ServerEntry, ...], tuple[ServiceTable, ...]]:
        """Return the servers with their weights and the tables over them (see `Planner`)."""
        self._meet(previous, servers, now_s)
        if weigh:
            self._weigh(servers, now_s)
        planned = tuple(_weighted(entry, self._published_weight(entry, now_s)) for entry in servers)
        return planned, tuple(self._tables(previous, planned, now_s))

    def _meet(self, previous: ClusterMap, servers: tuple[ServerEntry, ...], now_s: float) -> None:
        """Remember new servers: one of the previous map has started, another starts slowly.

        The first servers of all start at full weight: there is nobody to spare.
        """
        published = {entry.address: entry for entry in previous.servers}
        settled_s = now_s - self._weights.slow_start_s
        for entry in servers:
            known = self._known.get(entry.address)
            if known is not None and known.nominal == entry.weight:
                continue
            old = published.get(entry.address)
            if known is not None:
                scale = entry.weight / known.nominal
                known.nominal, known.weight = entry.weight, known.weight * scale
            elif old is not None and old.weight > 0:
                self._known[entry.address] = _Known(entry.weight, old.weight, settled_s)
            else:
                since_s = now_s if published else settled_s
                self._known[entry.address] = _Known(entry.weight, entry.weight, since_s)
        alive = {entry.address for entry in servers}
        for address in self._known.keys() - alive:
            del self._known[address]

    def _weigh(self, servers: tuple[ServerEntry, ...], now_s: float) -> None:
        judged: list[_Known] = []
        for entry in servers:
            known = self._known[entry.address]
            known.utilisation = smoothed_utilisation(known.utilisation, entry.load)
            if entry.state is ServerState.UP:
                judged.append(known)
        loads = [
            ServerLoad(each.weight, each.nominal, each.utilisation or 0.0, now_s - each.since_s)
            for each in judged
        ]
        for known, weight in zip(judged, next_weights(loads, self._weights), strict=True):
            known.weight = weight

    def _ramped(self, address: str, now_s: float) -> float:
        known = self._known[address]
        weight = ramped_weight(known.weight, now_s - known.since_s, self._weights)
        return min(WEIGHT_MAX, max(WEIGHT_MIN, weight))

    def _published_weight(self, entry: ServerEntry, now_s: float) -> float:
        return self._ramped(entry.address, now_s) if entry.state is ServerState.UP else 0.0

    def _tables(
        self, previous: ClusterMap, servers: tuple[ServerEntry, ...], now_s: float
    ) -> list[ServiceTable]:
        table_of = {each: table for table in previous.tables for each in table.services}
        groups: dict[tuple[int, ...], dict[tuple[str, ...], list[str]]] = {}
        unheard_of: list[tuple[tuple[int, ...], str]] = []
        for service, indexes in sorted(_members_by_service(servers).items()):
            members, old = tuple(indexes), table_of.get(service)
            if old is None:
                unheard_of.append((members, service))
            else:
                groups.setdefault(members, {}).setdefault(old.services, []).append(service)
        for members, service in unheard_of:
            tables = groups.setdefault(members, {})
            tables.setdefault(next(iter(tables), ()), []).append(service)
        merged: dict[tuple[tuple[int, ...], bytes], list[str]] = {}
        for members, tables in groups.items():
            for services in tables.values():
                old = next(filter(None, map(table_of.get, services)), None)
                owners = self._owners(previous, servers, members, old, now_s)
                merged.setdefault((members, owners), []).extend(services)
        return [
            ServiceTable(tuple(sorted(services)), members, owners)
            for (members, owners), services in merged.items()
        ]

    def _owners(
        self,
        previous: ClusterMap,
        servers: tuple[ServerEntry, ...],
        members: tuple[int, ...],
        old: ServiceTable | None,
        now_s: float,
    ) -> bytes:
        weighted = [
            Member(
                servers[index].address,
                0.0
                if servers[index].state is ServerState.DRAINING
                else self._ramped(servers[index].address, now_s),
            )
            for index in members
        ]
        before = None
        if old is not None:
            before = Assigned(
                tuple(previous.servers[index].address for index in old.members), old.owners
            )
        return assign(before, weighted, self._policy, self._kind).owners


def _weighted(entry: ServerEntry, weight: float) -> ServerEntry:
    return entry if weight == entry.weight else replace(entry, weight=weight)


def _members_by_service(servers: tuple[ServerEntry, ...]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, entry in enumerate(servers):
        for service in entry.services:
            members.setdefault(service, []).append(index)
    return members
