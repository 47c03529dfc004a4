"""Which server owns which slot: the leader's computation, pure and the same everywhere.

``slots`` (the usual kind): a table of virtual nodes that is moved as little as the weights
ask for. Slots of owners that are gone go to the next server of their consistent-hash ranking
that has room; beyond that at most a small share of the slots moves per round, and only to
bring servers back that own more than the dead band too much or too little. ``ring``: every
slot belongs to the first server of its ranking, nothing is remembered.

Weights come from reports by a damped control law (`next_weights`): load is an error signal on
the present weights, never a weight by itself, so the assignment does not chase its own tail.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from libevrpc.core.clustermap import ClusterMap, ServiceTable
from libevrpc.core.slots import SLOTS_MAX, SlotRing, slot_ring

__all__ = [
    "Assigned",
    "AssignmentKind",
    "AssignmentPolicy",
    "Member",
    "ServerLoad",
    "WeightPolicy",
    "assign",
    "next_weights",
    "ramped_weight",
    "slots_for",
    "smoothed_utilisation",
]

SLOTS_MIN = 512
SLOTS_USUAL = 4096
SLOTS_MANY = 16384
SLOTS_PER_MEMBER = 128
"""Slots of one server where all are equal, up to SLOTS_USUAL in all: shares are even to 1 %, and
a thousand services with three servers each still fit into one map."""
MEMBERS_OF_USUAL_SLOTS = 250
"""Above this many servers a table doubles until it has SLOTS_MANY slots."""
RANK_WALK_MAX = 8
"""Servers of a slot's ranking that are asked for room before the neediest server gets it."""
LOOKED_AT_MAX = 4096
"""Slots that are ranked in a round in search of the best ones to move; beyond it any will do."""
RING_POINTS = 160
"""Ring points of a server of weight 1 where the ring alone assigns."""


class AssignmentKind(Enum):
    """How slots get their owners."""

    SLOTS = "slots"
    RING = "ring"


@dataclass(frozen=True, slots=True)
class Member:
    """One server of a table: its address and the weight its share follows (>= 0)."""

    address: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Assigned:
    """A table by name: `owners` holds two bytes, little-endian, per slot: index of address."""

    addresses: tuple[str, ...]
    owners: bytes

    @classmethod
    def of_map(cls, published: ClusterMap, table: ServiceTable) -> Assigned:
        """Return a published table by name: what the next round starts from."""
        addresses = tuple(published.servers[member].address for member in table.members)
        return cls(addresses, table.owners)

    def table_in(self, addresses: Sequence[str], services: Sequence[str]) -> ServiceTable:
        """Return the table to publish in a map whose servers have `addresses`, in order."""
        index_of = {address: index for index, address in enumerate(addresses)}
        members = tuple(index_of[address] for address in self.addresses)
        return ServiceTable(tuple(services), members, self.owners)


@dataclass(frozen=True, slots=True)
class AssignmentPolicy:
    """How eagerly slots move. Immutable.

    Attributes:
        band: 0..1; a server that owns its quota within this share is left alone. Equal
            weights carry no measuring noise: for them the band is nothing.
        moved_share_max: 0..1, share of all slots that may move in a round; slots whose owner
            is gone move besides, all at once.

    The dead band for load is the weights' (`WeightPolicy.band`, 10 %). With both at 10 % the
    two add up, and a budget of 1 % lags behind a drift and then moves more, not less.
    """

    band: float = 0.05
    moved_share_max: float = 0.02


USUAL_POLICY = AssignmentPolicy()


def slots_for(members: int, previous_slots: int = 0) -> int:
    """Return the size of a table of `members` servers; tables grow and never shrink."""
    wanted = SLOTS_MIN if members <= MEMBERS_OF_USUAL_SLOTS else SLOTS_MANY
    while wanted < min(SLOTS_USUAL, SLOTS_PER_MEMBER * members):
        wanted *= 2
    return min(SLOTS_MAX, max(wanted, previous_slots))


