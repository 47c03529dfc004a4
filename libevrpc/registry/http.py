"""HTTP registries: TinyRPC's and gee-rpc's, unmodified or ours, one or several at once.

A server says its address to each of them, again and again; a client takes what all of them list
together. Ours tell more (see `core/httpregistry.py`): who offers what, with which weight, and
news at once instead of at the next question.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Iterable
from dataclasses import replace

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.core.hello import INTERNAL_SERVICE
from libevrpc.core.http import HttpAnswer
from libevrpc.core.httpregistry import (
    DIALECTS,
    EXPIRY_HEADER,
    VERSION_HEADER,
    WAIT_HEADER,
    WORD_HEADER,
    Listed,
    read_list,
)
from libevrpc.core.targets import Target
from libevrpc.core.watching import WatchPolicy
from libevrpc.credentials import read_tokens
from libevrpc.errors import ConfigError, ProtocolError
from libevrpc.registry.announcer import SessionRegistrar
from libevrpc.registry.base import Announcement
from libevrpc.registry.http_link import ASK_S, HttpLink
from libevrpc.registry.record import decode_record, encode_record, endpoint_of
from libevrpc.registry.session import Nap, RegistryError
from libevrpc.registry.state import state_folder
from libevrpc.registry.watcher import SessionResolver
from libevrpc.settings import ClientSettings, ServerSettings

__all__ = ["HttpAnnounceSession", "HttpWatchSession", "registrar", "resolver"]

log = logging.getLogger(__name__)

EVERY_S = 10.0
"""How often a server beats and a client asks, where nobody says otherwise."""
BEATS_PER_EXPIRY = 3.0
RETRY_S = 1.0
"""How soon one is asked again that did not answer, or that answered instead of waiting for news."""
WAIT_MAX_S = 25.0
"""Longest question for news: proxies hang up on longer ones."""
SOON = 0.5
"""An answer without news before this share of the time asked for comes from who does not wait."""
ASK_MIN_S = 0.1
"""However late the beats for others are: a registry has this long to answer."""
NAMED_MAX = 1000
"""Most entries that are named in the log as unreadable."""


class HttpAnnounceSession:
    """See `AnnounceSession`. There is no session: what counts is the next beat in time."""

    def __init__(self, target: Target, token: bytes | None = None) -> None:
        """Announce at every registry of `target`, showing `token`."""
        self._dialect = DIALECTS[target.query.get("dialect", "tinyrpc")]
        self._every_s = target.seconds("every", EVERY_S)
        self._expiry_s = target.query.get("expiry", "")
        self._transport = target.query.get("transport", "tcp")
        self._places = [_Place(link) for link in _links(target, token)]
        self._nap = Nap()
        self._headers: dict[str, str] = {}
        self._record = b""
        self._life = secrets.token_hex(8)
        self._words = itertools.count(1)
        self._leaving: HttpLink | None = None
        self._hurry = False

    def open(self) -> None:
        """See `AnnounceSession.open`."""

    def put(self, announcement: Announcement) -> None:
        """See `AnnounceSession.put`."""
        self._record = encode_record(announcement)
        self._headers = {
            self._dialect.server_header: _spelled(announcement.address, self._transport),
            "Content-Type": "application/json",
        }
        if self._expiry_s:
            self._headers[EXPIRY_HEADER] = self._expiry_s
        for place in self._places:
            place.due_s = 0.0
        self._beat_all()

    def beat(self, wait_s: float) -> None:
        """See `AnnounceSession.beat`."""
        span_s = min(place.due_s for place in self._places) - monotonic_s()
        if span_s > 0.0:
            self._nap.wait(min(wait_s, span_s))
        else:
            self._beat_all()

    def _beat_all(self) -> None:
        """Beat wherever it is time.

        Raises:
            RegistryError: no registry has heard us.
        """
        for place in self._places:
            if place.due_s > monotonic_s():
                continue
            try:
                timeout_s = self._patience_s(place)
                said = self._spoken()
                answer = place.link.ask("POST", said, self._record, timeout_s=timeout_s)
                place.link.done(answer)
            except RegistryError as exc:
                place.said |= place.link.unanswered
                place.fails(str(exc), alone=len(self._places) == 1)
                place.due_s = monotonic_s() + min(RETRY_S, self._every_s)
                continue
            place.said = True
            place.works("announced there again")
            period_s = self._period_s(answer)
            place.due_s = monotonic_s() + period_s
            place.late_s = place.due_s + period_s
        _require_one(self._places)

    def _patience_s(self, asked: _Place) -> float:
        """Return how long one may take to answer: no other's beat is late by a whole period."""
        late_s = [each.late_s for each in self._places if each.well and each is not asked]
        return max(ASK_MIN_S, min([ASK_S, *(each - monotonic_s() for each in late_s)]))

    def _period_s(self, answer: HttpAnswer) -> float:
        """Return how long until the next beat; registries of ours say when they expire us."""
        try:
            expiry_s = float(answer.headers.get(EXPIRY_HEADER.lower(), "0"))
        except ValueError:
            expiry_s = 0.0
        if not expiry_s > 0.0:
            return self._every_s
        return max(0.01, min(self._every_s, expiry_s / BEATS_PER_EXPIRY))

    def _spoken(self) -> dict[str, str]:
        """Return the headers of our next word: a beat heard late must not undo a goodbye."""
        return {**self._headers, WORD_HEADER: f"{self._life}-{next(self._words)}"}

    def standing_by(self) -> str:
        """See `AnnounceSession.standing_by`: any number of servers share a service here."""
        return ""

    def remove(self) -> None:
        """See `AnnounceSession.remove`; the originals know no goodbye, there it expires."""
        failed = []
        self._hurry = False
        for place in sorted(self._places, key=lambda each: not each.well):
            if not place.said:
                continue
            place.link.heed()
            self._leaving = place.link
            try:
                if self._hurry:
                    raise RegistryError(f"{place.link.address}: no time is left for a goodbye")
                answer = place.link.ask("DELETE", self._spoken(), interruptible=True)
                if answer.status not in (404, 405, 501):
                    place.link.done(answer)
                elif answer.status != 404:
                    log.info("%s knows no goodbye: we expire there", place.link.address)
                place.said = False
            except RegistryError as exc:
                failed.append(str(exc))
            finally:
                self._leaving = None
        if failed:
            raise RegistryError("; ".join(failed))

    def close(self) -> None:
        """See `AnnounceSession.close`."""

    def wake(self) -> None:
        """See `AnnounceSession.wake`; it ends a goodbye, too."""
        self._nap.wake()
        self._hurry = True
        leaving = self._leaving
        if leaving is not None:
            leaving.interrupt()


