"""A scenario: how many of each, how the world treats them, and what goes wrong when.

All of it is drawn from one seed beforehand, as plain values: the same seed is the same
scenario, and one with fewer faults is still a scenario.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from center.sim.changes import CHANGE_SHARE, list_change
from center.sim.disk import DiskSpeed
from center.sim.faults import (
    Aim,
    ClientCrash,
    Crash,
    Cut,
    DiskTrouble,
    Fault,
    Flap,
    Isolation,
    ListChange,
    Moment,
    Mute,
    OldList,
    OtherList,
    Pause,
    ServerCrash,
    ServerLeave,
    StepCrash,
)
from center.sim.network import CALM, Weather
from center.sim.themes import (
    LEASES_SHARE,
    SILENCE_SHARE,
    THEME_SHARE,
    THEMES,
    mass_silence,
    unlike_leases,
)

__all__ = ["QUICK_S", "Hints", "Scenario", "drawn"]

CENTERS = (1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7)
"""Numbers of centers, as often as they are drawn: small clusters run fast and break as well."""
CENTERS_MAX = 7
QUICK_S = 0.35
"""A center that is back sooner may help to elect while the lease it granted still runs."""
CLOCK_OFFSET_MAX_S = 10_000.0
CLOCK_DRIFT = 0.01
OTHER_LIST_SHARE = 0.1
"""Share of the seeds in which an operator slips, where the cluster is large enough."""
SPOILT_SHARE = 0.5
"""Share of the seeds whose disks may be torn where they are wiped, or keep what they refused."""
PLANNING_S = (0.0, 0.0, 0.003, 0.3)
"""The longest a plan takes, as often as it is drawn: a few services, or thousands."""


@dataclass(frozen=True, slots=True)
class Hints:
    """How well centers hear of each other's connections.

    Attributes:
        missing: 0..1, share of the hints that never come.
        late: 0..1, share of the hints that come up to late_s later.
        late_s: see late.
    """

    missing: float = 0.0
    late: float = 0.0
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is played.

    Attributes:
        seed: drives all chance while it is played.
        centers: 1..7: the first list is 1 .. this.
        servers: how many.
        clients: how many.
        safety_s: how long faults may strike; then all is healed and must settle.
        weather: between the centers.
        hints: of their connections.
        disk: of each center.
        loss: 0..1, between centers on one side, servers and clients on the other.
        tail_s: some calls there take up to this much longer, one way.
        slots: leaders assign slots as in production; else maps have no tables.
        clocks: (rate, offset in seconds) of each center's clock.
        faults: by time.
        planning_s: the longest that a leader needs to plan a map.
        cut_off: at the end a follower is cut off and comes back.
        join: at the end a follower restarts.
        leases_s: of each center; empty: the usual one.
    """

    seed: int
    centers: int = 3
    servers: int = 0
    clients: int = 0
    safety_s: float = 3.0
    weather: Weather = CALM
    hints: Hints = field(default_factory=Hints)
    disk: DiskSpeed = field(default_factory=DiskSpeed)
    loss: float = 0.0
    tail_s: float = 0.0
    slots: bool = False
    clocks: tuple[tuple[float, float], ...] = ((1.0, 0.0),) * 7
    faults: tuple[Fault, ...] = ()
    cut_off: bool = False
    join: bool = False
    planning_s: float = 0.0
    leases_s: tuple[float, ...] = ()

    @property
    def ids(self) -> range:
        """Every center that is ever in the list."""
        changes = [each.members for each in self.faults if isinstance(each, ListChange)]
        return range(1, max(self.centers, *(max(each) for each in changes), 1) + 1)

    @property
    def may_overlap(self) -> bool:
        """Whether a follower may forget its leader within the lease, by a restart or a flap."""
        return any(
            isinstance(each, Flap)
            or (
                isinstance(each, Crash | StepCrash | OtherList | ListChange | OldList)
                and each.down_s < QUICK_S
            )
            for each in self.faults
        )


def drawn(seed: int) -> Scenario:
    """Draw the scenario of a seed."""
    scenario = _drawn(seed)
    rng = Random(f"{seed} spoilt")
    if rng.random() < SPOILT_SHARE:
        return replace(scenario, faults=tuple(_spoilt(rng, each) for each in scenario.faults))
    return scenario


def _spoilt(rng: Random, fault: Fault) -> Fault:
    """Tear a wiped disk, or let one keep what it refuses, as often as not."""
    match fault:
        case Crash(wipe=True) | StepCrash(wipe=True):
            return replace(fault, torn=rng.random() < 0.5)
        case DiskTrouble(fails=True):
            return replace(fault, lands=rng.random() < 0.5)
        case _:
            return fault


