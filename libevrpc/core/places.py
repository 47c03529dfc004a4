"""Where a server reports to: an owner and its successors, on a hash ring over the living centers.

Pure: whoever knows the same centers names the same places.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from uhashring import HashRing

__all__ = ["places_of"]

PLACES = 3
"""Centers named for a server: the owner and its successors."""
RINGS_KEPT_MAX = 8


@lru_cache(maxsize=RINGS_KEPT_MAX)
def _ring_of(centers: tuple[int, ...]) -> tuple[Any, list[int], list[tuple[int, ...]]]:
    """Return the hash of the ring over `centers`, its points, and the places at each point."""
    id_of = {f"center {center}": center for center in centers}
    ring = HashRing(list(id_of))
    points = ring.get_points()
    order = dict.fromkeys(centers)
    places: list[tuple[int, ...]] = []
    for _, name in reversed(points + points):  # the first time round finds the order of the rest
        owner = id_of[name]
        del order[owner]
        order = {owner: None, **order}
        places.append(tuple(order)[:PLACES])
    return ring.hashi, [point for point, _ in points], places[: len(points) - 1 : -1]


def places_of(address: str, centers: Iterable[int]) -> tuple[int, ...]:
    """Return the ids of the centers that the server at `address` reports to, owner first.

    Args:
        address: the server's advertised address.
        centers: ids of the live centers in the committed map, in any order.
    """
    ids = tuple(sorted(set(centers)))
    if not ids:
        return ()
    hash_of, points, places = _ring_of(ids)
    return places[bisect_right(points, hash_of(address)) % len(points)]
