"""A line in the log for each request and each reply of a server: `log_calls`.

Sessions that log are a class of their own, so that those that do not pay nothing for it. The lines
go to the logger `libevrpc.calls.server`: INFO, and WARNING for what failed. A request and its reply
have the same number.
"""

from __future__ import annotations

import itertools
import logging
from time import perf_counter
from typing import TYPE_CHECKING

from libevrpc.core.hello import INTERNAL_SERVICE, is_oneway
from libevrpc.core.oneline import one_line
from libevrpc.core.prpc import BadRequest, Event, PrpcDecoder, Reply, Request
from libevrpc.core.wires import GuestRequest, HeldBack, Resets, Say
from libevrpc.errors import RpcError
from libevrpc.server.calls import ServerCall
from libevrpc.server.execute import execute, note_slow
from libevrpc.server.guest_calls import GuestSide
from libevrpc.server.methods import Handling, MethodEntry
from libevrpc.server.session import Session

if TYPE_CHECKING:
    from libevrpc.loop.transport import Transport
    from libevrpc.server.limits import SessionLimits
    from libevrpc.server.shard import Shard

__all__ = ["LoggedSession"]

log = logging.getLogger("libevrpc.calls.server")

_numbers = itertools.count(1)


class LoggedSession(Session):
    """A session that writes of each call. See `Session`."""

    __slots__ = ("_open",)

    def __init__(self, shard: Shard, transport: Transport, limits: SessionLimits) -> None:
        super().__init__(shard, transport, limits)
        self._open: dict[Request, tuple[int, float]] = {}
        """Requests without a reply: their number, and when they came. Whoever takes one out
        writes of its end."""

    # -- requests -----------------------------------------------------------------------

    def note_request(self, request: Request) -> None:
        """Write that a request came, once. Loop thread."""
        if request.service == INTERNAL_SERVICE or request in self._open:
            return
        number = next(_numbers)
        self._open[request] = (number, perf_counter())
        log.info(
            "request call=%d peer=%s method=%s/%s log_id=%d bytes=%d timeout_ms=%d",
            number,
            self.peer,
            one_line(request.service),
            one_line(request.method),
            request.log_id,
            len(request.payload) + len(request.attachment),
            request.timeout_ms,
        )

    def _admit(self, request: Request, now_s: float) -> None:
        self.note_request(request)
        super()._admit(request, now_s)

    def looked_up(self, request: Request) -> MethodEntry | None:
        """See `Session.looked_up`: requests of other wires begin here."""
        self.note_request(request)
        return super().looked_up(request)

    def refuse(self, event: Request | BadRequest, errno: int, text: str) -> None:
        """See `Session.refuse`."""
        if isinstance(event, Request):
            self.note_request(event)
        super().refuse(event, errno, text)

    def _run_inline(self, request: Request, entry: MethodEntry, now_s: float) -> bool:
        """See `Session`: every call has an object here, which its reply can be told by."""
        if entry.handling is not Handling.REQUEST or request.compress_type:
            return super()._run_inline(request, entry, now_s)
        started_s = perf_counter()
        execute(self.new_call(request, entry, now_s, 0))
        took_s = perf_counter() - started_s
        if took_s > self.limits.inline_warn_s:
            note_slow(entry, took_s, now_s)
        return True

    def _other_event(self, event: Event) -> None:
        guest = isinstance(event, GuestRequest | Say | HeldBack | Resets)
        if guest and self.guests is None:
            self.guests = _LoggedGuestSide(self, self._shard, self._transport, self._decoder)
        super()._other_event(event)

    # -- replies ------------------------------------------------------------------------

    def note_end(self, request: Request, size: str, error: RpcError | None) -> None:
        """Write how a call ended, once. Any thread.

        Args:
            request: what came.
            size: of the answer, where it is known.
            error: None: it went well.
        """
        number, came_s = self._open.pop(request, (0, 0.0))
        if not number:
            return
        log.log(
            logging.INFO if error is None else logging.WARNING,
            "reply call=%d peer=%s method=%s/%s ms=%.3f %s",
            number,
            self.peer,
            one_line(request.service),
            one_line(request.method),
            (perf_counter() - came_s) * 1000.0,
            f"OK{size}" if error is None else one_line(str(error)),
        )

    def _write(self, call: ServerCall, frame: bytes) -> None:
        for told in PrpcDecoder("client", self.limits.wire).receive_data(frame):
            if isinstance(told, Reply):
                size = f" bytes={len(told.payload) + len(told.attachment)}"
                self.note_end(call.request, size, _error_in(told))
        self.note_end(
            call.request, "", None
        )  # one beyond the limits of requests, which may be lower
        super()._write(call, frame)

    def _tell(self, request: Request, errno: int, text: str) -> None:
        self.note_end(request, "", RpcError.from_errno(errno, text))
        super()._tell(request, errno, text)

    def cancel(self, correlation_id: int) -> bool:
        """See `Session.cancel`."""
        concerned = [
            each for each in self.in_flight if each.request.correlation_id == correlation_id
        ]
        found = super().cancel(correlation_id)
        for call in concerned:
            if call.cancelled:
                self._note_silence(call.request, "cancelled by the caller")
        return found

    def on_shut(self, reason: str) -> None:
        """See `Session.on_shut`."""
        super().on_shut(reason)
        for request in list(self._open):
            if not is_oneway(request.user_fields):
                self._note_silence(request, reason)

    def _note_silence(self, request: Request, why: str) -> None:
        number, came_s = self._open.pop(request, (0, 0.0))
        if number:
            log.warning(
                "no reply call=%d peer=%s method=%s/%s ms=%.3f: %s",
                number,
                self.peer,
                one_line(request.service),
                one_line(request.method),
                (perf_counter() - came_s) * 1000.0,
                why,
            )


class _LoggedGuestSide(GuestSide):
    """The same for other wires. See `GuestSide`."""

    __slots__ = ()

    def write(self, request: GuestRequest, encoded: object) -> None:
        """See `GuestSide.write`."""
        session = self._session
        assert isinstance(session, LoggedSession)
        session.note_end(request, "", encoded if isinstance(encoded, RpcError) else None)
        super().write(request, encoded)


def _error_in(reply: Reply) -> RpcError | None:
    if not reply.error_code:
        return None
    return RpcError.from_errno(reply.error_code, reply.error_text, reply.user_fields)
