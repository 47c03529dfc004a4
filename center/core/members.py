"""Members: which servers live, judged by a leader from their reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from center.core.codec import TEXT_CHARS_MAX
from center.core.events import Action, Dial, Log, LogLevel
from center.core.messages import Departure, Report, Silent
from center.core.timing import Timing
from libevrpc.core.clustermap import WEIGHT_MAX, ClusterMap, ServerEntry, ServerState
from libevrpc.core.endpoints import is_usual, parse_endpoint
from libevrpc.errors import ConfigError

__all__ = ["SERVERS_MAX", "SILENT_AFTER_S", "Members", "Roll", "ages_of", "flaw_of", "is_another"]

SERVERS_MAX = 10_000
"""Most servers; one more is refused, with one log line per round."""
SILENT_AFTER_S = 1.5
"""A server silent for longer is named in the leader's pings; the others are fresh."""
SILENT_MAX = 64
"""Most servers named in one ping, the oldest first."""
MASS_MIN = 3
"""Fewer servers falling silent at once are no mass, however large their share."""
TOMBSTONES_MAX = 1024
"""Most sessions remembered as ended; the oldest is forgotten first."""
NAMES_MAX = 1024
"""Most services and tags of one server together."""
NAMES_BYTES_MAX = 8192
"""Longest services, tags and session of one server together."""
NAMES_SHARED_MAX = 1024
"""Lists of services or tags of which one copy is kept."""
WEIGHT_MIN = 0.001
"""Smallest weight of a server: what a map keeps; less would be no weight at all."""
LOAD_MAX = 1000.0
"""Largest load that is believed; whatever is over 1 is published as 1."""


def flaw_of(report: Report) -> str:
    """Return why `report` cannot enter a map, "" for a good one."""
    if not is_usual(report.address):
        try:
            endpoint = parse_endpoint(report.address)
        except ConfigError as exc:
            return str(exc)
        if endpoint.address != report.address:
            return f"address {report.address!r} is spelled {endpoint.address!r}"
    names = (report.session, *report.services, *report.tags)
    if len(names) > 1 + NAMES_MAX or len("".join(names).encode()) > NAMES_BYTES_MAX:
        return f"{report.address}: over {NAMES_MAX} names or {NAMES_BYTES_MAX} bytes of them"
    if max(map(len, names)) > TEXT_CHARS_MAX:
        return f"{report.address}: a name of over {TEXT_CHARS_MAX} characters"
    if not WEIGHT_MIN <= report.weight <= WEIGHT_MAX:
        return (
            f"{report.address}: weight {report.weight:g} is not in {WEIGHT_MIN:g}..{WEIGHT_MAX:g}"
        )
    if not 0 <= report.load <= LOAD_MAX:
        return f"{report.address}: load {report.load:g} is not in 0..{LOAD_MAX:g}"
    return ""


