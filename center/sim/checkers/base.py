"""What checkers have in common: the events they may watch, and what they raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

from center.core.ballot import Stamp
from center.core.messages import Body
from center.core.record import MapRecord, Record, Voters
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable

__all__ = ["Checker", "Draft", "Plan", "Violation", "Watch"]

Plan = tuple[tuple[ServerEntry, ...], tuple[ServiceTable, ...]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A map at the moment when its leader has it planned: nothing that comes later is in it.

    Attributes:
        previous: the map that it is made from.
        map: what was planned.
        claims: its leader holds its lease.
    """

    previous: ClusterMap
    map: ClusterMap
    claims: bool

    @property
    def dropped(self) -> list[str]:
        """The addresses of the servers that it leaves out."""
        kept = {entry.address for entry in self.map.servers}
        return [entry.address for entry in self.previous.servers if entry.address not in kept]


class Violation(Exception):  # noqa: N818  it is a finding, not an error of the simulator
    """An invariant does not hold.

    Attributes:
        invariant: "I1" .. "I13", "L1" .. "L3"; "L0" for a scenario without an end, "I0" for
            an exception in production code.
        text: what was seen.
    """

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.text = text

    def __reduce__(self) -> tuple[type[Violation], tuple[str, str]]:
        """Travel between processes whole."""
        return (Violation, (self.invariant, self.text))


class Checker:
    """Watches one invariant; each method is an event, and may raise `Violation`.

    `now_s` is the virtual time, `local_s` the clock of the center concerned.
    """

    def started(self, center: int, served: Stamp) -> None:
        """A center started; from its disk it serves the map of `served`, (0, 0) for none."""

    def wrote(self, center: int, record: Record) -> None:
        """A record is durable."""

    def wiped(self, center: int) -> None:
        """A center's disk is empty."""

    def led(self, center: int, incarnation: int, epoch: int, voters: Voters, now_s: float) -> None:
        """A process with the list `voters` says that it leads."""

    def drafted(self, center: int, draft: Draft, now_s: float) -> None:
        """A leader has its next map planned; it may lead no more when the plan is there."""

    def made(self, center: int, record: MapRecord, now_s: float) -> None:
        """A map is seen for the first time."""

    def committed(self, center: int, record: MapRecord, now_s: float) -> None:
        """A center serves a map as committed from now on."""

    def said(self, center: int, voters: Voters, body: Body) -> None:
        """A center with the list `voters` sends a message to one of the others."""

    def pinged(self, center: int, epoch: int, sequence: int, local_s: float) -> None:
        """A leader sent ping `sequence` to all."""

    def asked(self, center: int, epoch: int, to: int, local_s: float, now_s: float) -> None:
        """A candidate asked `to` for a promise."""

    def acknowledged(self, center: int, epoch: int) -> None:
        """A center answers the leader of `epoch`: it follows, or it has stored a map."""

    def ponged(self, center: int, sender: int, epoch: int, sequence: int) -> None:
        """The answer of `sender` to ping `sequence` arrived at a center."""

    def promised(self, center: int, sender: int, epoch: int) -> None:
        """The promise of `sender` arrived at a center."""

    def claimed(self, center: int, epoch: int, local_s: float, now_s: float) -> None:
        """A center has its lease, and would answer as leader now."""

    def disputed(self, claimants: tuple[int, ...], now_s: float) -> None:
        """Several centers would answer as leader at once."""

    def reached(
        self, center: int, voters: Voters, sends: Set[int], hears: Set[int], now_s: float
    ) -> None:
        """From now on what a center says gets to `sends`, and what `hears` say gets to it.

        Those are others of its list `voters`. A process that is down or stands still says
        nothing, and one with another list nothing that counts.
        """

    def reported(self, address: str, session: str, epoch: int, now_s: float) -> None:
        """The report of a server reached the leader of `epoch`."""

    def departed(self, address: str, session: str, goodbye: bool) -> None:
        """A `session` of a server said goodbye, or its port refused a dial."""

    def held(self, client: str, held: ClusterMap | None, usable: ClusterMap | None) -> None:
        """A client holds another map than before."""

    def restored(self, client: str, held: ClusterMap | None) -> None:
        """A client started with what it had stored."""

    def planned(
        self,
        reign: int,
        given: tuple[ClusterMap, tuple[ServerEntry, ...], float, bool],
        plan: Plan,
    ) -> None:
        """A leader planned; `reign` tells planners apart."""

    def settled(self, living: frozenset[str], newest: MapRecord) -> None:
        """The cluster has settled over the servers `living`; `newest` is its map."""

    def ended(self) -> None:
        """The scenario is over."""


Hooks = tuple[Callable[..., None], ...]


class Watch:
    """Several checkers as one: for each event those that care about it."""

    def __init__(self, checkers: Iterable[Checker]) -> None:
        self._checkers = tuple(checkers)
        self.started = self._of("started")
        self.wrote = self._of("wrote")
        self.wiped = self._of("wiped")
        self.led = self._of("led")
        self.drafted = self._of("drafted")
        self.made = self._of("made")
        self.committed = self._of("committed")
        self.said = self._of("said")
        self.pinged = self._of("pinged")
        self.asked = self._of("asked")
        self.acknowledged = self._of("acknowledged")
        self.ponged = self._of("ponged")
        self.promised = self._of("promised")
        self.claimed = self._of("claimed")
        self.disputed = self._of("disputed")
        self.reached = self._of("reached")
        self.reported = self._of("reported")
        self.departed = self._of("departed")
        self.held = self._of("held")
        self.restored = self._of("restored")
        self.planned = self._of("planned")
        self.settled = self._of("settled")
        self.ended = self._of("ended")

    def _of(self, event: str) -> Hooks:
        plain = getattr(Checker, event)
        return tuple(
            getattr(each, event)
            for each in self._checkers
            if getattr(type(each), event) is not plain
        )
