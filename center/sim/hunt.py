"""Hunts mutations: which seed shows that something is missing, and by which invariant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from center.sim.mutations import MUTATIONS, applied
from center.sim.play import Outcome, play_seed

__all__ = ["Find", "finds", "first_find", "table"]


@dataclass(frozen=True, slots=True)
class Find:
    """How the hunt for one mutation ended.

    Attributes:
        name, what: of the mutation.
        outcome: of the first seed that shows it; None: no seed does.
    """

    name: str
    what: str
    outcome: Outcome | None


def first_find(index: int, seeds: Iterable[int]) -> Find:
    """Play `seeds` with the mutation of `index` until one goes wrong."""
    mutation = MUTATIONS[index]
    with applied(mutation):
        for seed in seeds:
            outcome = play_seed(seed)
            if outcome.violation is not None:
                return Find(mutation.name, mutation.what, outcome)
    return Find(mutation.name, mutation.what, None)


def finds(seeds: range, jobs: int) -> Iterator[Find]:
    """Yield the find of every mutation, in their order."""
    indexes = range(len(MUTATIONS))
    if jobs == 1:
        yield from map(first_find, indexes, repeat(seeds))
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(first_find, indexes, repeat(seeds))


def table(found: Iterable[Find]) -> Iterator[str]:
    """Yield the lines of a table: mutation, first seed, invariant, what is missing."""
    yield f"{'mutation':34} {'seed':>5} {'by':>4}  what is taken away"
    for find in found:
        seed, invariant = "-", "-"
        if find.outcome is not None and find.outcome.violation is not None:
            seed, invariant = str(find.outcome.seed), find.outcome.violation.invariant
        yield f"{find.name:34} {seed:>5} {invariant:>4}  {find.what}"
