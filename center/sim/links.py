"""Connections between centers as ZeroMQ tells of them: late, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from center.core.events import LinkDown, LinkUp
from center.sim.centers import CenterHost
from center.sim.network import Network
from center.sim.scenario import Hints
from center.sim.stage import Stage

__all__ = ["Links"]

PROCESS_GONE_S = 0.001
"""The kernel closes a dead process's connections; the others see it after this long."""
CONNECT_S = 0.002
"""A new connection stands after this long."""
SILENCE_MARGIN = 1.05
"""A cut connection closes once it was silent for its center's lease times this, or later."""


class Links:
    """Tells nodes that a connection has come or gone.

    What it tells about one pair keeps its order: news of a connection that has changed
    since is not told any more.
    """

    def __init__(
        self, stage: Stage, hosts: Mapping[int, CenterHost], network: Network, hints: Hints
    ) -> None:
        self._stage = stage
        self._hosts = hosts
        self._network = network
        self._rng = Random(f"{stage.scenario.seed} links")
        self._turns: dict[frozenset[int], int] = {}
        self.hints = hints

    def _others(self, center: int) -> list[int]:
        return [each for each in self._hosts if each != center]

    def _turn(self, one: int, other: int) -> int:
        pair = frozenset((one, other))
        turn = self._turns[pair] = self._turns.get(pair, 0) + 1
        return turn

    def _tell(self, one: int, other: int, event: LinkUp | LinkDown, within_s: float) -> None:
        """Tell `one` of its connection to `other`, if the hint is not the one that is missing."""
        hints, rng = self.hints, self._rng
        if hints.missing and rng.random() < hints.missing:
            return
        if hints.late and rng.random() < hints.late:
            within_s += hints.late_s * rng.random()
        turn = self._turns[frozenset((one, other))]
        self._stage.agenda.after(within_s, self._arrive, one, other, event, turn)

    def _arrive(self, one: int, other: int, event: LinkUp | LinkDown, turn: int) -> None:
        if self._turns[frozenset((one, other))] == turn:
            host = self._hosts[one]
            if host.node is not None:
                self._stage.note(host.name, f"~ {type(event).__name__} {other}")
            host.feed(event)

    def died(self, center: int) -> None:
        """The process of a center is gone."""
        for other in self._others(center):
            self._turn(center, other)
            if self._network.open(center, other):
                self._tell(other, center, LinkDown(center), PROCESS_GONE_S)

    def born(self, center: int) -> None:
        """The process of a center is there."""
        for other in self._others(center):
            self._join(center, other)

    def _join(self, one: int, other: int) -> None:
        self._turn(one, other)
        both = self._hosts[one].node is not None and self._hosts[other].node is not None
        if both and self._network.open(one, other):
            self._tell(one, other, LinkUp(other), CONNECT_S)
            self._tell(other, one, LinkUp(one), CONNECT_S)

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The network between pairs of centers no longer carries everything."""
        for one, other in sorted({(min(pair), max(pair)) for pair in pairs}):
            self._turn(one, other)
            for here, there in ((one, other), (other, one)):
                timing = self._stage.timing_of(here)
                silence_s = timing.lease_s * SILENCE_MARGIN
                beat_s = timing.heartbeat_s * self._rng.random()
                self._tell(here, there, LinkDown(there), silence_s + beat_s)

    def healed(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The network between pairs of centers works again."""
        for one, other in sorted({(min(pair), max(pair)) for pair in pairs}):
            if self._network.open(one, other):
                self._join(one, other)

    def flap(self, one: int, other: int, span_s: float) -> None:
        """A connection breaks, and stands again after `span_s`."""
        self._turn(one, other)
        self._tell(one, other, LinkDown(other), PROCESS_GONE_S)
        self._tell(other, one, LinkDown(one), PROCESS_GONE_S)
        self._stage.agenda.after(span_s, self._join, one, other)
