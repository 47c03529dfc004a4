"""Slot tables: virtual node (slot) -> owner, and the consistent-hash order of everybody else.

A key's slot is ``crc32(key) & (slots - 1)``. The owner of each slot is *assigned* (by the
leader of the centers, see ``center.core.assignment``); the order in which the other members
stand in for it is *hashed*, so every client computes the same backups without asking.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat
from zlib import crc32

from libevrpc.core.endpoints import Endpoint

__all__ = ["MEMBERS_MAX", "SLOTS_MAX", "SlotRing", "SlotTable", "slot_ring", "slots_of_client"]

SLOTS_MAX = 1 << 16
"""Largest slot table; one slot is two bytes of every map."""
MEMBERS_MAX = 1 << 14
"""Most members of one table; an owner is an unsigned 16-bit index."""
POINTS_PER_MEMBER = 16
"""Ring points of a member of weight 1."""
RING_WEIGHT_STEPS = 3
"""A ring weight is a power of two in 2**-3..2**3: weights that drift a little keep the ring."""
SLOTS_UNASSIGNED = 1024
"""Slots of a table that nobody assigned (no center): filled by the ring alone."""
RANKINGS_KEPT_MAX = 1024
"""Rankings remembered per table; when full, all are forgotten and walked again as asked for."""
MEMBERS_KEPT_MAX = MEMBERS_MAX
"""Members whose ring points are remembered per process, 300 bytes for each: a changed ring costs
little more than its new points. When full, all are forgotten."""
POINT_BYTES = 8
SORTED_AT_ONCE_MAX = 1 << 14
"""Points that are sorted together: as Python's numbers each takes five times its 8 bytes."""
SLOTS_PER_CHUNK = 512
"""Slots whose points are hashed together; those of all are kept, in half a megabyte."""
RINGS_KEPT_MAX = 16
"""Rings remembered per process; the least recently used one is rebuilt when asked for."""
MEMBERS_OF_LARGE_RING = 1024
"""A ring of more has half the points for each, and only LARGE_RINGS_KEPT_MAX such are kept: with
ten thousand members one takes 2 MB."""
LARGE_RINGS_KEPT_MAX = 1
_POINT_BITS = 64
_INDEX_BITS = 16
"""A point and the index of its member are sorted as one number."""


def _hashed(texts: Iterable[str]) -> array[int]:
    from hashlib import blake2b  # and OpenSSL with it: 4 MB for those alone who walk a ring

    return array(
        "Q",
        [
            int.from_bytes(blake2b(each.encode(), digest_size=POINT_BYTES).digest(), "big")
            for each in texts
        ],
    )


_points_by_name: dict[str, bytes] = {}  # each step on it is atomic: any thread


def _points_of(name: str, count: int) -> bytes:
    """Return the first points of a member, 8 bytes each: where `uhashring` puts them too."""
    points = _points_by_name.get(name, b"")
    if len(points) < POINT_BYTES * count:
        points = _hashed(f"{name}-{number}" for number in range(count)).tobytes()
        if len(_points_by_name) >= MEMBERS_KEPT_MAX:
            _points_by_name.clear()
        _points_by_name[name] = points
    return points[: POINT_BYTES * count]