def assign(
    previous: Assigned | None,
    members: Sequence[Member],
    policy: AssignmentPolicy = USUAL_POLICY,
    kind: AssignmentKind = AssignmentKind.SLOTS,
) -> Assigned:
    """Compute the next table; equal arguments give equal tables on every center.

    Args:
        previous: the table of the last round; None at first.
        members: servers with distinct addresses, in any order; one of weight 0 loses its
            slots within the budget (one that is gone is left out of the list). If all
            weights are 0 they count as equal.
        policy: see `AssignmentPolicy`.
        kind: see the module's head.

    Returns:
        A table over the members in order of address; empty if there is none.
    """
    ordered = sorted(members, key=lambda member: member.address)
    addresses = tuple(member.address for member in ordered)
    if not ordered:
        return Assigned((), b"")
    weights = [member.weight for member in ordered]
    if not any(weights):
        weights = [1.0] * len(weights)
    slots = slots_for(len(ordered), len(previous.owners) // 2 if previous else 0)
    if kind is AssignmentKind.RING:
        ring = slot_ring(addresses, weights, RING_POINTS)
        return _packed(addresses, [ring.first(slot) for slot in range(slots)])
    owners = _inherited(previous, addresses, slots)
    table = _Table(owners, _quotas(weights, slots))
    if table.orphans or table.is_uneven():
        ring = slot_ring(addresses, weights)
        if table.orphans:
            table.settle_orphans(ring)
        band = policy.band if len(set(weights)) > 1 else 0.0
        table.rebalance(ring, band, int(slots * policy.moved_share_max))
    return _packed(addresses, table.owners)


def _packed(addresses: tuple[str, ...], owners: Sequence[int]) -> Assigned:
    return Assigned(addresses, struct.pack(f"<{len(owners)}H", *owners))


_NOBODY = -1


def _inherited(previous: Assigned | None, addresses: tuple[str, ...], slots: int) -> list[int]:
    """Return the owner of each slot after the last round; _NOBODY where it is gone."""
    if previous is None or not previous.owners:
        return [_NOBODY] * slots
    count = len(previous.owners) // 2
    before = struct.unpack(f"<{count}H", previous.owners)
    if previous.addresses == addresses:
        owners = list(before)
    else:
        index_of = {address: index for index, address in enumerate(addresses)}
        now = [index_of.get(address, _NOBODY) for address in previous.addresses]
        owners = [now[owner] for owner in before]
    # Slot numbers are the low bits of a hash: a doubled table repeats the old one.
    return owners * (slots // count)


def _quotas(weights: Sequence[float], slots: int) -> list[int]:
    """Share out all slots by weight: whole numbers, largest remainders first."""
    total = sum(weights)
    exact = [slots * weight / total for weight in weights]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(
        range(len(exact)), key=lambda index: (quotas[index] - exact[index], index)
    )
    for index in by_remainder[: slots - sum(quotas)]:
        quotas[index] += 1
    return quotas


class _Table:
    """Owners on their way from one round to the next."""

    def __init__(self, owners: list[int], quotas: list[int]) -> None:
        self.owners = owners
        self.quotas = quotas
        counts = [0] * (len(quotas) + 1)
        for owner in owners:
            counts[owner] += 1
        self.orphans = counts.pop()
        self.counts = counts

    def is_uneven(self) -> bool:
        return self.counts != self.quotas

    def settle_orphans(self, ring: SlotRing) -> None:
        """Give slots without an owner to the first of their ranking that has room."""
        counts, quotas = self.counts, self.quotas
        needy = [(-(quota - count), index) for index, (quota, count) in
                 enumerate(zip(quotas, counts, strict=True)) if count < quota]  # fmt: skip
        heapq.heapify(needy)
        for slot, owner in enumerate(self.owners):
            if owner != _NOBODY:
                continue
            taker = self._ranked_with_room(slot, ring)
            if taker == _NOBODY:
                taker = self._neediest(needy)
            self.owners[slot] = taker
            counts[taker] += 1
        self.orphans = 0

    def _ranked_with_room(self, slot: int, ring: SlotRing) -> int:
        first = ring.first(slot)
        if self.counts[first] < self.quotas[first]:
            return first
        for index in islice(ring.walk(slot), RANK_WALK_MAX):
            if self.counts[index] < self.quotas[index]:
                return index
        return _NOBODY

    def _neediest(self, needy: list[tuple[int, int]]) -> int:
        """Pop until the top is up to date; rankings fill servers behind the heap's back.

        There is always room somewhere: the quotas add up to the slots.
        """
        while True:
            told, index = needy[0]
            room = self.quotas[index] - self.counts[index]
            if room <= 0:
                heapq.heappop(needy)
            elif -told != room:
                heapq.heapreplace(needy, (-room, index))
            else:
                return index

    def rebalance(self, ring: SlotRing, band: float, moves_max: int) -> None:
        """Move slots from the fullest to the emptiest while one of the two is outside the band.

        A server outside the band is brought all the way to its quota if the budget allows
        (else the next round goes on, until it is inside); one inside only gives or takes
        what another needs.
        """
        excess = [count - quota for count, quota in zip(self.counts, self.quotas, strict=True)]
        outside = [
            abs(over) > band * quota for over, quota in zip(excess, self.quotas, strict=True)
        ]
        if not any(outside):
            return

        def rank(index: int) -> tuple[bool, float, int]:
            return (not outside[index], -abs(excess[index]) / (self.quotas[index] or 0.5), index)

        donors = [rank(index) for index, over in enumerate(excess) if over > 0]
        takers = [rank(index) for index, over in enumerate(excess) if over < 0]
        heapq.heapify(donors)
        heapq.heapify(takers)
        stock = _Stock(self.owners, {index for *_, index in donors}, ring)
        for _ in range(moves_max):
            if not donors or (donors[0][0] and takers[0][0]):
                return
            donor, taker = donors[0][2], takers[0][2]
            self.owners[stock.pop(donor, taker)] = taker
            excess[donor] -= 1
            excess[taker] += 1
            for heap, index in ((donors, donor), (takers, taker)):
                if excess[index]:
                    heapq.heapreplace(heap, rank(index))
                else:
                    heapq.heappop(heap)


class _Stock:
    """The slots that donors may give away, by the server that ranks first for them."""

    def __init__(self, owners: Sequence[int], donors: set[int], ring: SlotRing) -> None:
        self._ring = ring
        self._looked_at = 0
        self._slots_of: dict[int, list[int]] = {donor: [] for donor in donors}
        for slot in range(len(owners) - 1, -1, -1):
            if owners[slot] in donors:
                self._slots_of[owners[slot]].append(slot)
        self._homes_of: dict[int, dict[int, list[int]]] = {donor: {} for donor in donors}

    def pop(self, donor: int, taker: int) -> int:
        """Take a slot that is at home with the taker, else a guest of the donor, else any."""
        homes, slots = self._homes_of[donor], self._slots_of[donor]
        while slots and taker not in homes and (self._looked_at < LOOKED_AT_MAX or not homes):
            self._looked_at += 1
            slot = slots.pop()
            homes.setdefault(self._ring.first(slot), []).append(slot)
        home = taker
        if taker not in homes:
            home = min(homes, key=lambda index: (index == donor, index))
        slot = homes[home].pop()
        if not homes[home]:
            del homes[home]
        return slot


# -- weights --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightPolicy:
    """The control law from utilisation to weight. Immutable.

    Attributes:
        gain: share of the relative error that is corrected in one round.
        step_min, step_max: factor of one round stays within.
        band: 0..1; a server whose utilisation is this close to the mean keeps its weight.
        span: weights stay within nominal / span .. nominal * span.
        utilisation_min: below this mean the cluster is idle and weights stay as they are.
        slow_start_s: a new server's weight grows over this time ...
        slow_start_share: ... from this share of it.
    """

    gain: float = 0.3
    step_min: float = 0.8
    step_max: float = 1.25
    band: float = 0.10
    span: float = 10.0
    utilisation_min: float = 0.02
    slow_start_s: float = 30.0
    slow_start_share: float = 0.10


USUAL_WEIGHTS = WeightPolicy()
SMOOTHING = 1 / 3
"""Weight of the newest report in the smoothed utilisation: about three reports count."""


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What the law sees of one server.

    Attributes:
        weight: of the last round, > 0.
        nominal: weight that the server itself asks for, > 0.
        utilisation: smoothed, max(CPU, in flight / limit), 0..1 and above.
        age_s: since it first reported; while it starts slowly, the law leaves it alone.
    """

    weight: float
    nominal: float
    utilisation: float
    age_s: float


def smoothed_utilisation(previous: float | None, reported: float) -> float:
    """Return the utilisation after one more report; None: it is the first."""
    return reported if previous is None else previous + (reported - previous) * SMOOTHING


def next_weights(
    servers: Sequence[ServerLoad], policy: WeightPolicy = USUAL_WEIGHTS
) -> list[float]:
    """Return the weight of each server for the next round.

    Busier than the mean loses weight, less busy gains; in the band nothing changes. The sum
    of the weights that the law may touch stays what it was, except at the ends of the span.
    """
    settled = [i for i, server in enumerate(servers) if server.age_s >= policy.slow_start_s]
    weights = [server.weight for server in servers]
    mean = math.fsum(servers[i].utilisation for i in settled) / max(1, len(settled))
    if mean < policy.utilisation_min:
        return weights
    errors = [(i, (servers[i].utilisation - mean) / mean) for i in settled]
    if all(abs(error) <= policy.band for _, error in errors):
        return weights
    before = sum(weights[i] for i in settled)
    for i, error in errors:
        if abs(error) > policy.band:
            factor = 1.0 - policy.gain * error
            weights[i] *= min(policy.step_max, max(policy.step_min, factor))
    scale = before / sum(weights[i] for i in settled)
    for i in settled:
        nominal = servers[i].nominal
        scaled = weights[i] * scale
        weights[i] = min(nominal * policy.span, max(nominal / policy.span, scaled))
    return weights


def ramped_weight(weight: float, age_s: float, policy: WeightPolicy = USUAL_WEIGHTS) -> float:
    """Return the weight to assign by: a new server's grows linearly to `weight`."""
    if age_s >= policy.slow_start_s:
        return weight
    share = policy.slow_start_share
    return weight * (share + (1.0 - share) * max(0.0, age_s) / policy.slow_start_s)