@lru_cache(maxsize=NAMES_SHARED_MAX)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the one tuple of these names: thousands of servers say the same ones."""
    return names


@dataclass(slots=True)
class _Member:
    """One server: what it registered, and when it was last heard.

    Attributes:
        report: the first one of this registration; `load` is newer than its load.
        services: what it offers, sorted, each once.
    """

    report: Report
    services: tuple[str, ...]
    load: float
    heard_s: float
    suspect_s: float | None = None
    adopted: bool = False

    def register(self, report: Report) -> None:
        """Keep what `report` registers."""
        names, tags = _shared(report.services), _shared(report.tags)
        self.report = replace(report, services=names, tags=tags)
        self.services = _shared(tuple(sorted(set(names))))


@dataclass(frozen=True, slots=True)
class Roll:
    """The servers at one moment. Immutable, any thread.

    Attributes:
        now_s: the moment.
        rows: address, services, registration, whether suspected, when last heard, load.
    """

    now_s: float
    rows: tuple[tuple[str, tuple[str, ...], Report, bool, float, float], ...]

    def entries(self) -> tuple[ServerEntry, ...]:
        """Return them as the planner takes them, sorted by address."""
        return tuple(
            ServerEntry(
                address,
                services,
                report.weight,
                _state_of(report, suspected),
                max(0.0, self.now_s - heard_s),
                min(1.0, load),
                report.tags,
            )
            for address, services, report, suspected, heard_s, load in sorted(self.rows)
        )


class Members:
    """The servers as their leader knows them.

    Methods that may change who is in the map return True if they did: publish soon.
    """

    def __init__(self, timing: Timing) -> None:
        """Make an empty bookkeeping."""
        self._timing = timing
        self._members: dict[str, _Member] = {}
        self._ended: dict[str, tuple[str, float]] = {}
        self._kept: Departure | None = None  # it is gone, but was the last one
        self._full_logged_s: float | None = None
        self.log: list[Action] = []

    def take_over(self, adopted: ClusterMap, ages_s: dict[str, float], now_s: float) -> None:
        """Continue where the last leader stopped.

        Args:
            adopted: its newest map.
            ages_s: later knowledge of how long servers have been silent; replaces the ages
                of the map. Time without a leader counts for nobody.
            now_s: the moment from which ages go on.
        """
        self._members.clear()
        for entry in adopted.servers:
            report = Report(
                entry.address,
                entry.services,
                entry.load,
                entry.weight or 1.0,
                entry.state is ServerState.DRAINING,
                entry.tags,
            )
            age_s = ages_s.get(entry.address, entry.age_s)
            suspect_s = now_s if entry.state is ServerState.SUSPECT else None
            self._members[entry.address] = _Member(
                report, entry.services, entry.load, now_s - age_s, suspect_s, True
            )

    def report(self, report: Report, now_s: float) -> bool:
        """Take a report; an unknown server is registered by it."""
        ended = self._ended.get(report.address)
        if ended is not None and now_s < ended[1] and report.session == ended[0]:
            return False
        known = self._members.get(report.address)
        if known is None:
            if len(self._members) >= SERVERS_MAX:
                self._say_full(report.address, now_s)
                return False
            known = self._members[report.address] = _Member(report, (), report.load, now_s)
            known.register(report)
            kept, self._kept = self._kept, None
            if kept is not None:
                self.depart(kept, now_s)
            return True
        if self._kept is not None and self._kept.address == report.address:
            self._kept = None
        if known.adopted:
            # The map told the planner's weight, not the operator's: no news in the difference.
            known.report = replace(known.report, weight=report.weight)
            known.adopted = False
        changed = known.suspect_s is not None or _shape_of(known.report) != _shape_of(report)
        if changed or known.report.session != report.session:
            known.register(report)
        known.load, known.heard_s, known.suspect_s = report.load, now_s, None
        return changed

    def _say_full(self, address: str, now_s: float) -> None:
        last_s = self._full_logged_s
        if last_s is None or now_s - last_s >= self._timing.round_s:
            self._full_logged_s = now_s
            text = f"server refused address={address} limit={SERVERS_MAX}"
            self.log.append(Log(LogLevel.WARNING, text))

    def depart(self, departure: Departure, now_s: float) -> bool:
        """Take proof that a server is gone.

        The last one leaves by a goodbye only, or when there is another.
        """
        address = departure.address
        known = self._members.get(address)
        if known is None or not _ends(departure, known):
            return False
        if departure.goodbye:
            self._remember_end(address, departure.session or known.report.session, now_s)
        elif len(self._members) == 1:
            self._kept = departure
            return self._suspect(known, now_s)
        del self._members[address]
        return True

    def _remember_end(self, address: str, session: str, now_s: float) -> None:
        if session:
            self._ended.pop(address, None)
            self._ended[address] = (session, now_s + self._timing.expire_s)
            if len(self._ended) > TOMBSTONES_MAX:
                del self._ended[next(iter(self._ended))]

    def _suspect(self, member: _Member, now_s: float) -> bool:
        if member.suspect_s is not None:
            return False
        member.suspect_s = now_s
        return True

    def sweep(self, now_s: float) -> tuple[bool, list[Action]]:
        """Drop who was silent for too long; suspect many rather than drop them at once.

        Only a leader in contact with a quorum may call it. Suspects are dialled once.
        """
        timing = self._timing
        ages_s = self.ages_s(now_s)
        expired = [address for address, age_s in ages_s.items() if age_s >= timing.expire_s]
        if not expired:
            return False, []
        # Who fell silent within a round of this moment's, those suspected already included:
        # the last of a mass must not be dropped for having been left alone by the first.
        near_s, far_s = timing.expire_s - timing.round_s, timing.expire_s + timing.round_s
        falling = sum(
            ages_s[address] >= near_s and (each.suspect_s is None or ages_s[address] < far_s)
            for address, each in self._members.items()
        )
        mass = falling >= MASS_MIN and falling > timing.suspect_ratio * len(self._members)
        kept = len(expired) == len(self._members)
        changed, actions = False, list[Action]()
        for address in expired:
            member = self._members[address]
            if member.suspect_s is None and (mass or kept):
                changed = self._suspect(member, now_s)
                actions.append(Dial(address, member.report.session))
            elif member.suspect_s is None or (
                not kept and now_s - member.suspect_s >= timing.suspect_s
            ):
                del self._members[address]
                changed = True
        return changed, actions

    def stretch(self, lag_s: float) -> None:
        """Count the leader's own lag for nobody's silence."""
        for member in self._members.values():
            member.heard_s += lag_s
            if member.suspect_s is not None:
                member.suspect_s += lag_s

    def roll(self, now_s: float) -> Roll:
        """Return who is there now.

        Entries are left to whoever reads it: those of ten thousand servers take 40 ms, which on a
        busy machine cost a leader most of its lease.
        """
        return Roll(
            now_s,
            tuple(
                [
                    (address, it.services, it.report, it.suspect_s is not None, it.heard_s, it.load)
                    for address, it in self._members.items()
                ]
            ),
        )

    def ages_s(self, now_s: float) -> dict[str, float]:
        """Return how long each server has been silent, by address."""
        return {address: now_s - each.heard_s for address, each in self._members.items()}

    def silent(self, now_s: float) -> tuple[Silent, ...]:
        """Return who has been silent for a while, the oldest first, bounded."""
        aged = sorted(
            (
                (now_s - member.heard_s, address)
                for address, member in self._members.items()
                if now_s - member.heard_s > SILENT_AFTER_S
            ),
            reverse=True,
        )
        return tuple(Silent(address, age_s) for age_s, address in aged[:SILENT_MAX])

    def __len__(self) -> int:
        return len(self._members)


def _state_of(report: Report, suspected: bool) -> ServerState:
    if suspected:
        return ServerState.SUSPECT
    return ServerState.DRAINING if report.draining else ServerState.UP


def _shape_of(report: Report) -> tuple[object, ...]:
    """Return what a registration consists of: all but the load."""
    return (report.services, report.weight, report.draining, report.tags)


def _ends(departure: Departure, member: _Member) -> bool:
    """Whether it is this very process that is gone, and not one before it at its address."""
    if departure.goodbye:
        return not is_another(departure.session, member.report.session)
    return member.adopted or departure.session == member.report.session


def is_another(ended: str, session: str) -> bool:
    """Whether a session that ended and `session` are known not to be the same."""
    return bool(ended and session) and ended != session


def ages_of(silent: Iterable[Silent], addresses: Iterable[str]) -> dict[str, float]:
    """Return the age of each of `addresses` that a leader's last ping implies.

    Whoever it did not name was fresh: at most SILENT_AFTER_S old.
    """
    named = {each.address: each.age_s for each in silent}
    return {address: named.get(address, SILENT_AFTER_S) for address in addresses}
