"""Scenarios in which the centers list changes: which lists, and what goes wrong around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from center.core.quorum import majority
from center.sim.disk import DiskSpeed
from center.sim.faults import (
    Aim,
    Crash,
    Cut,
    DiskTrouble,
    Fault,
    ListChange,
    Mute,
    OldList,
    ServerCrash,
    ServerLeave,
)
from center.sim.spans import LEARN_S

if TYPE_CHECKING:
    from center.sim.scenario import Scenario

__all__ = ["CHANGE_SHARE", "list_change"]

CHANGE_SHARE = 0.1
"""Share of the seeds in which the list changes."""
KEPT = 0.5
"""Share of the drawn faults that strike all the same: a change must get somewhere."""
RETURN_SHARE = 0.15
"""Share of the changes that lead back to the list that was there before."""
RETURN_S = 2.0
"""A change to a list that was given up has so much more time."""
NEWS_S = 0.25
BEGUN_S = 0.8
"""By now the centers have booted, elected and published."""

Lists = tuple[tuple[int, ...], ...]


def _replaced(rng: Random) -> Lists:
    """One center in place of another; then perhaps another one still."""
    count = rng.choice((3, 3, 3, 4, 5))
    lists = [tuple(range(1, count + 1))]
    for each in range(count + 1, count + 1 + rng.choice((1, 1, 2))):
        out = rng.choice(lists[-1])
        lists.append((*(kept for kept in lists[-1] if kept != out), each))
    return tuple(lists)


def _grown(rng: Random) -> Lists:
    """Three to five, and perhaps back to any three of them."""
    lists: Lists = ((1, 2, 3), (1, 2, 3, 4, 5))
    if rng.random() < 0.4:
        lists = (*lists, tuple(sorted(rng.sample(range(1, 6), 3))))
    return lists


def _shrunk(rng: Random) -> Lists:
    """Five to three."""
    return ((1, 2, 3, 4, 5), tuple(sorted(rng.sample(range(1, 6), 3))))


def _returned(rng: Random) -> Lists:
    """Away from a list, and back to the same one: who left comes back."""
    if rng.random() < 0.7:
        three = tuple(sorted(rng.sample(range(1, 6), 3)))
        return ((1, 2, 3, 4, 5), three, (1, 2, 3, 4, 5))
    out = rng.choice((1, 2, 3))
    return ((1, 2, 3), (*(each for each in (1, 2, 3) if each != out), 4), (1, 2, 3))


def _from_one(rng: Random) -> Lists:
    """One to three, and perhaps to five."""
    lists: Lists = ((1,), (1, 2, 3))
    return (*lists, (1, 2, 3, 4, 5)) if rng.random() < 0.3 else lists


def _one_by_one(rng: Random) -> Lists:
    """Three to four, and perhaps to another three."""
    lists: Lists = ((1, 2, 3), (1, 2, 3, 4))
    if rng.random() < 0.6:
        lists = (*lists, tuple(sorted(rng.sample(range(1, 5), 3))))
    return lists


def _renewed(rng: Random) -> Lists:
    """Until none is left of those that were there at first."""
    return ((1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 6))


PATHS: tuple[Callable[[Random], Lists], ...] = (
    _replaced,
    _replaced,
    _replaced,
    _grown,
    _grown,
    _shrunk,
    _shrunk,
    _shrunk,
    _from_one,
    _from_one,
    _one_by_one,
    _renewed,
)


def list_change(
    rng: Random, scenario: Scenario, faults_of: Callable[[int, float], tuple[Fault, ...]]
) -> Scenario:
    """Change the list in a drawn scenario.

    `faults_of` draws faults for so many centers and so long a time.
    """
    lists = rng.choice(PATHS)(rng)
    back = Random(f"{scenario.seed} return")
    if back.random() < RETURN_SHARE:
        lists = _returned(back)
    count = max(max(each) for each in lists)
    safety_s = rng.uniform(2.0, 3.0) + 1.2 * (len(lists) - 1)
    renewed = set(lists[0]).isdisjoint(lists[-1])
    faults: list[Fault] = []
    if rng.random() < 0.7:
        faults += [each for each in faults_of(count, safety_s) if rng.random() < KEPT]
    quick = rng.random() < 0.3
    back_s = rng.choice((0.0, 0.0, 0.1))
    at_s = rng.uniform(BEGUN_S, BEGUN_S + 0.7)
    for before, members in pairwise(lists):
        down_s = rng.uniform(0.02, 0.1) if quick else rng.uniform(0.36, 0.45)
        again = members in lists[: lists.index(before)]
        forgets = again and back.random() < 0.6
        apart_s = 1.0 if forgets and back.random() < 0.7 else 0.0
        faults.append(ListChange(at_s, members, down_s, back_s, forgets, apart_s))
    if lists[-1] in lists[:-1]:
        safety_s += RETURN_S
        # news for the map all the time: who missed some of it must not be believed
        steps = int((safety_s - at_s) / NEWS_S)
        faults += [ServerLeave(at_s + NEWS_S * step, 1, NEWS_S / 3) for step in range(1, steps)]
    elif rng.random() < 0.5:
        faults += _laggard(rng, lists, at_s)
    if rng.random() < 0.5:
        faults.append(_set_back(rng, lists, at_s, safety_s, quick=quick))
    if renewed:
        # Who is cut off for as long as it takes until nobody is left that he knew stays cut off.
        faults = [each for each in faults if not isinstance(each, Mute)]
        scenario = replace(scenario, loss=0.0, tail_s=0.0)
        safety_s += LEARN_S
    return replace(
        scenario,
        centers=len(lists[0]),
        safety_s=safety_s,
        disk=DiskSpeed(min(scenario.disk.delay_s, 0.002), scenario.disk.tail, 0.2),
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
    )


def _laggard(rng: Random, lists: Lists, at_s: float) -> list[Fault]:
    """Let some that stay fall behind just then, and perhaps one of the others die."""
    staying = [each for each in lists[0] if each in lists[1]]
    late = rng.sample(staying, rng.randint(1, max(1, len(staying) - 1)))
    others = [each for each in lists[0] if each not in late]
    keeping = [each for each in staying if each not in late]
    late_s = at_s + 0.001
    # news for the map while some lag
    faults: list[Fault] = [
        ServerLeave(at_s + rng.uniform(0.002, 0.03), 1, 0.3),
        ServerCrash(at_s + rng.uniform(0.1, 0.6), 1, 0.1),
    ]
    unheard = tuple((other, each) for other in others for each in late)
    if unheard and rng.random() < 0.6:
        faults.append(Cut(late_s, rng.choice((0.5, 2.0)), unheard))
    else:
        fails = rng.random() < 0.3
        faults += [DiskTrouble(late_s, 1.0, Aim(each), 0.4, fails) for each in late]
    if keeping and rng.random() < 0.4:
        faults.append(Crash(at_s + rng.uniform(0.0, 1.0), Aim(rng.choice(keeping)), 1.5))
    return faults


def _set_back(rng: Random, lists: Lists, at_s: float, safety_s: float, *, quick: bool) -> OldList:
    """Give a quorum of the old list that list back, while or after it changes."""
    changed = rng.randrange(1, len(lists))
    old, new = lists[changed - 1], lists[changed]
    staying = [each for each in old if each in new]
    least = min(majority(len(old)), len(staying))
    centers = rng.sample(staying, rng.randint(least, len(staying)))
    begin_s = rng.uniform(at_s + 0.5, safety_s - 0.5)
    down_s = rng.uniform(0.02, 0.1) if quick else rng.uniform(0.36, 0.45)
    return OldList(begin_s, rng.uniform(0.8, 1.5), tuple(sorted(centers)), down_s)