def _drawn(seed: int) -> Scenario:
    rng = Random(f"{seed} scenario")
    centers = rng.choice(CENTERS)
    whole = rng.random() < 0.3
    servers = rng.randint(1, 4) if whole else rng.choice((0, 0, 1))
    clients = rng.randint(1, 2) if whole else rng.choice((0, 1))
    safety_s = rng.uniform(3.0, 6.5) if whole else rng.uniform(1.5, 4.0)
    clocks = tuple(
        (1.0 + CLOCK_DRIFT * rng.uniform(-1, 1) * (rng.random() < 0.5), _offset_s(rng))
        for _ in range(CENTERS_MAX)
    )
    dice = _Dice(rng, centers, servers, clients, safety_s)
    scenario = Scenario(
        seed,
        centers,
        servers,
        clients,
        safety_s,
        _weather(rng),
        Hints(rng.choice((0.0, 0.0, 0.3, 1.0)), rng.choice((0.0, 0.2)), 0.4),
        DiskSpeed(rng.choice((0.0002, 0.002, 0.01)), rng.choice((0.0, 0.1)), 0.2),
        rng.choice((0.0, 0.0, 0.05)),
        rng.choice((0.0, 0.0, 0.4)),
        whole and rng.random() < 0.5,
        clocks,
        _with_slip(seed, centers, safety_s, dice.faults()),
        rng.random() < 0.2,
        rng.random() < 0.3,
        Random(f"{seed} planning").choice(PLANNING_S),
    )
    change = Random(f"{seed} change")
    if change.random() < CHANGE_SHARE:
        return list_change(
            change,
            replace(scenario, servers=max(1, servers)),
            lambda count, span_s: _Dice(change, count, servers, clients, span_s).faults(),
        )
    silence = Random(f"{seed} silence")
    if silence.random() < SILENCE_SHARE:
        return mass_silence(silence, scenario)
    leases = Random(f"{seed} leases")
    if leases.random() < LEASES_SHARE:
        return unlike_leases(leases, scenario)
    if rng.random() < THEME_SHARE:
        return rng.choice(THEMES)(rng, scenario)
    return scenario


def _with_slip(
    seed: int, centers: int, safety_s: float, faults: tuple[Fault, ...]
) -> tuple[Fault, ...]:
    """Give one center another list in some seeds; half of that one is no half of the cluster."""
    rng = Random(f"{seed} lists")
    if centers < 4 or rng.random() >= OTHER_LIST_SHARE:
        return faults
    members = rng.sample(range(1, centers + 1), rng.choice((2, 3)))
    center = members[0]
    at_s, span_s = rng.uniform(0.0, 0.5 * safety_s), rng.uniform(0.8, 2.0)
    slip = OtherList(at_s, span_s, center, tuple(sorted(members)), rng.uniform(0.36, 0.5))
    return tuple(sorted((*faults, slip), key=lambda fault: fault.at_s))


def _offset_s(rng: Random) -> float:
    return rng.uniform(0.0, CLOCK_OFFSET_MAX_S)


def _weather(rng: Random) -> Weather:
    kind = rng.random()
    if kind < 0.3:
        return CALM
    return Weather(
        delay_s=rng.choice((0.0005, 0.002, 0.01)),
        jitter_s=rng.choice((0.0005, 0.005, 0.03)),
        loss=rng.choice((0.0, 0.01, 0.05, 0.1)),
        duplicate=rng.choice((0.0, 0.02, 0.1)),
        tail=rng.choice((0.0, 0.02, 0.1)),
        tail_s=rng.choice((0.1, 0.4)),
        fifo=rng.random() < 0.5,
    )


