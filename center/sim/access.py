"""The network between centers on one side, servers and clients on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from center.sim.agenda import Agenda
from center.sim.centers import CenterHost
from libevrpc.core.mapcache import Failed

__all__ = ["Access"]

DELAY_S = 0.0005
"""One way takes this long to twice this long."""
TAIL = 0.1
CONNECTION_GONE_S = 0.001
"""A broken connection is seen after this long."""

Reply = Callable[[Any], object]


class Access:
    """Carries calls to centers and their answers back.

    Attributes:
        loss: 0..1, share of the calls, and of the answers, that get lost.
        tail_s: a tenth of them takes up to this much longer.
    """

    def __init__(
        self,
        agenda: Agenda,
        hosts: Mapping[str, CenterHost],
        rng: Random,
        *,
        loss: float,
        tail_s: float,
    ) -> None:
        self.loss = loss
        self.tail_s = tail_s
        self._agenda = agenda
        self._hosts = hosts
        self._rng = rng
        self._mutes: dict[tuple[str, int], int] = {}

    def mute(self, ends: Iterable[str], centers: Iterable[int], by: int) -> None:
        """Cut (`by` 1) or uncut (`by` -1) ends from centers."""
        centers = tuple(centers)
        for end in ends:
            for center in centers:
                self._mutes[end, center] = self._mutes.get((end, center), 0) + by

    def calm_down(self) -> None:
        """Lift every cut, lose nothing from now on."""
        self._mutes.clear()
        self.loss = self.tail_s = 0.0

    def passes(self, end: str, center: int) -> bool:
        """Return whether `end` and a center can talk."""
        return self._mutes.get((end, center), 0) <= 0

    def _carries(self, end: str, center: int) -> bool:
        lost = bool(self.loss) and self._rng.random() < self.loss
        return self.passes(end, center) and not lost

    def _way_s(self) -> float:
        way_s = DELAY_S * (1.0 + self._rng.random())
        if self.tail_s and self._rng.random() < TAIL:
            way_s += self.tail_s * self._rng.random()
        return way_s

    def call(
        self, end: str, address: str, serve: Callable[[CenterHost, Reply], object], reply: Reply
    ) -> None:
        """Have the center at `address` serve a call of `end`; `reply` may never be called."""
        host = self._hosts[address]
        if self._carries(end, host.id):
            self._agenda.after(self._way_s(), self._arrive, end, host, serve, reply)

    def _arrive(
        self, end: str, host: CenterHost, serve: Callable[[CenterHost, Reply], object], reply: Reply
    ) -> None:
        def answer(given: Any) -> None:
            if self._carries(end, host.id):
                self._agenda.after(self._way_s(), reply, given)

        if host.node is None:
            answer(Failed("refused"))
        else:
            host.run_when_awake(serve, host, answer)

    def see_break(self, end: str, center: int, job: Callable[[], object]) -> None:
        """Run `job` once an end of a connection sees that the other is gone; never if muted."""
        if self.passes(end, center):
            self._agenda.after(CONNECTION_GONE_S, job)
