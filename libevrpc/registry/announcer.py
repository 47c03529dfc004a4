"""The server's side of every registry with sessions: one thread that keeps an announcement."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable

from libevrpc.clock import monotonic_s
from libevrpc.core.announcing import ANNOUNCE_BACKOFF, AnnounceStep, Announcing, Turn
from libevrpc.core.backoff import BackoffPolicy
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.session import AnnounceSession, Nap, RegistryError, SessionLost

__all__ = ["SessionRegistrar"]

log = logging.getLogger(__name__)

BEAT_S = 5.0
"""Longest beat: after it the announcer looks whether all is well."""
_JOIN_S = 5.0


class SessionRegistrar:
    """Announces one server in sessions of a registry. See `Registrar`.

    One thread, `libevrpc-announce`. A child of a fork has no part in it: what it calls here does
    nothing, the server stays with its parent.

    Args:
        registry: the target, for the log.
        make_session: makes a session; what it raises counts as a failed `open`.
        beat_s: longest beat.
        backoff: of failed steps.
    """

    def __init__(
        self,
        registry: str,
        make_session: Callable[[], AnnounceSession],
        *,
        beat_s: float = BEAT_S,
        backoff: BackoffPolicy = ANNOUNCE_BACKOFF,
    ) -> None:
        self._registry = registry
        self._make_session = make_session
        self._beat_s = beat_s
        self._machine = Announcing(random.Random(), backoff)
        self._wanted: Announcement | None = None
        self._put: Announcement | None = None
        self._session: AnnounceSession | None = None
        self._standing_by = ""
        self._opened = False
        self._leave_by_s: float | None = None
        self._ending = False
        self._nap = Nap()
        self._left = threading.Event()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="libevrpc-announce", daemon=True)

    def start(self, announcement: Announcement, sample: Callable[[], LoadSample]) -> None:
        """See `Registrar.start`; these registries have no use for `sample`."""
        self._wanted = announcement
        self._thread.start()

    def update(self, announcement: Announcement) -> None:
        """See `Registrar.update`."""
        self._wanted = announcement
        if self._opened:  # who is still being connected to is told this anyway
            self._wake()

    def withdraw(self, timeout_s: float) -> bool:
        """See `Registrar.withdraw`."""
        if self._foreign():
            return False
        if self._leave_by_s is None:
            self._leave_by_s = monotonic_s() + timeout_s
        self._wake()
        return self._left.wait(timeout_s) and not self._machine.told

    def close(self) -> None:
        """See `Registrar.close`. A session that blocks ends with its own time-out."""
        if self._foreign():
            return
        self._ending = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)

    def _foreign(self) -> bool:
        """True in a child of the process that announces, and where nothing was started."""
        return self._process != os.getpid() or self._thread.ident is None

    def _wake(self) -> None:
        if self._foreign():
            return
        session = self._session
        self._nap.wake()
        if session is not None:
            session.wake()

    # -- on the thread ------------------------------------------------------------------

    def _run(self) -> None:
        machine = self._machine
        while not self._ending:
            if self._leave_by_s is not None:
                machine.leave(self._leave_by_s)
            wanted = self._wanted
            plan = machine.next_step(monotonic_s(), wanted is self._put)
            if plan.step is AnnounceStep.END:
                self._left.set()  # hanging up may take its time
                break
            if plan.step is AnnounceStep.WAIT:
                self._nap.wait(plan.wait_s)
            else:
                self._try(plan.step, wanted)
        self._drop_session()
        self._left.set()

    def _try(self, step: AnnounceStep, wanted: Announcement | None) -> None:
        """Carry out a step and tell the machine how it went."""
        self._machine.trying(step)
        try:
            self._carry_out(step, wanted)
        except RegistryError as exc:
            self._failed(step, str(exc), isinstance(exc, SessionLost))
        except Exception as exc:
            log.debug("%s failed", step.name, exc_info=True)
            self._failed(step, f"{type(exc).__name__}: {exc}", lost=True)
        else:
            turn = self._machine.done(step)
            if step in (AnnounceStep.PUT, AnnounceStep.BEAT):
                self._tell_well(turn)

    def _carry_out(self, step: AnnounceStep, wanted: Announcement | None) -> None:
        if step is AnnounceStep.OPEN:
            self._session = self._make_session()
            if self._ending or self._leave_by_s is not None:
                return  # who ends this has seen nothing that could be woken
            self._session.open()
            self._opened = True
            return
        session = self._session
        assert session is not None
        assert wanted is not None
        if step is AnnounceStep.PUT:
            self._put = None
            session.put(wanted)
            self._put = wanted
        elif step is AnnounceStep.BEAT:
            session.beat(self._beat_s)
        else:
            session.remove()

    def _failed(self, step: AnnounceStep, why: str, lost: bool) -> None:
        lost = lost or step is AnnounceStep.OPEN
        if lost:
            self._drop_session()
        turn = self._machine.failed(lost, monotonic_s())
        if turn is Turn.FAILING and not self._ending and self._leave_by_s is None:
            assert self._wanted is not None
            log.warning(
                "not announced address=%s registry=%s: %s; trying on",
                self._wanted.address,
                self._registry,
                why,
            )

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        self._put = None
        self._opened = False
        if session is not None:
            try:
                session.close()
            except Exception:
                log.debug("closing a session failed", exc_info=True)

    def _tell_well(self, turn: Turn) -> None:
        """Tell a person that clients find this server now, or whose place it waits for."""
        session = self._session
        assert session is not None
        assert self._wanted is not None
        place = session.standing_by()
        if turn is not Turn.WELL and (place == self._standing_by or not self._machine.well):
            return
        self._standing_by = place
        if place:
            word, place = "stands by", f": {place}"
        else:
            word = "announced"
        log.info("%s address=%s registry=%s%s", word, self._wanted.address, self._registry, place)