class _Dice:
    """Draws faults; which kinds, and how many, differs from seed to seed (a swarm)."""

    def __init__(
        self, rng: Random, centers: int, servers: int, clients: int, safety_s: float
    ) -> None:
        self._rng = rng
        self._centers = centers
        self._servers = servers
        self._clients = clients
        self._safety_s = safety_s
        self._quick = rng.random() < 0.5
        self._wipes = rng.choice((0.0, 0.0, 0.2))

    def faults(self) -> tuple[Fault, ...]:
        """Return all faults of the scenario, by time."""
        rng, faults = self._rng, list[Fault]()
        kinds = [
            (self._crash, rng.choice((0, 0, 1, 3))),
            (self._step_crash, rng.choice((0, 1, 4, 8))),
            (self._pause, rng.choice((0, 0, 1, 2))),
            (self._isolation, rng.choice((0, 0, 1, 3))),
            (self._split, rng.choice((0, 0, 1))),
            (self._link_cut, rng.choice((0, 0, 1, 3))),
            (self._flap, rng.choice((0, 0, 0, 3))),
            (self._disk, rng.choice((0, 0, 1, 2))),
        ]
        for draw, count in kinds:
            if self._centers > 1 or draw not in (self._isolation, self._split, self._link_cut):
                faults += [draw() for _ in range(count)]
        if self._servers:
            faults += [self._server_fault() for _ in range(rng.choice((0, 1, 3)))]
        if self._servers + self._clients and rng.random() < 0.3:
            faults.append(self._mute())
        if self._clients:
            faults += [self._client_crash() for _ in range(rng.choice((0, 0, 1, 2)))]
        return tuple(sorted(faults, key=lambda fault: fault.at_s))

    def _at_s(self) -> float:
        return self._rng.uniform(0.0, self._safety_s)

    def _center(self) -> int:
        return self._rng.randint(1, self._centers)

    def _aim(self) -> Aim:
        return Aim(self._center(), self._rng.random() < 0.4)

    def _down_s(self) -> float:
        rng = self._rng
        return rng.uniform(0.005, 0.1) if self._quick else rng.uniform(0.36, 1.5)

    def _wipe(self) -> bool:
        return self._rng.random() < self._wipes

    def _crash(self) -> Fault:
        lands = self._rng.random() < 0.5
        return Crash(self._at_s(), self._aim(), self._down_s(), self._wipe(), lands)

    def _step_crash(self) -> Fault:
        rng = self._rng
        return StepCrash(
            self._at_s() * rng.random(),
            self._aim(),
            rng.choice(tuple(Moment)),
            rng.choice((1, 1, 1, 2, 3, 5)),
            rng.choice((0.0, 0.5, 1.0, 1.0)),
            self._down_s(),
            self._wipe(),
            rng.random() < 0.5,
        )

    def _pause(self) -> Fault:
        return Pause(self._at_s(), self._aim(), self._rng.uniform(0.2, 2.0))

    def _span_s(self) -> float:
        return self._rng.choice((0.1, 0.5, 1.0, 1.5)) * self._rng.uniform(0.5, 1.5)

    def _isolation(self) -> Fault:
        outward, inward = self._rng.choice(
            ((True, True), (True, True), (True, False), (False, True))
        )
        return Isolation(self._at_s(), self._span_s(), self._aim(), outward, inward)

    def _split(self) -> Fault:
        ids = list(range(1, self._centers + 1))
        self._rng.shuffle(ids)
        at = self._rng.randint(1, self._centers - 1)
        here, there = ids[:at], ids[at:]
        pairs = [(one, other) for one in here for other in there]
        return Cut(self._at_s(), self._span_s(), (*pairs, *((b, a) for a, b in pairs)))

    def _link_cut(self) -> Fault:
        """Cut one link or one direction of it: what is left need not be transitive."""
        one, other = self._two()
        back = ((other, one),) if self._rng.random() < 0.6 else ()
        return Cut(self._at_s(), self._span_s(), ((one, other), *back))

    def _two(self) -> tuple[int, int]:
        one, other = self._rng.sample(range(1, self._centers + 1), 2)
        return one, other

    def _flap(self) -> Fault:
        if self._centers == 1:
            return self._crash()
        return Flap(self._at_s(), self._rng.uniform(0.002, 0.1), *self._two())

    def _disk(self) -> Fault:
        rng = self._rng
        delay_s = rng.choice((0.02, 0.2, 0.6))
        return DiskTrouble(self._at_s(), self._span_s(), self._aim(), delay_s, rng.random() < 0.5)

    def _server_fault(self) -> Fault:
        rng = self._rng
        server = rng.randint(1, self._servers)
        if rng.random() < 0.3:
            return ServerLeave(self._at_s(), server, rng.uniform(0.2, 2.0))
        return ServerCrash(self._at_s(), server, rng.uniform(0.05, 4.0))

    def _mute(self) -> Fault:
        """Keep some servers and clients, or all of them, from some centers, or all."""
        rng = self._rng
        ends = [f"10.2.0.{each}:7000" for each in range(1, self._servers + 1)]
        ends += [f"client {each}" for each in range(1, self._clients + 1)]
        centers = list(range(1, self._centers + 1))
        if rng.random() < 0.5:
            ends = rng.sample(ends, rng.randint(1, len(ends)))
            centers = rng.sample(centers, rng.randint(1, len(centers)))
        span_s = rng.choice((0.5, 2.0, 4.0))
        return Mute(self._at_s() * 0.5, span_s, tuple(ends), tuple(centers))

    def _client_crash(self) -> Fault:
        rng = self._rng
        return ClientCrash(self._at_s(), rng.randint(1, self._clients), rng.uniform(0.01, 0.5))