class HttpWatchSession:
    """See `WatchSession`.

    A client takes what all registries list together. One that does not answer is represented
    by its last list, less what others have dropped since.
    """

    def __init__(
        self, target: Target, service: str, named: set[str], token: bytes | None = None
    ) -> None:
        """Watch `service` at every registry of `target`; `named` are entries already logged."""
        self._dialect = DIALECTS[target.query.get("dialect", "tinyrpc")]
        self._every_s = target.seconds("every", EVERY_S)
        self._service = service
        self._places = [_Place(link) for link in _links(target, token)]
        self._named = named
        self._nap = Nap()
        self._waiting: HttpLink | None = None
        self._hurry = False
        self._services: set[str] = set()

    def open(self) -> None:
        """See `WatchSession.open`."""

    def fetch(self) -> tuple[Endpoint, ...]:
        """See `WatchSession.fetch`. A wake ends it."""
        self._hurry = False
        now_s = monotonic_s()
        later = [place for place in self._places if place.due_s > now_s]
        for place in self._places:
            if place not in later:
                self._ask(place)
        if not any(place.well for place in self._places):
            for place in later:
                self._ask(place)
        _require_one(self._places)
        listed: dict[str, Listed] = {}
        for place in self._places:
            for each in place.last:
                if each.record or each.address not in listed:
                    listed[each.address] = each
        self._services.clear()
        found = [self._endpoint(each) for each in listed.values()]
        return tuple(each for each in found if each is not None)

    def others(self) -> frozenset[str]:
        """See `WatchSession.others`: what the last list named."""
        return frozenset(self._services)

    def doubt(self) -> str:
        """See `WatchSession.doubt`."""
        return "; ".join(place.why for place in self._places if place.why)

    def _ask(self, place: _Place) -> None:
        """Get the list of one registry, and note how that went."""
        place.link.heed()
        self._waiting = place.link
        try:
            if self._hurry:
                raise RegistryError(f"{place.link.address}: not asked")
            accepted = {"Accept": "application/json"}
            answer = place.link.done(place.link.ask("GET", accepted, interruptible=True))
            try:
                listed = read_list(answer.headers, answer.body, self._dialect)
            except ProtocolError as exc:
                raise RegistryError(f"{place.link.address}: {exc}") from None
            version = answer.headers.get(VERSION_HEADER.lower(), "")
            self._mistrust(place, listed, version)
        except RegistryError as exc:
            if self._hurry:
                raise
            place.fails(str(exc), alone=len(self._places) == 1)
            place.due_s = monotonic_s() + RETRY_S
            return
        finally:
            self._waiting = None
        gone = {each.address for each in place.last} - {each.address for each in listed}
        place.last, place.version = listed, version
        place.works("answers again")
        place.due_s = 0.0
        for other in self._places:
            if not other.well:
                other.last = tuple(each for each in other.last if each.address not in gone)

    def _mistrust(self, place: _Place, listed: tuple[Listed, ...], version: str) -> None:
        """Refuse a list from which servers are missing because the registry has restarted.

        Raises:
            RegistryError: once for a life of one of ours; of one that keeps nothing, for as
                long as servers may need to beat again.
        """
        life, was = version.partition("-")[0], place.version.partition("-")[0]
        if was and life != was:
            place.version = version
            if {each.address for each in place.last} - {each.address for each in listed}:
                raise RegistryError(f"{place.link.address}: it has restarted and knows less")
        if version or listed or not place.last:
            place.empty_s = None
            return
        now_s = monotonic_s()
        if place.empty_s is None:
            place.empty_s = now_s
        if now_s < place.empty_s + _settle_s(self._every_s):
            raise RegistryError(f"{place.link.address}: it lists nobody, as after a restart")
        place.empty_s = None

    def _endpoint(self, listed: Listed) -> Endpoint | None:
        """Return what a client needs of an entry; None: it does not offer the service."""
        try:
            endpoint = parse_endpoint(listed.address)
            if not listed.record:
                return endpoint
            record = decode_record(listed.record)
            told = endpoint_of(record)
        except (ConfigError, RegistryError) as exc:
            if listed.address not in self._named and len(self._named) < NAMED_MAX:
                self._named.add(listed.address)
                log.warning("left out of the list: %.200r: %s", listed.address, exc)
            return None
        self._services.update(record.services)
        offered = (*record.services, INTERNAL_SERVICE)  # which servers that tell records all have
        if self._service and self._service not in offered:
            return None
        return replace(endpoint, weight=told.weight, tags=told.tags, limit=told.limit)

    def wait(self, timeout_s: float) -> bool:
        """See `WatchSession.wait`."""
        teller = next((each for each in self._places if each.well and each.version), None)
        if teller is None or len(self._places) > 1:
            timeout_s = min(timeout_s, self._every_s)
        if teller is None:
            return not self._nap.wait(timeout_s)
        wait_s = min(timeout_s, WAIT_MAX_S)
        question = {VERSION_HEADER: teller.version, WAIT_HEADER: f"{wait_s:.3f}"}
        teller.link.heed()
        self._waiting = teller.link
        asked_s = monotonic_s()
        try:
            if self._nap.wait(0.0):
                return False
            by_s = wait_s + ASK_S
            said = teller.link.ask("GET", question, timeout_s=by_s, interruptible=True)
            answer = teller.link.done(said)
        except RegistryError as exc:
            if self._nap.wait(0.0):  # interrupted
                return False
            if len(self._places) == 1:
                raise
            teller.fails(str(exc), alone=False)
            return True
        finally:
            self._waiting = None
        news = answer.headers.get(VERSION_HEADER.lower()) != teller.version
        left_s = asked_s + wait_s - monotonic_s()
        if not news and left_s > SOON * wait_s:  # it keeps no more questions waiting
            self._nap.wait(min(left_s, RETRY_S, self._every_s))
        return news or len(self._places) > 1

    def close(self) -> None:
        """See `WatchSession.close`."""

    def wake(self) -> None:
        """See `WatchSession.wake`."""
        self._nap.wake()
        self._hurry = True
        waiting = self._waiting
        if waiting is not None:
            waiting.interrupt()


