"""Slot tables: owners as assigned, stand-ins by consistent hash, the same everywhere."""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uhashring import HashRing

from libevrpc.core import slots
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.slots import (
    MEMBERS_OF_LARGE_RING,
    SlotRing,
    SlotTable,
    slot_ring,
    slots_of_client,
)


def members_of(count: int) -> list[Endpoint]:
    return [Endpoint(f"10.0.0.{index}", 9998) for index in range(count)]


def owners_of(*indexes: int) -> bytes:
    return b"".join(index.to_bytes(2, "little") for index in indexes)


@settings(max_examples=30)
@given(st.lists(st.sampled_from((2, 8, 16, 128)), min_size=1, max_size=12), st.integers(0, 65535))
def test_the_ring_is_that_of_uhashring(points: list[int], slot: int) -> None:
    names = [f"10.0.0.{index}:9998" for index in range(len(points))]
    nodes = {name: {"vnodes": count} for name, count in zip(names, points, strict=True)}
    wanted = HashRing(
        nodes,
        hash_fn=lambda text: int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big"),
    )
    ring = SlotRing(names, points)
    assert [names[each] for each in ring.walk(slot)] == [
        node["nodename"] for node in wanted.range(f"slot {slot}")
    ]
    assert names[ring.first(slot)] == wanted.get_node(f"slot {slot}")


def test_many_points_are_sorted_in_parts_and_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"10.0.0.{index}:9998" for index in range(64)]
    whole = SlotRing(names, [16] * 64)
    monkeypatch.setattr(slots, "SORTED_AT_ONCE_MAX", 100)
    monkeypatch.setattr(slots, "MEMBERS_KEPT_MAX", 10)
    kept: dict[str, bytes] = {}
    monkeypatch.setattr(slots, "_points_by_name", kept)
    parted = SlotRing(names, [16] * 64)
    for slot in range(0, 65536, 997):
        assert list(parted.walk(slot)) == list(whole.walk(slot))
    assert 0 < len(kept) <= 10


def test_a_member_without_points_stands_in_for_nobody() -> None:
    assert list(SlotRing(["a:1", "b:1"], [16, 0]).walk(7)) == [0]


def test_key_slot_is_the_low_bits_of_its_crc() -> None:
    table = SlotTable(members_of(2), owners_of(*[0, 1] * 32))
    assert len(table) == 64
    assert table.slot_of("kéy") == table.slot_of("kéy".encode()) == crc32("kéy".encode()) & 63


def test_owner_comes_first_then_every_other_member_once() -> None:
    table = SlotTable(members_of(5), owners_of(*[slot % 5 for slot in range(64)]))
    for slot in range(64):
        ranking = table.ranking(slot)
        assert ranking[0] is table.owner(slot) is table.members[slot % 5]
        assert sorted(e.address for e in ranking) == [e.address for e in table.members]


def test_two_holders_of_one_table_rank_alike() -> None:
    first = SlotTable(members_of(9), owners_of(*[7] * 16))
    second = SlotTable(members_of(9), owners_of(*[7] * 16))
    assert [first.ranking(slot) for slot in range(16)] == [
        second.ranking(slot) for slot in range(16)
    ]


def test_unassigned_table_is_filled_by_the_ring() -> None:
    table = SlotTable(members_of(4))
    assert len(table) == slots.SLOTS_UNASSIGNED
    counts = {e: sum(table.owner(s) is e for s in range(len(table))) for e in table.members}
    assert min(counts.values()) > 0
    ring = slot_ring([e.address for e in table.members], [1.0] * 4)
    assert table.members[ring.first(5)] is table.owner(5)
    assert table.members[next(ring.walk(5))] is table.owner(5)


@pytest.mark.parametrize(
    ("count", "owners", "told"),
    [
        (0, owners_of(0), "members"),
        (slots.MEMBERS_MAX + 1, owners_of(0), "members"),
        (1, b"", "power of two"),
        (1, b"\0", "power of two"),
        (1, owners_of(0, 0, 0), "power of two"),
        (1, bytes(4 * slots.SLOTS_MAX), "power of two"),
        (2, owners_of(0, 2), "owner 2"),
    ],
)
def test_table_that_does_not_fit_is_refused(count: int, owners: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SlotTable(members_of(count), owners)


def test_removing_a_member_keeps_the_order_of_the_others() -> None:
    names = [e.address for e in members_of(6)]
    whole, without = slot_ring(names, [1.0] * 6), slot_ring(names[:5], [1.0] * 5)
    for slot in range(50):
        assert [m for m in whole.walk(slot) if m != 5] == list(without.walk(slot))


def test_small_weight_drift_keeps_the_ring_and_large_weights_own_more() -> None:
    names = [e.address for e in members_of(3)]
    assert slot_ring(names, [1.0, 1.1, 0.9]) is slot_ring(names, [1.0, 1.0, 1.0])
    ring = slot_ring(names, [4.0, 1.0, 0.0])
    firsts = [ring.first(slot) for slot in range(1000)]
    assert firsts.count(0) > 2 * firsts.count(1) > 2 * firsts.count(2) > 0


def test_ranking_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "RANKINGS_KEPT_MAX", 4)
    table = SlotTable(members_of(3), owners_of(*[0] * 16))
    before = [table.ranking(slot) for slot in range(16)]
    assert [table.ranking(slot) for slot in range(16)] == before


@settings(max_examples=50)
@given(st.text(max_size=20), st.integers(0, 20), st.sampled_from([1, 8, 4096]))
def test_client_slots_are_distinct_stable_and_in_range(client: str, count: int, size: int) -> None:
    chosen = slots_of_client(client, count, size)
    assert chosen == slots_of_client(client, count, size)
    assert len(set(chosen)) == len(chosen) == min(count, size)
    assert all(0 <= slot < size for slot in chosen)


def test_ring_needs_one_point_count_per_name() -> None:
    with pytest.raises(ValueError, match="shorter"):
        SlotRing(["a", "b"], [1])


def test_of_large_rings_only_the_last_is_kept() -> None:
    names = [
        f"10.0.{number // 250}.{number % 250}:80" for number in range(MEMBERS_OF_LARGE_RING + 1)
    ]
    ring = slot_ring(names, [1.0] * len(names))
    assert slot_ring(names, [1.0] * len(names)) is ring
    assert sorted(ring.walk(7)) == list(range(len(names)))
    small = slot_ring(names[:-1], [1.0] * (len(names) - 1))
    assert slot_ring(names, [1.0] * len(names)) is ring, "a small one takes no large one's place"
    assert sorted(small.walk(7)) == list(range(len(names) - 1))
    slot_ring(["another:80", *names], [1.0] * (len(names) + 1))
    assert slot_ring(names, [1.0] * len(names)) is not ring
