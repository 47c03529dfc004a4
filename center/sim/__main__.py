"""`python -m center.sim`: play scenarios, each drawn from its seed; 1 if any went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from statistics import median

from center.sim.hunt import Find, finds, table
from center.sim.play import Outcome, play, play_seed
from center.sim.scenario import drawn
from center.sim.shrink import shrunk, source
from center.sim.trace import Trace
from libevrpc.clock import monotonic_s

__all__ = ["main"]

CHUNK = 20
"""Seeds that one process plays before it reports."""
SHOWN_MAX = 20
"""Failing seeds printed."""


def main(arguments: list[str] | None = None) -> int:
    """Play what the arguments ask for; returns 1 if a scenario went wrong."""
    parser = argparse.ArgumentParser(prog="python -m center.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many (200)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="only this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    parser.add_argument(
        "--shrink",
        action="store_true",
        help="with --seed: leave out the faults that it fails without, print what remains",
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="take checks and writes away, one at a time: a seed must notice each",
    )
    given = parser.parse_args(arguments)
    if given.mutants:
        return hunt(range(given.first, given.first + given.seeds), given.jobs)
    if given.seed is not None and given.shrink:
        return shrink_one(given.seed, traced=given.trace)
    if given.seed is not None:
        return play_one(given.seed, traced=given.trace)
    return play_many(range(given.first, given.first + given.seeds), given.jobs)


def play_one(seed: int, *, traced: bool) -> int:
    """Play one seed, with its trace if wanted; returns 1 if it went wrong."""
    trace = Trace() if traced else None
    outcome = play_seed(seed, trace)
    if trace is not None:
        for line in trace.lines:
            print(line)
    print(verdict(outcome))
    return 1 if outcome.violation is not None else 0


def shrink_one(seed: int, *, traced: bool) -> int:
    """Shrink a seed that goes wrong and print it as Python; returns 1 if it does."""
    whole = drawn(seed)
    small = shrunk(whole)
    trace = Trace() if traced else None
    outcome = play(small, trace)
    if trace is not None:
        for line in trace.lines:
            print(line)
    print(verdict(outcome))
    if outcome.violation is None:
        return 0
    print(f"{len(small.faults)} of {len(whole.faults)} faults are needed:\n{source(small)}")
    return 1


def play_many(seeds: range, jobs: int) -> int:
    """Play seeds in several processes; returns 1 if any went wrong."""
    began_s = monotonic_s()
    wrong: list[Outcome] = []
    led_s: list[float] = []
    for outcome in outcomes(seeds, jobs):
        if outcome.led_s is not None:
            led_s.append(outcome.led_s)
        if outcome.violation is not None:
            wrong.append(outcome)
            if len(wrong) <= SHOWN_MAX:
                print(verdict(outcome), flush=True)
    span_s = monotonic_s() - began_s
    healed = f", led {median(led_s):.2f} s after healing" if led_s else ""
    print(
        f"{len(seeds)} seeds from {seeds.start}: {len(wrong)} violations,"
        f" {len(seeds) / span_s:.0f} scenarios/s{healed} (median)"
    )
    if wrong:
        print(f"to make it small: python -m center.sim --seed {wrong[0].seed} --shrink")
    return 1 if wrong else 0


def hunt(seeds: range, jobs: int) -> int:
    """Look for each mutation in `seeds`, print a table; returns 1 if one stays unseen."""
    found = []

    def kept() -> Iterator[Find]:
        for find in finds(seeds, jobs):
            found.append(find)
            yield find

    for line in table(kept()):
        print(line, flush=True)
    unseen = sum(find.outcome is None for find in found)
    print(f"{len(found)} mutations, {unseen} unseen by {len(seeds)} seeds from {seeds.start}")
    return 1 if unseen else 0


def outcomes(seeds: range, jobs: int) -> Iterator[Outcome]:
    """Yield the outcome of every seed, in order."""
    if jobs == 1:
        yield from map(play_seed, seeds)
        return
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        yield from chain.from_iterable(pool.map(play_chunk, chunks))


def play_chunk(seeds: Iterable[int]) -> list[Outcome]:
    """Play some seeds. In a process of its own."""
    return [play_seed(seed) for seed in seeds]


def verdict(outcome: Outcome) -> str:
    """Say in one line how a seed went."""
    if outcome.violation is None:
        return f"seed {outcome.seed}: every invariant holds"
    return f"seed {outcome.seed}: {outcome.violation}"


if __name__ == "__main__":
    sys.exit(main())