class _Place:
    """One of the registries, and how things stand there. One thread.

    Attributes:
        due_s: when to speak to it again.
        late_s: when a beat for it would be late by a whole period.
        well: it answered last.
        why: what was wrong, if not.
        said: it may know us.
        last: what it listed last.
        version: of that list; empty where it is none of ours.
        empty_s: since when it lists nobody, against all appearances.
    """

    def __init__(self, link: HttpLink) -> None:
        self.link = link
        self.due_s = 0.0
        self.late_s = 0.0
        self.well = False
        self.why = ""
        self.said = False
        self.last: tuple[Listed, ...] = ()
        self.version = ""
        self.empty_s: float | None = None

    def fails(self, why: str, *, alone: bool) -> None:
        """Note that it did not answer; where it is not alone, its failing is told here."""
        if not alone and not self.why:
            log.warning("%s; going on with the others", why)
        self.well, self.why = False, why

    def works(self, what: str) -> None:
        """Note that it answered."""
        if self.why:
            log.info("%s: %s", self.link.address, what)
        self.well, self.why = True, ""


def _require_one(places: Iterable[_Place]) -> None:
    whys = [place.why for place in places if not place.well]
    if len(whys) == len(list(places)):
        raise RegistryError("; ".join(whys))


def _links(target: Target, token: bytes | None) -> list[HttpLink]:
    headers = {} if token is None else {"Authorization": f"Bearer {token.decode('ascii')}"}
    return [HttpLink(each, target.path, headers) for each in target.endpoints]


