"""The `center://` registry: a server's reports, a client's map.

Two threads, each with one pure machine that decides and one `CenterLink` that calls:
`libevrpc-report` drives a `Reporter`, `libevrpc-pull` a `MapCache`.
"""

from __future__ import annotations

import logging
import queue
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, assert_never

from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ClusterMap, tags_with_limit
from libevrpc.core.endpoints import EndpointSet
from libevrpc.core.mapcache import (
    CacheAction,
    Failed,
    MapAdopted,
    MapAnswer,
    MapCache,
    Note,
    NotReady,
    PersistRecord,
    Pull,
    PullPolicy,
    may_replace,
)
from libevrpc.core.reporting import (
    Accepted,
    AskPlaces,
    GoodbyeDone,
    Registered,
    ReportAction,
    Reporter,
    ReportPolicy,
    SendGoodbye,
    SendReport,
    Unregistered,
)
from libevrpc.core.targets import Target
from libevrpc.credentials import read_tokens
from libevrpc.errors import ProtocolError, RpcError
from libevrpc.gen import center_pb2
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.center_link import Barred, CenterLink
from libevrpc.registry.state import StateFile, state_folder
from libevrpc.registry.trouble import trouble_of
from libevrpc.settings import ClientSettings, ServerSettings

__all__ = ["CenterRegistrar", "CenterResolver", "registrar", "resolver"]

log = logging.getLogger(__name__)

CLIENT_VNODES = 8
"""Virtual nodes that are a client's own: its keyless calls go to the servers under them."""
_JOIN_S = 5.0
_FLUSH_S = 1.0
"""How long an end waits for the disk to take what is remembered."""
_PULL_TIMEOUT_S = 2.0
_NEVER_S = 3600.0


class _Driver:
    """A thread that feeds a machine with answers, posted jobs and the time.

    Subclasses say what the machine's next deadline is and how it ticks.
    """

    def __init__(self, name: str, token_file: str) -> None:
        tokens = read_tokens(token_file)
        self._token = b"" if tokens is None else tokens.shown
        self._link: CenterLink | None = None
        self._asked: CenterLink | None = None  # the same, and the thread's to its end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ending = False

    def begin(self) -> None:
        """Start the thread. Once."""
        self._link = self._asked = CenterLink(self._lost, self._token)
        self._thread.start()

    def post(self, job: Callable[[], object]) -> bool:
        """Run `job` on the thread; False before `begin` and after `end`. Any thread."""
        link = self._link
        if link is None:
            return False
        link.events.put(job)
        return True

    def end(self) -> None:
        """End the thread and its connections. Any thread, any number of times."""
        link, self._link = self._link, None
        if link is None:
            return
        link.events.put(self._stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)
        link.close()

    def _stop(self) -> None:
        self._ending = True

    def _run(self) -> None:
        link = self._asked
        assert link is not None
        self._guarded(self._first)
        while not self._ending:
            wait_s = min(_NEVER_S, max(0.0, self._deadline_s() - monotonic_s()))
            try:
                job = link.events.get(timeout=wait_s)
            except queue.Empty:
                job = self._tick
            self._guarded(job)

    def _guarded(self, job: Callable[[], object]) -> None:
        """Run a job; its failure costs itself only."""
        try:
            job()
        except Exception:
            log.exception("job failed thread=%s", self._thread.name)

    def _lost(self, center: str) -> None:
        """Hear that the connection to `center` ended; on the thread."""

    def _first(self) -> None:
        """Begin; on the thread."""
        raise AssertionError("for subclasses")

    def _deadline_s(self) -> float:
        """Return when to tick next."""
        raise AssertionError("for subclasses")

    def _tick(self) -> None:
        """Let the machine see the time."""
        raise AssertionError("for subclasses")


