"""Faults that belong together: rare sequences which chance alone would take too long to find.

Each theme changes a drawn scenario; what it aims at need not happen in each of its seeds.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from center.sim.disk import DiskSpeed
from center.sim.faults import (
    Aim,
    Crash,
    Cut,
    Fault,
    Isolation,
    Moment,
    Mute,
    ServerLeave,
    StepCrash,
)
from center.sim.network import CALM, Weather

if TYPE_CHECKING:
    from center.sim.scenario import Scenario

__all__ = [
    "LEASES_SHARE",
    "SILENCE_SHARE",
    "THEMES",
    "THEME_SHARE",
    "mass_silence",
    "unlike_leases",
]

THEME_SHARE = 0.1
"""Share of the seeds that have a theme."""
SILENCE_SHARE = 0.02
"""Share of the seeds in which most servers fall silent together."""
LEASES_SHARE = 0.02
"""Share of the seeds in which every center has another lease."""
LEASES_S = (0.2, 0.3, 0.6)
SILENT_SERVERS = 5
AWAKE_S = 0.9
"""By now the centers have booted, elected and published."""


def _by_time(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def amnesia(rng: Random, scenario: Scenario) -> Scenario:
    """A follower loses its memory, and its process again before it has caught up.

    Meanwhile the leader dies; the third center, out of its sight, lacks the newest map.
    """
    leader, wiped, third = rng.sample((1, 2, 3), 3)
    began_s = AWAKE_S + rng.uniform(0.0, 0.5)
    lost_s = began_s + rng.uniform(0.1, 0.3)
    back_s = lost_s + 0.02
    faults: list[Fault] = [
        Cut(began_s, 1.0, ((leader, third), (third, leader))),
        ServerLeave(began_s + 0.02, 1, 0.05),
        Crash(lost_s, Aim(wiped), 0.02, wipe=True),
        StepCrash(back_s + 0.001, Aim(wiped), Moment.DURABLE, 1, 0.0, 0.03),
        Crash(back_s + rng.uniform(0.02, 0.06), Aim(leader), 1.2, lands=True),
    ]
    return replace(
        scenario,
        centers=3,
        servers=2,
        safety_s=3.0,
        weather=CALM,
        loss=0.0,
        faults=_by_time(faults),
    )


def late_judge(rng: Random, scenario: Scenario) -> Scenario:
    """A leader dies the moment a silent server is to expire; promises to the next come late."""
    silent_s = AWAKE_S + rng.uniform(0.0, 0.3)
    judged_s = silent_s + rng.uniform(2.0, 3.0)
    faults: list[Fault] = [
        Mute(silent_s, 5.0, ("10.2.0.1:7000",), (1, 2, 3)),
        StepCrash(judged_s, Aim(1, leader=True), Moment.PERSIST, 1, 0.0, 1.5),
    ]
    return replace(
        scenario,
        centers=3,
        servers=2,
        safety_s=5.5,
        weather=Weather(0.08, 0.005),
        hints=replace(scenario.hints, missing=1.0),
        disk=DiskSpeed(0.1),
        loss=0.0,
        slots=False,
        faults=_by_time(faults),
    )


def divided_loyalty(rng: Random, scenario: Scenario) -> Scenario:
    """A follower forgets its leader, and elects another one whom the first cannot see."""
    leader, third, follower = rng.sample((1, 2, 3), 3)
    at_s = AWAKE_S + rng.uniform(0.0, 0.5)
    faults: list[Fault] = [
        Cut(at_s, 1.5, ((leader, third), (third, leader))),
        Crash(at_s + rng.uniform(0.5, 0.8), Aim(follower), 0.01, lands=True),
    ]
    return replace(
        scenario, centers=3, safety_s=3.0, weather=CALM, slots=False, faults=_by_time(faults)
    )


def rivals(rng: Random, scenario: Scenario) -> Scenario:
    """Votes and promises cross: leaders come and go in weather that delays everything."""
    span_s = 3.0
    faults: list[Fault] = []
    for _ in range(6):
        at_s = rng.uniform(0.1, span_s)
        moment = rng.choice((Moment.STEP, Moment.DURABLE, Moment.PERSIST))
        faults.append(StepCrash(at_s, Aim(1, leader=True), moment, 1, rng.random(), 0.02))
        ways = rng.choice(((True, True), (True, False), (False, True)))
        aim = Aim(rng.randint(1, 4), leader=rng.random() < 0.5)
        faults.append(Isolation(rng.uniform(0.1, span_s), rng.uniform(0.1, 0.7), aim, *ways))
    weather = Weather(0.002, 0.03, 0.05, 0.05, 0.15, rng.choice((0.1, 0.4)), fifo=False)
    return replace(
        scenario,
        centers=rng.choice((4, 5)),
        servers=0,
        clients=0,
        safety_s=span_s,
        weather=weather,
        disk=DiskSpeed(0.0005, 0.2, 0.2),
        slots=False,
        faults=_by_time(faults),
    )


def mass_silence(rng: Random, scenario: Scenario) -> Scenario:
    """Most servers fall silent at once, for longer than one of them alone would be kept."""
    ends = [f"10.2.0.{each}:7000" for each in range(1, SILENT_SERVERS + 1)]
    silent = rng.sample(ends, rng.randint(3, SILENT_SERVERS - 1))
    silence = Mute(AWAKE_S + rng.uniform(0.0, 1.0), 4.5, tuple(silent), (1, 2, 3))
    leader_dies = Crash(silence.at_s + rng.uniform(0.0, 4.0), Aim(1, leader=True), 0.4)
    return replace(
        scenario,
        centers=3,
        servers=SILENT_SERVERS,
        clients=1,
        safety_s=6.0,
        weather=CALM,
        loss=0.0,
        faults=(silence, leader_dies) if rng.random() < 0.3 else (silence,),
    )


def unlike_leases(rng: Random, scenario: Scenario) -> Scenario:
    """Every center has another lease, and the leader is cut off from the others."""
    at_s, span_s = AWAKE_S + rng.uniform(0.0, 0.5), rng.uniform(0.8, 1.5)
    return replace(
        scenario,
        centers=3,
        safety_s=3.0,
        weather=CALM,
        loss=0.0,
        leases_s=tuple(rng.sample(LEASES_S, 3)),
        faults=(Isolation(at_s, span_s, Aim(1, leader=True), outward=True, inward=True),),
    )


THEMES = (amnesia, divided_loyalty, late_judge, rivals)