def _spelled(address: str, transport: str) -> str:
    """Return an address as TinyRPC's peers read it."""
    endpoint = parse_endpoint(address)
    return f"unix@{endpoint.path}" if endpoint.path else f"{transport}@{endpoint.address}"


def _settle_s(every_s: float) -> float:
    """Return how long servers may need to say that they are still there."""
    return max(3.0, 1.2 * every_s)


def _token(settings: ServerSettings | ClientSettings) -> bytes | None:
    tokens = read_tokens(settings.token_file)
    return None if tokens is None else tokens.shown


def registrar(target: Target, settings: ServerSettings) -> SessionRegistrar:
    """Return what announces a server. See `open_registrar`.

    Raises:
        ConfigError: the token's file.
    """
    token = _token(settings)
    return SessionRegistrar(target.text, lambda: HttpAnnounceSession(target, token))


def resolver(target: Target, service: str, settings: ClientSettings) -> SessionResolver:
    """Return what finds the servers of a service. See `open_resolver`.

    Raises:
        ConfigError: the token's file.
    """
    token = _token(settings)
    named: set[str] = set()
    settle_s = _settle_s(target.seconds("every", EVERY_S))
    return SessionResolver(
        target.text,
        service,
        lambda: HttpWatchSession(target, service, named, token),
        state_folder(settings.state_dir),
        WatchPolicy(settle_s=settle_s),
    )