class CenterRegistrar(_Driver):
    """Reports one server to its centers. See `Registrar`.

    Args:
        target: the centers.
        settings: report period, state folder, token.
    """

    def __init__(self, target: Target, settings: ServerSettings) -> None:
        super().__init__("libevrpc-report", settings.token_file)
        self._centers = _addresses(target)
        self._settings = settings
        self._session = secrets.token_hex(8)
        self._announcement: Announcement | None = None
        self._sample: Callable[[], LoadSample] | None = None
        self._machine: Reporter | None = None
        self._file: StateFile | None = None
        self._left = threading.Event()
        self._heard = False

    def start(self, announcement: Announcement, sample: Callable[[], LoadSample]) -> None:
        """See `Registrar.start`."""
        self._announcement = announcement
        self._sample = sample
        self._file = StateFile(
            state_folder(self._settings.state_dir),
            "places",
            f"{announcement.address} {' '.join(self._centers)}",
        )
        self._machine = Reporter(
            self._centers,
            random.Random(),
            ReportPolicy(period_s=self._settings.report_s),
            self._file.read(),
        )
        self.begin()

    def update(self, announcement: Announcement) -> None:
        """See `Registrar.update`: the next report, due at once, says it."""

        def change() -> None:
            self._announcement = announcement
            self._report_now()

        self.post(change)

    def withdraw(self, timeout_s: float) -> bool:
        """See `Registrar.withdraw`."""

        def leave() -> None:
            assert self._machine is not None
            self._do(self._machine.goodbye(monotonic_s()))

        if self.post(leave):
            self._left.wait(timeout_s)
        return self._heard

    def close(self) -> None:
        """See `Registrar.close`."""
        self.end()
        if self._file is not None:
            self._file.flush(_FLUSH_S)

    # -- on the thread ------------------------------------------------------------------

    def _first(self) -> None:
        assert self._machine is not None
        self._do(self._machine.start(monotonic_s()))

    def _deadline_s(self) -> float:
        assert self._machine is not None
        return self._machine.next_deadline_s()

    def _tick(self) -> None:
        assert self._machine is not None
        self._do(self._machine.tick(monotonic_s()))

    def _lost(self, center: str) -> None:
        assert self._machine is not None
        self._do(self._machine.lost(center, monotonic_s()))

    def _report_now(self) -> None:
        """Tell the center in use at once, beside the regular reports."""
        assert self._machine is not None
        self._send_report(self._machine.centers.current, lambda response, why: None)

    def _do(self, actions: Sequence[ReportAction]) -> None:
        for action in actions:
            match action:
                case AskPlaces(number, center):
                    self._ask_places(number, center)
                case SendReport(number, center):
                    self._send_report(center, self._taker(number))
                case SendGoodbye(number, center):
                    self._send_goodbye(number, center)
                case GoodbyeDone(heard):
                    self._heard = heard
                    self._left.set()
                case Registered() | Unregistered():
                    self._log_change(action)
                case PersistRecord(record):
                    assert self._file is not None
                    self._file.write_soon(record)
                case Note(text):
                    log.info("%s", text)
                case _:
                    assert_never(action)

    def _log_change(self, change: Registered | Unregistered) -> None:
        """Tell a person whether clients can find this server."""
        assert self._announcement is not None
        address = self._announcement.address
        if isinstance(change, Registered):
            log.info(
                "registered address=%s center=%s epoch=%d", address, change.center, change.epoch
            )
            return
        log.warning(
            "%s address=%s centers=%s: %s; trying on",
            "no longer registered" if change.lost else "not registered",
            address,
            ",".join(change.centers),
            change.reason,
        )

    def _taker(self, number: int) -> Callable[[Any, str], None]:
        """Return what takes the answer to ask `number` to the machine."""

        def take(response: Any, why: str) -> None:
            assert self._machine is not None
            answer: Accepted | NotReady | Failed
            if response is None:
                log.debug("report failed: %s", why)
                answer = Failed(why)
            elif response.not_ready:
                answer = NotReady(tuple(response.centers))
            else:
                answer = Accepted(
                    tuple(getattr(response, "places", ())),
                    getattr(response, "epoch", 0),
                    getattr(response, "in_map", True),
                )
            self._do(self._machine.answered(number, answer, monotonic_s()))

        return take

    def _ask_places(self, number: int, center: str) -> None:
        assert self._asked is not None
        assert self._announcement is not None
        request = center_pb2.PlacesRequest(address=self._announcement.address)
        self._asked.ask(
            center, "Places", request, center_pb2.PlacesResponse, 1.0, self._taker(number)
        )

    def _send_report(self, center: str, take: Callable[[Any, str], object]) -> None:
        assert self._asked is not None
        assert self._announcement is not None
        assert self._sample is not None
        announced = self._announcement
        load = self._sample()
        request = center_pb2.ReportRequest(
            address=announced.address,
            services=announced.services,
            load=load.utilisation,
            weight=announced.weight,
            tags=tags_with_limit(announced.tags, announced.limit),
            session=self._session,
            cpu=load.cpu,
            memory_bytes=load.memory_bytes,
            in_flight=load.in_flight,
            qps=load.qps,
            connections=load.connections,
        )
        self._asked.ask(center, "Report", request, center_pb2.ReportResponse, 1.0, take)

    def _send_goodbye(self, number: int, center: str) -> None:
        assert self._asked is not None
        assert self._announcement is not None
        request = center_pb2.GoodbyeRequest(
            address=self._announcement.address, session=self._session
        )
        self._asked.ask(
            center, "Goodbye", request, center_pb2.GoodbyeResponse, 0.5, self._taker(number)
        )


