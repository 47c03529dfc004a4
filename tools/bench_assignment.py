"""Measure the assignment: time of a round, lookups per second, size of a map.

python tools/bench_assignment.py [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from center.core.assignment import Assigned, Member, assign, slots_for
from libevrpc.core import slots
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.slots import SlotTable

LOOKUPS = 200_000


def members_of(count: int, drift: float = 0.0) -> list[Member]:
    return [
        Member(f"10.0.{n // 250}.{n % 250}:9998", 1.0 + drift * (n % 5 - 2)) for n in range(count)
    ]


def best_ms(run: Callable[[], object], prepare: Callable[[], None], rounds: int = 5) -> float:
    best_s = float("inf")
    for _ in range(rounds):
        prepare()
        start_s = time.perf_counter()
        run()
        best_s = min(best_s, time.perf_counter() - start_s)
    return round(best_s * 1000, 2)


def measure(count: int) -> dict[str, float]:
    first = assign(None, members_of(count))
    forget = slots._ring_of.cache_clear  # noqa: SLF001 - a cold start is what is measured

    def warm() -> None:
        assign(first, members_of(count, 0.15))

    entries = tuple(ServerEntry(m.address, ("echo.EchoService",)) for m in members_of(count))
    table = ServiceTable(("echo.EchoService",), tuple(range(count)), first.owners)
    return {
        "servers": count,
        "slots": slots_for(count),
        "first_fill_ms": best_ms(lambda: assign(None, members_of(count)), forget),
        "drift_round_ms": best_ms(lambda: assign(first, members_of(count, 0.15)), warm),
        "add_ms": best_ms(lambda: assign(first, members_of(count + 1)), forget),
        "remove_ms": best_ms(lambda: assign(first, members_of(count)[1:]), forget),
        "lookups_per_s": lookups_per_s(first),
        "map_bytes": len(ClusterMap("c" * 32, 1, 1, entries, (table,)).encode()),
    }


def lookups_per_s(assigned: Assigned) -> int:
    table = SlotTable([parse_endpoint(text) for text in assigned.addresses], assigned.owners)
    keys = [f"key {number}".encode() for number in range(LOOKUPS)]
    slot_of, owner = table.slot_of, table.owner
    start_s = time.perf_counter()
    for key in keys:
        owner(slot_of(key))
    return round(LOOKUPS / (time.perf_counter() - start_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    as_json = parser.parse_args().json
    results = [measure(count) for count in (10, 100, 1000)]
    if as_json:
        print(json.dumps(results))
        return
    for result in results:
        print("  ".join(f"{name}={value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
