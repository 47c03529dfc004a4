"""What a center answers to servers and clients, as `center.service` does in production."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from center.core.ballot import NO_STAMP, Stamp
from center.core.events import ServerGoodbye, ServerReport
from center.core.messages import Report
from center.sim.stage import SERVICE, Stage
from libevrpc.core.mapcache import Answer, Failed, MapAnswer, NotReady
from libevrpc.core.reporting import Accepted, ReportAnswer

if TYPE_CHECKING:
    from center.sim.centers import CenterHost

__all__ = ["Desk"]

LEADERLESS_S = 1.0
"""A center without a leader for this long sends those who wait to other centers."""


@dataclass(frozen=True, slots=True, eq=False)
class _Poll:
    stamp: Stamp
    reply: Callable[[Answer], object]


class Desk:
    """Answers in the name of one center, from its front.

    Attributes:
        connected: what to call when the center's process dies, by server address.
    """

    def __init__(self, host: CenterHost, stage: Stage) -> None:
        self.connected: dict[str, Callable[[], object]] = {}
        self._host = host
        self._stage = stage
        self._polls: dict[_Poll, None] = {}
        self._leaderless_s: float | None = None

    def close(self) -> None:
        """The process has died: every connection breaks."""
        polls, self._polls = self._polls, {}
        connected, self.connected = self.connected, {}
        self._leaderless_s = None
        for poll in polls:
            poll.reply(Failed("connection closed"))
        for broken in connected.values():
            broken()

    # Servers --------------------------------------------------------------------------------

    def places(self, address: str, reply: Callable[[ReportAnswer], object]) -> None:
        """Say where to report."""
        front = self._host.front
        if front.led:
            reply(Accepted(tuple(front.places(address))))
        else:
            reply(NotReady(tuple(front.centers)))

    def report(
        self,
        report: Report,
        broken: Callable[[], object],
        reply: Callable[[ReportAnswer], object],
    ) -> None:
        """Take a report; `broken` is called if this center dies before the server does."""
        front = self._host.front
        if not front.led:
            reply(NotReady(tuple(front.centers)))
            return
        self.connected[report.address] = broken
        places = tuple(front.places(report.address))
        self._host.feed(ServerReport(report))
        reply(Accepted(places))

    def goodbye(self, address: str, session: str, reply: Callable[[ReportAnswer], object]) -> None:
        """Take a goodbye."""
        front = self._host.front
        if not front.led:
            reply(NotReady(tuple(front.centers)))
            return
        self._host.feed(ServerGoodbye(address, session))
        reply(Accepted())

    # Clients --------------------------------------------------------------------------------

    def pull(
        self, cluster_id: str, stamp: Stamp, wait_s: float, reply: Callable[[Answer], object]
    ) -> None:
        """Answer with a newer map, now or when there is one."""
        front = self._host.front
        if front.map is not None and front.map.cluster_id != cluster_id:
            stamp = NO_STAMP
        if not wait_s or not front.led or front.map is None or front.stamp > stamp:
            reply(self._answer(stamp))
            return
        poll = _Poll(stamp, reply)
        self._polls[poll] = None
        self._stage.agenda.after(wait_s, self._end, poll)

    def _answer(self, stamp: Stamp) -> Answer:
        front = self._host.front
        centers = tuple(front.centers)
        if front.map is not None and front.stamp > stamp:
            return MapAnswer(front.map.part(SERVICE), centers, stale=not front.led)
        if not front.led or front.map is None:
            return NotReady(centers)
        return MapAnswer(None, centers)

    def _end(self, poll: _Poll) -> None:
        """Answer a poll, whatever there is to say; once."""
        if poll in self._polls:
            del self._polls[poll]
            poll.reply(self._answer(poll.stamp))

    def look(self) -> None:
        """The front has changed: answer those who waited for it."""
        front = self._host.front
        for poll in [each for each in self._polls if front.stamp > each.stamp]:
            self._end(poll)
        if front.led:
            self._leaderless_s = None
        elif self._leaderless_s is None:
            began_s = self._leaderless_s = self._stage.now_s
            self._stage.agenda.after(LEADERLESS_S, self._give_up, began_s)

    def _give_up(self, began_s: float) -> None:
        if self._leaderless_s == began_s:
            self._leaderless_s = None
            for poll in list(self._polls):
                self._end(poll)
