"""Assignment: even, total, the same everywhere, and as little moved as the weights ask for."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from center.core.assignment import (
    Assigned,
    AssignmentKind,
    AssignmentPolicy,
    Member,
    ServerLoad,
    WeightPolicy,
    assign,
    next_weights,
    ramped_weight,
    slots_for,
    smoothed_utilisation,
)
from libevrpc.core.clustermap import ClusterMap, ServerEntry

AT_ONCE = AssignmentPolicy(moved_share_max=1.0)


def members_of(count: int, weight: float = 1.0, first: int = 0) -> list[Member]:
    return [Member(f"10.0.{n // 250}.{n % 250}:1", weight) for n in range(first, first + count)]


def owners_of(table: Assigned) -> list[str]:
    indexes = struct.unpack(f"<{len(table.owners) // 2}H", table.owners)
    return [table.addresses[index] for index in indexes]


def moved(one: Assigned, two: Assigned) -> int:
    repeated = owners_of(one) * (len(two.owners) // len(one.owners))  # where the table grew
    return sum(a != b for a, b in zip(repeated, owners_of(two), strict=True))


def peak(table: Assigned) -> float:
    counts = Counter(owners_of(table))
    return max(counts.values()) * len(table.addresses) / (len(table.owners) // 2)


def settled(table: Assigned | None, members: list[Member]) -> Assigned:
    """Repeat rounds until nothing moves."""
    for _ in range(300):
        after = assign(table, members)
        if after == table:
            return after
        table = after
    raise AssertionError("the assignment never settles")


@pytest.mark.parametrize(
    ("count", "limit"), [(1, 1.0), (3, 1.01), (10, 1.01), (100, 1.01), (1000, 1.04)]
)
def test_equal_servers_own_equal_shares(count: int, limit: float) -> None:
    table = assign(None, members_of(count))
    assert peak(table) <= limit
    counts = Counter(owners_of(table)).values()
    assert max(counts) - min(counts) <= 1


def test_nobody_to_own_is_an_empty_table_and_the_first_server_owns_all() -> None:
    empty = assign(None, [])
    assert empty == Assigned((), b"")
    table = assign(empty, members_of(1))
    assert Counter(owners_of(table)) == {"10.0.0.0:1": slots_for(1)}


@pytest.mark.parametrize("count", [3, 10, 100, 1000])
def test_one_server_more_moves_no_more_than_its_share(count: int) -> None:
    before = assign(None, members_of(count))
    after = assign(before, members_of(count + 1), AT_ONCE)
    ideal = slots_for(count) / (count + 1)
    assert moved(before, after) <= 1.05 * ideal
    assert peak(after) <= peak(assign(None, members_of(count + 1)))


@pytest.mark.parametrize("count", [3, 10, 100])
def test_one_server_less_moves_its_slots_and_no_others_at_once(count: int) -> None:
    members = members_of(count)
    before = assign(None, members)
    after = assign(before, members[1:], AssignmentPolicy(moved_share_max=0.0))
    gone = sum(owner == members[0].address for owner in owners_of(before))
    assert moved(before, after) == gone
    assert max(Counter(owners_of(after)).values()) <= -(-slots_for(count) // (count - 1))


def test_a_round_moves_at_most_its_share() -> None:
    table = assign(None, members_of(3))
    rounds = 0
    while (after := assign(table, members_of(4))) != table:
        assert moved(table, after) <= slots_for(4) // 50
        table, rounds = after, rounds + 1
    assert rounds == 13


def test_within_the_band_nothing_moves() -> None:
    before = assign(None, [*members_of(9), Member("z:1", 1.0)])
    assert assign(before, [*members_of(9), Member("z:1", 1.04)]) == before
    after = settled(before, [*members_of(9), Member("z:1", 1.3)])
    quota = slots_for(10) * 1.3 / 10.3
    assert 0.95 * quota - 1 <= Counter(owners_of(after))["z:1"] <= quota + 1


def test_weight_zero_gives_its_slots_away_within_the_budget() -> None:
    members = members_of(4)
    before = assign(None, members)
    draining = [replace(members[0], weight=0.0), *members[1:]]
    after = assign(before, draining)
    assert 0 < moved(before, after) <= slots_for(4) // 50
    assert members[0].address not in owners_of(settled(after, draining))
    silent = [replace(member, weight=0.0) for member in members]
    assert assign(before, silent) == before


def test_doubling_the_table_keeps_owners() -> None:
    before = assign(None, members_of(250))
    after = assign(before, members_of(251), AssignmentPolicy(moved_share_max=0.0))
    assert [slots_for(count) for count in (1, 4, 5, 16, 17, 250, 251)] == [
        *(512, 512, 1024, 2048, 4096, 4096, 16384)
    ]
    assert slots_for(3, 16384) == 16384
    assert owners_of(after) == owners_of(before) * 4
    again = assign(after, members_of(250))
    assert len(again.owners) == len(after.owners)


def test_a_server_that_comes_back_gets_many_of_its_slots_back() -> None:
    members = members_of(10)
    first = assign(None, members)
    back = settled(assign(first, members[1:]), members)
    own = [slot for slot, owner in enumerate(owners_of(first)) if owner == members[0].address]
    kept = sum(owners_of(back)[slot] == members[0].address for slot in own)
    assert kept > 2 * len(own) / 10


def test_ring_kind_is_pure_consistent_hashing() -> None:
    first = assign(None, members_of(10), kind=AssignmentKind.RING)
    more = assign(first, members_of(11), kind=AssignmentKind.RING)
    new = members_of(1, first=10)[0].address
    changed = [b for a, b in zip(owners_of(first), owners_of(more), strict=True) if a != b]
    assert set(changed) == {new}
    assert 1.0 < peak(first) < 1.4
    assert assign(more, members_of(10), kind=AssignmentKind.RING) == first


@st.composite
def histories(draw: st.DrawFn) -> list[list[Member]]:
    weights = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.0, 1.0, 1.07, 3.0])
    chosen = st.dictionaries(st.sampled_from("abcdefghij"), weights, max_size=10)
    rounds = draw(st.lists(chosen, min_size=1, max_size=5))
    return [[Member(name, weight) for name, weight in r.items()] for r in rounds]


@settings(max_examples=40)
@given(histories(), st.integers())
def test_any_history_is_total_frugal_and_the_same_on_every_center(
    history: list[list[Member]], seed: int
) -> None:
    table: Assigned | None = None
    for members in history:
        shuffled = random.Random(seed).sample(members, len(members))
        after = assign(table, members)
        assert after == assign(table, shuffled)
        names = {member.address for member in members}
        assert set(owners_of(after)) <= names
        held = 0 if table is None else len(table.owners) // 2
        assert len(after.owners) == (2 * slots_for(len(members), held) if members else 0)
        if table is not None and table.owners and members:
            grown = owners_of(table) * (len(after.owners) // len(table.owners))
            orphans = sum(owner not in names for owner in grown)
            assert moved(table, after) <= orphans + len(grown) // 50
        table = after


def test_published_table_is_what_the_next_round_starts_from() -> None:
    table = assign(None, members_of(3))
    others = ["x:1", *reversed(table.addresses)]
    published = ClusterMap(
        "c", 1, 1, tuple(map(ServerEntry, others)), (table.table_in(others, ["echo.Echo"]),)
    )
    assert published.tables[0].members == (3, 2, 1)
    assert ClusterMap.decode(published.encode()) == published
    assert Assigned.of_map(published, published.tables[0]) == table


# -- weights --------------------------------------------------------------------------


def load_of(utilisation: float, weight: float = 1.0, age_s: float = 999.0) -> ServerLoad:
    return ServerLoad(weight, 1.0, utilisation, age_s)


def test_busier_servers_lose_weight_and_idle_ones_gain() -> None:
    busy, calm, idle = next_weights([load_of(0.9), load_of(0.5), load_of(0.1)])
    assert busy < calm < idle
    assert busy + calm + idle == pytest.approx(3.0)


def test_steps_are_bounded() -> None:
    policy = WeightPolicy(gain=10.0)
    low, high = next_weights([load_of(0.9), load_of(0.1)], policy)
    assert low / high == pytest.approx(0.8 / 1.25)


@pytest.mark.parametrize("loads", [[0.5, 0.52, 0.48], [0.001, 0.01, 0.0]])
def test_small_differences_and_idle_clusters_change_nothing(loads: list[float]) -> None:
    assert next_weights([load_of(load) for load in loads]) == [1.0, 1.0, 1.0]


def test_weights_stay_within_their_span() -> None:
    weights = [1.0, 1.0]
    for _ in range(100):
        loads = zip((0.9, 0.1), weights, strict=True)
        weights = next_weights([load_of(load, weight) for load, weight in loads])
    assert 0.1 <= weights[0] < weights[1] <= 10.0


def test_servers_that_start_slowly_are_left_alone() -> None:
    weights = next_weights([load_of(0.6), load_of(0.4), load_of(0.05, age_s=3.0)])
    assert weights[2] == 1.0
    assert weights[0] < weights[1]
    assert next_weights([load_of(0.9, age_s=0.0)]) == [1.0]


def test_new_server_ramps_from_a_tenth_to_all_of_its_weight() -> None:
    ramp = [ramped_weight(2.0, age_s) for age_s in (-1.0, 0.0, 15.0, 30.0, 99.0)]
    assert ramp == pytest.approx([0.2, 0.2, 1.1, 2.0, 2.0])


def test_three_reports_make_most_of_the_smoothed_utilisation() -> None:
    seen = smoothed_utilisation(None, 0.0)
    for _ in range(3):
        seen = smoothed_utilisation(seen, 0.9)
    assert 0.6 < seen < 0.7


class Cluster:
    """Servers whose utilisation follows their slots: one call to `round` is one second."""

    def __init__(self, capacities: Sequence[float], slot_loads: Sequence[float]) -> None:
        self.capacities = list(capacities)
        self.slot_loads = slot_loads
        self.weights = [1.0] * len(capacities)
        self.seen: list[float | None] = [None] * len(capacities)
        self.addresses = [member.address for member in members_of(len(capacities))]
        self.table = assign(None, self.members())
        self.moved_load = 0.0

    def members(self) -> list[Member]:
        return [Member(a, w) for a, w in zip(self.addresses, self.weights, strict=True)]

    def utilisations(self) -> list[float]:
        loads = dict.fromkeys(self.addresses, 0.0)
        for owner, load in zip(owners_of(self.table), self.slot_loads, strict=True):
            loads[owner] += load
        return [loads[a] / c for a, c in zip(self.addresses, self.capacities, strict=True)]

    def round(self, reports: bool = True) -> None:
        if reports:
            present = zip(self.seen, self.utilisations(), strict=True)
            self.seen = [smoothed_utilisation(before, now) for before, now in present]
        loads = [
            ServerLoad(weight, 1.0, seen or 0.0, 999.0)
            for weight, seen in zip(self.weights, self.seen, strict=True)
        ]
        self.weights = next_weights(loads)
        before = owners_of(self.table)
        self.table = assign(self.table, self.members())
        pairs = zip(before, owners_of(self.table), self.slot_loads, strict=True)
        self.moved_load = sum(load for old, new, load in pairs if old != new)

    def owned(self, index: int) -> int:
        return owners_of(self.table).count(self.addresses[index])


def even_loads(servers: int) -> list[float]:
    """Load each slot alike, so that servers of capacity 1 are used to 40 %."""
    slots = slots_for(servers)
    return [0.4 * servers / slots] * slots


def lost_by_a_server_at_half_speed(servers: int, reports: bool) -> float:
    """Return the share of its slots that the first server has lost 60 rounds later."""
    cluster = Cluster([1.0] * servers, even_loads(servers))
    for _ in range(5):
        cluster.round()
    before = cluster.owned(0)
    cluster.capacities[0] = 0.5
    for _ in range(60):
        cluster.round(reports)
    return 1.0 - cluster.owned(0) / before


@pytest.mark.parametrize("servers", [3, 5, 20])
def test_server_slowed_to_half_loses_about_half_of_its_slots_in_60_s(servers: int) -> None:
    # Of n servers the fair loss is 1 - 0.5 * n / (n - 0.5): 0.4 of three, 0.49 of twenty.
    fair = 1.0 - 0.5 * servers / (servers - 0.5)
    lost = lost_by_a_server_at_half_speed(servers, reports=True)
    assert fair - 0.12 <= lost <= fair + 0.12
    assert lost >= 0.3


def test_with_reports_ignored_it_loses_nothing() -> None:
    assert lost_by_a_server_at_half_speed(5, reports=False) == 0.0


def test_balanced_cluster_comes_to_rest() -> None:
    cluster = Cluster([1.0, 0.5, 1.0, 2.0], even_loads(4))
    for _ in range(90):
        cluster.round()
    tables = []
    for _ in range(10):
        cluster.round()
        tables.append(cluster.table)
    assert all(a == b for a, b in pairwise(tables))


def test_drifting_loads_stay_balanced_with_little_moved() -> None:
    rng = random.Random(8)
    keys = [1.0 / (rank + 100) ** 0.9 for rank in range(40_000)]
    slot_loads = [0.0] * 4096
    for key in keys:
        slot_loads[rng.randrange(4096)] += key
    total = sum(slot_loads)
    capacities = [rng.choice((1.0, 2.0, 4.0)) for _ in range(100)]
    scale = 0.5 * sum(capacities) / total
    cluster = Cluster(capacities, [load * scale for load in slot_loads])
    for _ in range(60):
        cluster.round()
    peaks, moves = [], []
    for _ in range(60):
        cluster.capacities = [c * (1.0 + 0.05 * rng.uniform(-1, 1)) for c in cluster.capacities]
        used = cluster.utilisations()
        peaks.append(max(used) / fmean(used))
        cluster.round()
        moves.append(cluster.moved_load / sum(cluster.slot_loads))
    assert median(peaks) <= 1.2
    assert fmean(moves) <= 0.01
