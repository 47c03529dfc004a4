"""One call on the server's side, and the controller its handler holds of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from libevrpc.core.prpc import Request
from libevrpc.core.wires import GuestRequest
from libevrpc.errors import Errno, RpcError, StatusCode, UsageError, errno_of
from libevrpc.server.methods import MethodEntry

if TYPE_CHECKING:
    from libevrpc.server.session import Session

__all__ = ["EXPIRED", "Deferred", "GuestCall", "ServerCall", "ServerController", "run_hook"]

log = logging.getLogger(__name__)

EXPIRED = "deadline reached before the handler finished"
"""What the caller of a call is told whose time is up."""


def run_hook(hook: Callable[[], object]) -> None:
    """Run what a handler left to be run; its failure is logged and nobody else's."""
    try:
        hook()
    except BaseException:  # sys.exit() in it must not end its loop
        log.exception("hook of a call failed hook=%r", hook)


class ServerCall:
    """A request that was admitted. It is answered at most once: by whoever takes it out of
    its session's `in_flight`.

    Attributes:
        session: the connection it came on.
        request: as decoded.
        entry: what it calls.
        deadline_s: monotonic instant at which the caller stops waiting.
        order: its position among its session's calls for the workers, from 1; 0: inline.
        cancelled: nobody waits for the reply any more.
        controller: made when a handler wants one.
    """

    __slots__ = ("cancelled", "controller", "deadline_s", "entry", "order", "request", "session")

    def __init__(
        self, session: Session, request: Request, entry: MethodEntry, deadline_s: float, order: int
    ) -> None:
        self.session = session
        self.request = request
        self.entry = entry
        self.deadline_s = deadline_s
        self.order = order
        self.cancelled = False
        self.controller: ServerController | None = None

    def make_controller(self) -> ServerController:
        """Return the controller. The handler's thread, once."""
        self.controller = controller = ServerController(self)
        if self.cancelled:  # it was cancelled before there was anybody to tell
            controller.tell_cancelled()
        return controller

    def cancel(self) -> None:
        """Note that nobody waits any more, and tell the handler. Whoever took it out."""
        self.cancelled = True
        controller = self.controller
        if controller is not None:
            controller.tell_cancelled()


class GuestCall(ServerCall):
    """A call that came by another wire; its `request` is a `GuestRequest`."""

    __slots__ = ()

    request: GuestRequest


class ServerController:
    """What a handler holds of its call: deadline, metadata, attachment, cancel, failure.

    Made for one call; used by its handler's thread, `cancelled` and the deferred reply by
    any thread.
    """

    __slots__ = (
        "_call",
        "_cancel_event",
        "_cancel_hooks",
        "_failure",
        "compress_type",
        "deferred",
        "response_attachment",
        "response_fields",
    )

    def __init__(self, call: ServerCall) -> None:
        self._call = call
        self._cancel_event: threading.Event | None = None  # few ask for it, and it costs
        self._cancel_hooks: list[Callable[[], object]] = []
        self._failure: RpcError | None = None
        self.deferred: Deferred | None = None
        self.response_attachment = b""
        """Raw bytes to send beside the reply."""
        self.response_fields: dict[str, str] = {}
        """String metadata to send with the reply or the error."""
        self.compress_type = 0
        """How to compress the reply: 0 none, 2 gzip, 3 zlib."""

    # -- the request --------------------------------------------------------------------

    @property
    def service(self) -> str:
        """Full name of the service called."""
        return self._call.entry.service

    @property
    def method(self) -> str:
        """Name of the method called."""
        return self._call.entry.method

    @property
    def peer(self) -> str:
        """Address of the caller."""
        return self._call.session.peer

    @property
    def attachment(self) -> bytes:
        """Raw bytes that came beside the request."""
        return self._call.request.attachment

    @property
    def metadata(self) -> Mapping[str, str]:
        """String metadata that came with the request."""
        return self._call.request.user_fields or {}

    @property
    def log_id(self) -> int:
        """The caller's number for its logs; 0 if it sent none."""
        return self._call.request.log_id

    # -- time ---------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float:
        """Monotonic instant at which the caller stops waiting."""
        return self._call.deadline_s

    def time_remaining_s(self) -> float:
        """Return the seconds until the deadline, never negative. Any thread."""
        return max(0.0, self._call.deadline_s - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """True once nobody waits for the reply: cancelled, out of time, or disconnected."""
        return self._call.cancelled

    def wait_cancelled(self, timeout_s: float | None = None) -> bool:
        """Block until cancelled or `timeout_s` is over; returns `cancelled`. Any thread."""
        event = self._cancel_event
        if event is None:
            event = self._cancel_event = threading.Event()
            self.on_cancel(event.set)
        event.wait(timeout_s)
        return self._call.cancelled

    def on_cancel(self, hook: Callable[[], object]) -> None:
        """Run `hook` once when the call is cancelled, at once if it is already.

        It runs on a loop thread, behind those that were set before, and must not block.
        """
        self._cancel_hooks.append(hook)
        if self._call.cancelled:
            self._run_hooks()

    def on_disconnect(self, key: object, hook: Callable[[], object]) -> bool:
        """Run `hook` once when the caller's connection ends, also after this call.

        It runs on a loop thread and must not block. A hook with an equal `key` replaces the
        last one of that connection. False, and no hook, when the connection has ended
        already or has 64 hooks. Any thread.
        """
        return self._call.session.end_hooks.add(key, hook)

    def tell_cancelled(self) -> None:
        """Wake who waits and run the hooks. Called by the call, not by handlers."""
        self._run_hooks()

    def _run_hooks(self) -> None:
        while self._cancel_hooks:  # pop decides which thread runs it
            try:
                hook = self._cancel_hooks.pop(0)
            except IndexError:
                return
            run_hook(hook)

    # -- the outcome --------------------------------------------------------------------

    def set_failed(self, text: str, code: StatusCode = StatusCode.UNKNOWN) -> None:
        """Fail the call with `text`; what the handler returns is then ignored."""
        if code is StatusCode.OK:
            raise UsageError("set_failed with OK: pass the code that says what went wrong")
        self._failure = RpcError(code, text, errno=errno_of(code))

    def failed(self) -> bool:
        """True once `set_failed` was called."""
        return self._failure is not None

    def error_text(self) -> str:
        """Return what `set_failed` said; empty if it was not called."""
        return "" if self._failure is None else self._failure.text

    @property
    def failure(self) -> RpcError | None:
        """The error that `set_failed` made, None without one."""
        return self._failure

    def defer(self) -> Deferred:
        """Answer later: what the handler returns is ignored, the worker is free at once.

        Returns the object to answer with, from any thread. The deadline still holds.
        """
        if self.deferred is None:
            self.deferred = Deferred(self._call, self)
        return self.deferred


class Deferred:
    """The reply still owed to a call. Any thread; the first answer counts."""

    __slots__ = ("_call", "_controller")

    def __init__(self, call: ServerCall, controller: ServerController) -> None:
        self._call = call
        self._controller = controller

    def reply(self, response: Any) -> bool:
        """Send `response`; False if nobody waits any more or an answer was sent before."""
        from libevrpc.server.execute import answer

        return answer(self._call, self._controller, response)

    def fail(self, error: RpcError) -> bool:
        """Send an error; False if nobody waits any more or an answer was sent before."""
        from libevrpc.server.execute import refuse

        return refuse(self._call, error.errno or Errno.INTERNAL, error.text, error.code)
