"""Reports of a server to its centers: to which one, when, and what if it does not answer.

Pure: answers and `now_s` in, actions out; driven by a thread of the server and by the
simulator. The seed's steps: any center says where to report (`places`: an owner and two
successors on a hash ring over the centers of the *committed* map, so all say the same); the
answer is kept in memory and on disk; the report goes out each second and is the registration
at the same time: a center that does not know the server learns of it by any report.

The owner gets the reports. When it fails, its successors do at once, then every center on the
list, then back-off and round again, for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import msgpack

from libevrpc.core.backoff import Backoff, Randomness
from libevrpc.core.centerlist import CenterList
from libevrpc.core.mapcache import CENTER_BACKOFF, Failed, Note, NotReady, PersistRecord

__all__ = [
    "Accepted",
    "AskPlaces",
    "GoodbyeDone",
    "Registered",
    "ReportAction",
    "ReportAnswer",
    "ReportPolicy",
    "Reporter",
    "SendGoodbye",
    "SendReport",
    "Unregistered",
]

NEVER_S = float("inf")
RECORD_FORMAT = 1
UNSEEN_S = 0.1
"""A server that is not in the map yet reports again after this, then after a span that doubles."""
UNSEEN_DOUBLINGS_MAX = 20
GOODBYE_TRIES_MAX = 3
"""Centers that are told goodbye before the server leaves anyway; expiry does the rest."""


@dataclass(frozen=True, slots=True)
class ReportPolicy:
    """When a server reports. Immutable, any thread.

    Attributes:
        period_s: from one report to the next.
        timeout_s: a center that has not answered by then has failed.
        avoid_s: an owner that failed gets no reports for this long, unless it is all there is.
        lost_after_s: without an accepted report for this long the server counts as lost, since
            centers drop who is silent; an election is shorter. So it does where reports are
            accepted for this long and the map is without it.
    """

    period_s: float = 1.0
    timeout_s: float = 1.0
    avoid_s: float = 10.0
    lost_after_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The center took it; `places` are addresses of where to report, owner first.

    No places: no news, or the center cannot tell. `epoch` is that of its map; `in_map`: that map
    has the server.
    """

    places: tuple[str, ...] = ()
    epoch: int = 0
    in_map: bool = True


ReportAnswer = Accepted | NotReady | Failed


@dataclass(frozen=True, slots=True)
class AskPlaces:
    """Ask `center` where to report; the answer goes to `Reporter.answered`."""

    number: int
    center: str


@dataclass(frozen=True, slots=True)
class SendReport:
    """Send the newest report to `center`; the answer goes to `Reporter.answered`.

    The driver reads the load at this moment: reports are never queued.
    """

    number: int
    center: str


@dataclass(frozen=True, slots=True)
class SendGoodbye:
    """Tell `center` that this server takes no more calls; answer as to a report."""

    number: int
    center: str


