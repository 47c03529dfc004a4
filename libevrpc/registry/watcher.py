"""The client's side of every registry with sessions: one thread that keeps a list of servers."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint, EndpointSet, doubled
from libevrpc.core.watching import ENDPOINTS_MAX, Watching, WatchPolicy, WatchStep
from libevrpc.errors import Errno, RpcError, StatusCode
from libevrpc.registry.record import decode_list, encode_list
from libevrpc.registry.session import Nap, RegistryError, SessionLost, WatchSession
from libevrpc.registry.state import StateFile
from libevrpc.registry.trouble import named

__all__ = ["SessionResolver"]

log = logging.getLogger(__name__)

_JOIN_S = 5.0
_FLUSH_S = 1.0
"""How long an end waits for the disk to take what is remembered."""


class SessionResolver:
    """Watches one service in sessions of a registry. See `Resolver`.

    One thread, `libevrpc-watch`. A child of a fork has no part in it.

    Args:
        registry: the target, for log and errors.
        service: full name of the service looked for.
        make_session: makes a session; what it raises counts as a failed `open`.
        folder: where the last good list is kept (`state_folder`); None: nowhere.
        policy: when to ask, and how long after trouble nobody is dropped.
    """

    def __init__(
        self,
        registry: str,
        service: str,
        make_session: Callable[[], WatchSession],
        folder: Path | None,
        policy: WatchPolicy | None = None,
    ) -> None:
        self._registry = registry
        self._service = service
        self._make_session = make_session
        self._file = StateFile(folder, "list", f"{service} {registry}")
        self._machine = Watching(random.Random(), policy or WatchPolicy(), self._remembered())
        self._on_update: Callable[[EndpointSet], object] | None = None
        self._session: WatchSession | None = None
        self._others: Collection[str] = ()
        self._begun_s = 0.0
        self._ending = False
        self._overfull = False
        self._doubled: tuple[Endpoint, ...] = ()
        self._nap = Nap()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="libevrpc-watch", daemon=True)

    def _remembered(self) -> tuple[Endpoint, ...]:
        record = self._file.read()
        try:
            return () if record is None else decode_list(record)
        except RegistryError as exc:
            log.warning("what was remembered of %s is unreadable: %s", self._registry, exc)
            return ()

    def start(self, on_update: Callable[[EndpointSet], object]) -> None:
        """See `Resolver.start`: a remembered list is told at once."""
        self._on_update = on_update
        self._begun_s = monotonic_s()
        if self._machine.told is not None:
            on_update(self._machine.told)
        self._thread.start()

    def trouble(self) -> RpcError | None:
        """See `Resolver.trouble`."""
        machine = self._machine
        why, told, session = machine.trouble, machine.told, self._session
        if told is None and not why and session is not None:
            why = session.doubt()
        where = f"registry {self._registry}"
        if why:
            text = f"{where} cannot tell who offers service {self._service} ({why})"
            return RpcError(StatusCode.UNAVAILABLE, text, errno=Errno.FAILED_SOCKET)
        if told is None:
            waited_s = monotonic_s() - self._begun_s
            text = (
                f"{where} has not answered within {waited_s:.1f} s: who offers service"
                f" {self._service} is not known"
            )
            return RpcError(StatusCode.UNAVAILABLE, text)
        if not told.endpoints:
            text = f"service {self._service} has no server in {where}"
            if self._others:
                text = f"{text}; known there: {named(self._others, self._service)}"
            return RpcError(StatusCode.UNAVAILABLE, text)
        return None

    def close(self) -> None:
        """See `Resolver.close`. A session that blocks ends with its own time-out."""
        if self._process != os.getpid():
            return
        self._ending = True
        session = self._session
        self._nap.wake()
        if session is not None:
            session.wake()
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)
        self._file.flush(_FLUSH_S)

    # -- on the thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending:
            plan = self._machine.next_step(monotonic_s())
            if plan.step is WatchStep.WAIT:
                self._nap.wait(plan.wait_s)
            else:
                self._try(plan.step, plan.wait_s)
        self._drop_session()

    def _try(self, step: WatchStep, wait_s: float) -> None:
        """Carry out a step and tell the machine how it went."""
        try:
            self._carry_out(step, wait_s)
        except RegistryError as exc:
            self._failed(step, str(exc), isinstance(exc, SessionLost))
        except Exception as exc:
            log.debug("%s failed", step.name, exc_info=True)
            self._failed(step, f"{type(exc).__name__}: {exc}", lost=True)

    def _carry_out(self, step: WatchStep, wait_s: float) -> None:
        machine = self._machine
        if step is WatchStep.OPEN:
            self._session = self._make_session()
            if self._ending:
                return  # who closes this has seen nothing that could be woken
            self._session.open()
            machine.opened()
            return
        session = self._session
        assert session is not None
        if step is WatchStep.LISTEN:
            if session.wait(wait_s):
                machine.changed()
            return
        machine.asking(monotonic_s())
        found = session.fetch()
        self._others = () if found else _others_of(session)
        troubled = machine.trouble
        news = machine.fetched(found, monotonic_s())
        if troubled:
            log.info("registry answers again: %s service=%s", self._registry, self._service)
        self._mind_room(machine.overfull)
        self._mind_doubles(doubled(found))
        if news is not None:
            self._tell(news)

    def _mind_room(self, overfull: int) -> None:
        if overfull and not self._overfull:
            log.warning(
                "%s names %d servers of %s: the first %d are used",
                self._registry,
                ENDPOINTS_MAX + overfull,
                self._service,
                ENDPOINTS_MAX,
            )
        self._overfull = bool(overfull)

    def _mind_doubles(self, twice: tuple[Endpoint, ...]) -> None:
        if twice and twice != self._doubled:
            log.warning(
                "registry %s names %d addresses of %s with two transports, such as %s with %s:"
                " an address is one server, the first one counts",
                self._registry,
                len(twice),
                self._service,
                twice[0],
                twice[0].transport or "none",
            )
        self._doubled = twice

    def _tell(self, news: EndpointSet) -> None:
        if self._ending:
            return
        assert self._on_update is not None
        log.debug("servers of %s: %d", self._service, len(news.endpoints))
        self._on_update(news)
        if news.endpoints:  # an empty list helps nobody at the next start
            self._file.write_soon(encode_list(news.endpoints))

    def _failed(self, step: WatchStep, why: str, lost: bool) -> None:
        lost = lost or step is WatchStep.OPEN
        if lost:
            self._drop_session()
        known = self._machine.told
        begins = self._machine.failed(why or "no reason given", lost, monotonic_s())
        if begins and not self._ending:  # the end interrupts questions: that is no trouble
            log.warning(
                "no answer from registry %s service=%s: %s; %s",
                self._registry,
                self._service,
                why,
                "going on with what is known" if known and known.endpoints else "calls wait for it",
            )

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except Exception:
                log.debug("closing a session failed", exc_info=True)


def _others_of(session: WatchSession) -> Collection[str]:
    """Return the services that there are; one that does not tell fails at the next step."""
    try:
        return session.others()
    except RegistryError as exc:
        log.debug("other services are not known: %s", exc)
        return ()
