"""The side of a session that speaks other wires than PRPC: their requests in, their replies out."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from libevrpc.core.hello import ONEWAY_FIELD
from libevrpc.core.wires import (
    HELD_BYTES_MAX,
    GuestRequest,
    HeldBack,
    Out,
    Resets,
    Say,
    WireSwitch,
)
from libevrpc.errors import Errno, RpcError
from libevrpc.loop.transport import Transport
from libevrpc.server.calls import GuestCall, ServerCall
from libevrpc.server.execute import execute, note_slow
from libevrpc.server.in_flight import GONE

if TYPE_CHECKING:
    from libevrpc.server.session import Session
    from libevrpc.server.shard import Shard

__all__ = ["GuestSide"]

log = logging.getLogger(__name__)

_INLINE_BYTES_MAX = 64 * 1024
"""Longest payload that is decoded on the loop for an inline method: JSON takes its time."""


class GuestSide:
    """One session's; made with its first message of another wire. Loop thread, but `settle`.

    Replies are handed to the loop and written there, in the order in which they are sent: a
    wire's writer may keep state. That costs a wake-up which PRPC does not pay.
    """

    __slots__ = (
        "_answers",
        "_decoder",
        "_going_on",
        "_paused",
        "_session",
        "_shard",
        "_transport",
    )

    def __init__(
        self, session: Session, shard: Shard, transport: Transport, decoder: WireSwitch
    ) -> None:
        self._session = session
        self._shard = shard
        self._transport = transport
        self._decoder = decoder
        self._answers = 0
        self._going_on = False
        self._paused = False

    # -- requests in --------------------------------------------------------------------

    def take(self, event: GuestRequest | Say | HeldBack | Resets) -> None:
        """Do what another wire's reader asks for."""
        if self._transport.closed:
            return  # it came behind the end
        match event:
            case GuestRequest():
                self._admit(event)
            case Say(data, close):
                if self._session.door is None:  # else only a token counts
                    self._session.heard()
                self._session.put(Out(data, close))
            case Resets():
                self._transport.reset_at_end()
            case HeldBack():
                # What an inline handler has answered meanwhile is held back no more.
                if self._decoder.held_bytes > HELD_BYTES_MAX:
                    self._paused = True
                    self._transport.pause_reading()

    def _admit(self, request: GuestRequest) -> None:
        session, shard = self._session, self._shard
        if request.user_fields:
            request.user_fields.pop(ONEWAY_FIELD, None)  # every request here has its answer
        if request.barred:
            session.refuse(request, Errno.UNAUTHENTICATED, request.barred)
            return
        session.heard()
        entry = session.looked_up(request)
        if entry is None:
            return
        now_s = shard.loop.now_s
        shard.admitted += 1
        entry.calls += 1
        quick = len(request.payload) <= _INLINE_BYTES_MAX and not request.compress_type
        if entry.inline and quick:
            started_s = perf_counter()
            execute(session.new_call(request, entry, now_s, 0, GuestCall))
            took_s = perf_counter() - started_s
            if took_s > session.limits.inline_warn_s:
                note_slow(entry, took_s, now_s)
            return
        session.posted_order += 1
        shard.batch.append(session.new_call(request, entry, now_s, session.posted_order, GuestCall))

    # -- replies out --------------------------------------------------------------------

    def settle(self, call: ServerCall, encoded: object) -> bool:
        """Answer a call with what its writer encoded, or with an RpcError. Any thread.

        False if nobody waits any more.
        """
        loop, in_flight, request = self._shard.loop, self._session.in_flight, call.request
        assert isinstance(request, GuestRequest)
        if loop.on_loop():
            if in_flight.pop(call, GONE) is GONE:
                return False
            self._note(encoded)
            self.write(request, encoded)
            return True
        mark, owed = object(), in_flight.replying
        owed[mark] = None  # see `InFlight`: until the loop has written it
        if in_flight.pop(call, GONE) is GONE:
            del owed[mark]
            return False
        self._note(encoded)

        def write() -> None:
            del owed[mark]
            self.write(request, encoded)

        if not loop.post(write):
            del owed[mark]
        return True

    def _note(self, encoded: object) -> None:
        if isinstance(encoded, RpcError):
            self._session.note_failure()

    def write(self, request: GuestRequest, encoded: object) -> None:
        """Send an answer, or an RpcError, and let the reader go on. Loop thread."""
        if self._transport.closed:
            return
        writer = request.writer
        try:
            if isinstance(encoded, RpcError):
                out = writer.error(request, encoded)
            else:
                out = writer.reply(request, encoded)
        except Exception:  # a fault of ours; half a reply would confuse the peer
            log.exception("reply cannot be written peer=%s", self._session.peer)
            self._session.close("reply cannot be written")
            return
        self._session.put(out)
        self._answers += 1
        if not self._going_on:  # else an inline handler answered below this very function
            self._going_on = True
            try:
                self._go_on()
            finally:
                self._going_on = False

    def _go_on(self) -> None:
        """Take what was held back, as far as it is answered at once."""
        while self._answers and not self._transport.closed:
            self._answers -= 1
            was_paused, self._paused = self._paused, False
            self._session.go_on(self._decoder.answered())
            if was_paused and not self._paused:
                self._transport.resume_reading()