@dataclass(frozen=True, slots=True)
class GoodbyeDone:
    """The server may leave; `heard` says whether a center took the goodbye."""

    heard: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """Clients can find the server, and could not before: once per change."""

    center: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Clients cannot find the server: once after a registration, and once per kind of reason.

    No center takes its reports, or the one that does serves no map with it.

    Attributes:
        lost: it was registered before.
        centers: who was asked.
        reason: what they said, each in its words.
    """

    lost: bool
    centers: tuple[str, ...]
    reason: str


ReportAction = (
    AskPlaces
    | SendReport
    | SendGoodbye
    | GoodbyeDone
    | Registered
    | Unregistered
    | PersistRecord
    | Note
)


@dataclass(slots=True)
class _Ask:
    number: int
    center: str
    deadline_s: float


class Reporter:
    """Where and when one server reports. One thread, or under one lock.

    Call `start` once, `answered` with every answer, `tick` at `next_deadline_s`, `goodbye`
    at the end; carry out the returned actions in their order.

    Attributes:
        registered: the last report was accepted, by a center whose map has the server.
    """

    def __init__(
        self,
        centers: Sequence[str],
        rng: Randomness,
        policy: ReportPolicy | None = None,
        record: bytes | None = None,
    ) -> None:
        """Begin with what was stored.

        Args:
            centers: configured addresses, in order.
            rng: jitter of the back-off.
            policy: see `ReportPolicy`.
            record: the last PersistRecord of an earlier process; an unreadable one is as
                good as none.

        Raises:
            ConfigError: neither configured nor stored centers.
        """
        self._policy = policy or ReportPolicy()
        self._notes: list[ReportAction] = []
        self.centers = CenterList(centers, self._restore(record))
        self.registered = False
        self._backoff = Backoff(CENTER_BACKOFF, rng)
        self._numbers = 0
        self._ask: _Ask | None = None
        self._due_s = NEVER_S
        self._last_s = -NEVER_S
        self._accepted_s = -NEVER_S
        self._unseen = 0
        self._unseen_s = NEVER_S
        self._said: dict[str, ReportAnswer] = {}
        self._told: set[type] = set()
        self._failed_at_s: dict[str, float] = {}
        self._failures = 0
        self._asking = not self.centers.named
        self._goodbyes = 0
        self._leaving = False

    def start(self, now_s: float) -> list[ReportAction]:
        """Report at once: to the remembered owner, or ask who it is."""
        actions, self._notes = self._notes, []
        self._due_s = now_s
        return actions + self.tick(now_s)

    def next_deadline_s(self) -> float:
        """When to call `tick` next; infinity before `start` and after the goodbye."""
        return self._ask.deadline_s if self._ask else self._due_s

    def tick(self, now_s: float) -> list[ReportAction]:
        """Give up what is overdue, send what is due."""
        if self._ask is not None:
            if now_s < self._ask.deadline_s:
                return []
            return self.answered(self._ask.number, Failed("no answer in time"), now_s)
        return [self._send(now_s)] if now_s >= self._due_s else []

    def lost(self, center: str, now_s: float) -> list[ReportAction]:
        """Note that the connection to `center` broke: if it is the one in use, report at once.

        Otherwise a server that dies before its next report would leave only by expiry: no
        living center holds a connection whose end could be seen.
        """
        if self._ask is not None or self._leaving or center != self.centers.current:
            return []
        self._due_s = now_s
        return self.tick(now_s)

    def goodbye(self, now_s: float) -> list[ReportAction]:
        """Stop reporting and say so; ends with a GoodbyeDone. A second call changes nothing."""
        if self._leaving:
            return []
        self._leaving = True
        self._ask = None
        self._due_s = now_s
        return self.tick(now_s)

    def answered(self, number: int, answer: ReportAnswer, now_s: float) -> list[ReportAction]:
        """Take the answer to an action; answers nobody waits for any more are dropped."""
        if self._ask is None or self._ask.number != number:
            return []
        ask, self._ask = self._ask, None
        actions: list[ReportAction] = []
        self._said[ask.center] = answer
        match answer:
            case Accepted(places):
                self._learn(places, actions)
                self._accepted(ask, answer, now_s, actions)
            case NotReady(centers, _):
                if not self.centers.named:
                    self._learn(centers, actions)
                self._refused(now_s, actions)
            case Failed():
                self._failed_at_s[ask.center] = now_s
                self._refused(now_s, actions)
            case _:
                assert_never(answer)
        return actions + self.tick(now_s)

    # -- inside -----------------------------------------------------------------------

    def _send(self, now_s: float) -> ReportAction:
        self._numbers += 1
        number, center = self._numbers, self.centers.current
        self._ask = _Ask(number, center, now_s + self._policy.timeout_s)
        if self._leaving:
            self._goodbyes += 1
            return SendGoodbye(number, center)
        if self._asking:
            return AskPlaces(number, center)
        self._last_s = now_s
        return SendReport(number, center)

    def _learn(self, places: tuple[str, ...], actions: list[ReportAction]) -> None:
        if self.centers.name(places):
            record: bytes = msgpack.packb([RECORD_FORMAT, list(self.centers.named)])
            actions.append(PersistRecord(record))

    def _accepted(
        self, ask: _Ask, answer: Accepted, now_s: float, actions: list[ReportAction]
    ) -> None:
        self._backoff.succeeded()
        self._failures = 0
        self._failed_at_s.pop(ask.center, None)
        if self._leaving:
            self._leave(True, actions)
            return
        self._prefer_owner(now_s)
        if self._asking:
            self._asking = False
            self._due_s = now_s
            return
        self.registered = answer.in_map
        self._accepted_s = now_s
        self._said.clear()
        period_s = self._policy.period_s
        if not answer.in_map:
            self._tell_unseen(ask.center, now_s, actions)
            period_s = min(period_s, UNSEEN_S * 2**self._unseen)
            self._unseen = min(self._unseen + 1, UNSEEN_DOUBLINGS_MAX)
        else:
            self._unseen, self._unseen_s = 0, NEVER_S
            if self._told != {Registered}:
                self._told = {Registered}
                actions.append(Registered(ask.center, answer.epoch))
        self._due_s = max(now_s, self._last_s + period_s)

    def _tell_unseen(self, center: str, now_s: float, actions: list[ReportAction]) -> None:
        """Say that the reports are taken in vain, once that is no matter of the next map."""
        self._unseen_s = min(self._unseen_s, now_s)
        if Accepted in self._told or now_s - self._unseen_s < self._policy.lost_after_s:
            return
        lost = Registered in self._told
        self._told.discard(Registered)
        self._told.add(Accepted)
        reason = f"{center}: it takes the reports, and its map is without this server"
        actions.append(Unregistered(lost, (center,), reason))

    def _prefer_owner(self, now_s: float) -> None:
        """Turn to the first named place that has not failed lately."""
        for place in self.centers.named:
            failed_at_s = self._failed_at_s.get(place, -NEVER_S)
            if now_s - failed_at_s >= self._policy.avoid_s:
                self.centers.prefer(place)
                return

    def _refused(self, now_s: float, actions: list[ReportAction]) -> None:
        """Try the next center at once; after a whole round, wait and ask where to report."""
        self._failures += 1
        self.registered = False
        self.centers.advance()
        if self._leaving:
            if self._goodbyes >= min(GOODBYE_TRIES_MAX, len(self.centers.addresses)):
                self._leave(False, actions)
            return
        self._due_s = now_s
        if self._failures >= len(self.centers.addresses):
            self._failures = 0
            self._asking = True
            self._tell_failure(now_s, actions)
            self._due_s = now_s + self._backoff.failed()
            addresses = self.centers.addresses
            self._failed_at_s = {c: t for c, t in self._failed_at_s.items() if c in addresses}

    def _tell_failure(self, now_s: float, actions: list[ReportAction]) -> None:
        """Say after a whole round why nobody takes the reports, unless that was said."""
        said, self._said = self._said, {}
        lost = Registered in self._told
        kind = NotReady if any(isinstance(each, NotReady) for each in said.values()) else Failed
        if kind in self._told or (lost and now_s - self._accepted_s < self._policy.lost_after_s):
            return
        self._told.discard(Registered)
        self._told.add(kind)
        words = {
            center: answer.text
            for center, answer in said.items()
            if not isinstance(answer, Accepted)
        }
        reason = "; ".join(
            dict.fromkeys(
                text if center in text else f"{center}: {text}" for center, text in words.items()
            )
        )
        actions.append(Unregistered(lost, tuple(words), reason))

    def _leave(self, heard: bool, actions: list[ReportAction]) -> None:
        self._due_s = NEVER_S
        self.registered = False
        actions.append(GoodbyeDone(heard))

    def _restore(self, record: bytes | None) -> tuple[str, ...]:
        if record is None:
            return ()
        try:
            record_format, named = msgpack.unpackb(record)
            if record_format != RECORD_FORMAT or not all(isinstance(c, str) for c in named):
                raise ValueError(f"format {record_format!r}")
        except (ValueError, TypeError) as exc:
            self._notes.append(Note(f"stored centers are unreadable, starting without: {exc}"))
            return ()
        return tuple(named)