class CenterResolver(_Driver):
    """Holds the map of one service and tells who offers it. See `Resolver`.

    Args:
        target: the centers.
        service: full name of the service.
        settings: pull times, state folder, token.
    """

    def __init__(self, target: Target, service: str, settings: ClientSettings) -> None:
        super().__init__("libevrpc-pull", settings.token_file)
        self._service = service
        self._client_id = secrets.token_hex(8)
        centers = _addresses(target)
        self._file = StateFile(
            state_folder(settings.state_dir), "map", f"{service} {' '.join(centers)}", may_replace
        )
        self._machine = MapCache(
            centers,
            random.Random(),
            PullPolicy(
                pull_min_s=settings.pull_min_s,
                pull_max_s=settings.pull_max_s,
                pull_timeout_s=_PULL_TIMEOUT_S,
                long_poll=settings.long_poll,
            ),
            self._file.read(),
        )
        self._on_update: Callable[[EndpointSet], object] | None = None
        self._others: tuple[str, ...] = ()
        self._told: ClusterMap | None = None
        self._told_confirmed = False

    def start(self, on_update: Callable[[EndpointSet], object]) -> None:
        """See `Resolver.start`: a remembered map is told at once."""
        self._on_update = on_update
        if self._machine.usable is not None:
            self._tell(self._machine.usable)
        self.begin()

    def trouble(self) -> RpcError | None:
        """See `Resolver.trouble`."""
        return trouble_of(self._service, self._machine, self._others)

    def close(self) -> None:
        """See `Resolver.close`."""
        self.end()
        self._file.flush(_FLUSH_S)

    # -- on the thread ------------------------------------------------------------------

    def _first(self) -> None:
        self._do(self._machine.start(monotonic_s()))

    def _deadline_s(self) -> float:
        return self._machine.next_deadline_s()

    def _tick(self) -> None:
        self._do(self._machine.tick(monotonic_s()))

    def _do(self, actions: Sequence[CacheAction]) -> None:
        for action in actions:
            match action:
                case Pull():
                    self._pull(action)
                case MapAdopted(found):
                    self._tell(found)
                case PersistRecord(record):
                    self._file.write_soon(record)
                case Note(text):
                    log.warning("%s", text)
                case _:
                    assert_never(action)

    def _tell(self, found: ClusterMap) -> None:
        """Tell of a map; nothing if it was told already and no more is known of it."""
        assert self._on_update is not None
        confirmed = self._machine.confirmed
        if found is self._told and confirmed == self._told_confirmed:
            return
        self._told, self._told_confirmed = found, confirmed
        log.debug("map epoch=%d version=%d servers=%d", *found.stamp, len(found.servers))
        endpoints = found.endpoints_of(self._service, self._client_id, CLIENT_VNODES)
        self._on_update(replace(endpoints, remembered=not confirmed))

    def _pull(self, pull: Pull) -> None:
        assert self._asked is not None
        request = center_pb2.PullRequest(
            client_id=self._client_id,
            service=self._service,
            cluster_id=pull.cluster_id,
            epoch=pull.stamp[0],
            version=pull.stamp[1],
            wait_ms=int(pull.wait_s * 1000.0),
        )

        def take(response: center_pb2.PullResponse | None, why: str) -> None:
            answer = _answer_of(response, why)
            if isinstance(answer, MapAnswer) and response is not None:
                self._others = tuple(response.services)
            self._do(self._machine.answered(pull.number, answer, monotonic_s()))
            if self._machine.usable is not None:
                self._tell(self._machine.usable)

        self._asked.ask(
            pull.center,
            "Pull",
            request,
            center_pb2.PullResponse,
            pull.wait_s + _PULL_TIMEOUT_S,
            take,
        )


def _answer_of(response: center_pb2.PullResponse | None, why: str) -> MapAnswer | NotReady | Failed:
    if response is None:
        return Failed(why, isinstance(why, Barred))
    centers = tuple(response.centers)
    if response.not_ready:
        return NotReady(centers) if response.stale else NotReady(centers, "it has no map yet")
    if not response.map:
        return MapAnswer(None, centers, response.stale)
    try:
        return MapAnswer(ClusterMap.decode(response.map), centers, response.stale)
    except ProtocolError as exc:
        return Failed(str(exc))


def _addresses(target: Target) -> tuple[str, ...]:
    return tuple(endpoint.address for endpoint in target.endpoints)


registrar, resolver = CenterRegistrar, CenterResolver
"""What `open_registrar` and `open_resolver` look for."""