@lru_cache(maxsize=SLOTS_MAX // SLOTS_PER_CHUNK)
def _points_of_slots(chunk: int) -> array[int]:
    begin = chunk * SLOTS_PER_CHUNK
    return _hashed(f"slot {begin + each}" for each in range(SLOTS_PER_CHUNK))


def _points_for(weight: float, points: int) -> int:
    if weight <= 0.0:
        step = -RING_WEIGHT_STEPS
    else:
        step = max(-RING_WEIGHT_STEPS, min(RING_WEIGHT_STEPS, round(math.log2(weight))))
    return int(points * 2.0**step)


class SlotRing:
    """Consistent-hash order of named members for each slot. Immutable, any thread.

    Weights are rounded to powers of two first, so the ring of a service changes when its
    members change, hardly ever when their load does. It is the ring of `uhashring`, in a tenth
    of its memory: its sorted points, and whose they are.
    """

    __slots__ = ("_count", "_owners", "_points")

    def __init__(self, names: Sequence[str], points: Sequence[int]) -> None:
        """Build the ring of distinct `names` with `points[i]` >= 1 points for `names[i]`."""
        self._count = len(names)
        places, owners = array("Q"), array("H")
        for index, (name, count) in enumerate(zip(names, points, strict=True)):
            places.frombytes(_points_of(name, count))
            owners.extend(repeat(index, count))
        self._points, self._owners = array("Q"), array("H")
        parts = len(places) // SORTED_AT_ONCE_MAX + 1
        for part in range(parts):
            marked = sorted(
                place << _INDEX_BITS | owner
                for place, owner in zip(places, owners, strict=True)
                if parts == 1 or place * parts >> _POINT_BITS == part
            )
            self._points.extend(each >> _INDEX_BITS for each in marked)
            self._owners.extend(each & (1 << _INDEX_BITS) - 1 for each in marked)

    def _place_of(self, slot: int) -> int:
        chunk, at = divmod(slot, SLOTS_PER_CHUNK)
        place = bisect_right(self._points, _points_of_slots(chunk)[at])
        return place if place < len(self._points) else 0

    def walk(self, slot: int) -> Iterator[int]:
        """Yield the indexes of all members, the best for `slot` first."""
        place, left = self._place_of(slot), self._count
        seen = bytearray(left)
        for owner in chain(self._owners[place:], self._owners[:place]):
            if not seen[owner]:
                seen[owner] = 1
                yield owner
                left -= 1
                if not left:
                    return

    def first(self, slot: int) -> int:
        """Return the best member for `slot` (0..SLOTS_MAX - 1); the ring must not be empty."""
        return self._owners[self._place_of(slot)]


@lru_cache(maxsize=RINGS_KEPT_MAX)
def _ring_of(names: tuple[str, ...], points: tuple[int, ...]) -> SlotRing:
    return SlotRing(names, points)


@lru_cache(maxsize=LARGE_RINGS_KEPT_MAX)
def _large_ring_of(names: tuple[str, ...], points: tuple[int, ...]) -> SlotRing:
    return SlotRing(names, points)


def slot_ring(
    names: Sequence[str], weights: Sequence[float], points: int = POINTS_PER_MEMBER
) -> SlotRing:
    """Return the ring of distinct `names` with `weights`; equal arguments share one ring.

    A member of weight 1 gets `points` >= 16 ring points, half of them in a large ring: more
    spread evenly, fewer build fast.
    """
    if len(names) <= MEMBERS_OF_LARGE_RING:
        return _ring_of(tuple(names), tuple(_points_for(weight, points) for weight in weights))
    halved = tuple(_points_for(weight, points // 2) for weight in weights)
    return _large_ring_of(tuple(names), halved)


def slots_of_client(client_id: str, count: int, slots: int) -> tuple[int, ...]:
    """Return the `count` distinct slots that belong to one client, the same on every center.

    Args:
        client_id: any text that stays the same for the life of the client.
        count: 0..slots; more are cut to `slots`.
        slots: size of the table, a power of two.
    """
    chosen: dict[int, None] = {}
    turn = 0
    while len(chosen) < min(count, slots):
        [point] = _hashed([f"{client_id} {turn}"])
        chosen[point & (slots - 1)] = None
        turn += 1
    return tuple(chosen)


class SlotTable:
    """Slot -> owner of one service, and who stands in for the owner.

    Immutable but for a cache of rankings; made to be shared by threads that hold the
    client's balancer lock, or read by one thread.
    """

    __slots__ = ("_mask", "_owners", "_rankings", "members")

    def __init__(self, members: Sequence[Endpoint], owners: bytes | None = None) -> None:
        """Hold an assigned table, or one filled by the ring where `owners` is None.

        Args:
            members: 1..MEMBERS_MAX endpoints with distinct addresses.
            owners: two bytes, little-endian, per slot: index into `members`; the number of
                slots is a power of two up to SLOTS_MAX.

        Raises:
            ValueError: `owners` does not fit these rules.
        """
        self.members = tuple(members)
        if not 0 < len(self.members) <= MEMBERS_MAX:
            raise ValueError(f"{len(self.members)} members, 1..{MEMBERS_MAX} are possible")
        if owners is None:
            owners = self._owners_by_ring()
        slots, odd = divmod(len(owners), 2)
        if odd or not 0 < slots <= SLOTS_MAX or slots & (slots - 1):
            raise ValueError(f"{len(owners)} bytes of owners are not a power of two of slots")
        self._owners = array("H", owners)
        if sys.byteorder == "big":  # pragma: no cover
            self._owners.byteswap()
        if max(self._owners) >= len(self.members):
            raise ValueError(f"owner {max(self._owners)} of {len(self.members)} members")
        self._mask = slots - 1
        self._rankings: dict[int, tuple[Endpoint, ...]] = {}

    def _owners_by_ring(self) -> bytes:
        ring = self._ring()
        return b"".join(ring.first(slot).to_bytes(2, "little") for slot in range(SLOTS_UNASSIGNED))

    def _ring(self) -> SlotRing:
        return slot_ring(
            [member.address for member in self.members],
            [member.weight for member in self.members],
        )

    def __len__(self) -> int:
        return self._mask + 1

    def slot_of(self, key: bytes | str) -> int:
        """Return the slot of `key`; text counts as its UTF-8 bytes."""
        return crc32(key.encode() if isinstance(key, str) else key) & self._mask

    def owner(self, slot: int) -> Endpoint:
        """Return the member that owns `slot` (0..len - 1)."""
        return self.members[self._owners[slot]]

    def ranking(self, slot: int) -> tuple[Endpoint, ...]:
        """Return every member once: the owner, then its stand-ins by consistent hash.

        The first call for a slot walks the ring; later ones read a cache.
        """
        ranking = self._rankings.get(slot)
        if ranking is None:
            owner = self._owners[slot]
            rest = (index for index in self._ring().walk(slot) if index != owner)
            ranking = (self.members[owner], *(self.members[index] for index in rest))
            if len(self._rankings) >= RANKINGS_KEPT_MAX:
                self._rankings.clear()
            self._rankings[slot] = ranking
        return ranking
