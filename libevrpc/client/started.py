"""A call that nobody waits for on the spot: driven by the background loop, held as a future."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from libevrpc.channel.call import ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.wire import ClientConnection
from libevrpc.client.aside import run_aside
from libevrpc.client.controller import ClientController
from libevrpc.client.future import CallFuture
from libevrpc.client.invocation import CallShape, Hold, Invocation, Outcome
from libevrpc.client.method import MethodSpec
from libevrpc.client.router import Router
from libevrpc.core.prpc import Reply
from libevrpc.core.retry import Retry
from libevrpc.errors import RpcError, StatusCode

__all__ = ["FutureInvocation"]

log = logging.getLogger(__name__)

_INFLATED_HERE_BYTES = 4096
"""A compressed reply to a future that is longer is inflated off the loop of all clients."""


class FutureInvocation(Invocation, CallFuture):
    """A call that the background loop drives, and at once the future its caller holds."""

    _connection: ClientConnection | None = None
    _call: ClientCall | None = None
    _given_up = False
    _resting = False

    def __init__(
        self,
        spec: MethodSpec,
        payload: bytes,
        router: Router,
        shape: CallShape,
        timeout_s: float,
        controller: ClientController | None,
        key: bytes | str | None,
        idempotent: bool | None,
    ) -> None:
        CallFuture.__init__(self)
        try:
            Invocation.__init__(
                self, spec, payload, router, shape, timeout_s, controller, key, idempotent
            )
        except RpcError as exc:
            self._end_badly(exc)

    def start(self) -> CallFuture:
        """Begin to call. The caller's thread, once."""
        if not self._done:
            self._launch()
        return self

    def _launch(self) -> None:
        """Begin a try. The caller's thread."""
        if self._given_up:
            if not self._done:
                text = "cancelled by the caller"
                self._end_badly(self._fail(RpcError(StatusCode.CANCELLED, text)))
            return
        try:
            channel = self._next_channel()
        except RpcError as exc:
            self._end_badly(self._fail(exc))
            return
        if channel is None:
            self._wait_for(self._router.known)
            return
        self._begin_try(channel)

    def _begin_try(self, channel: Channel) -> None:
        self._connection = connection = channel.connection()
        self._call = call = ClientCall(connection.next_id(), self._deadline_s, self._on_done)
        try:
            frame = self._frame(connection, call.correlation_id)
        except RpcError as exc:
            self._call = None
            self._end_badly(exc)
            return
        connection.start(call, frame)
        if self._given_up:  # before there was anything to cancel: `_give_up` looks after it says so
            connection.cancel(call)

    def _on_done(self, call: ClientCall) -> None:
        """Take the end of a try. Loop thread."""
        self._call = None  # it refers to us
        reply = call.reply
        if reply is not None and reply.compress_type and len(reply.payload) > _INFLATED_HERE_BYTES:
            run_aside(lambda: self._judge_aside(call))
        else:
            self._conclude(lambda: self._judge(call))

    def _judge_aside(self, call: ClientCall) -> None:
        """Inflate a long reply where it holds up no other call, then go on as usual."""
        try:
            outcome = self._judge(call)
        except Exception as exc:
            log.exception("call failed in the client method=%s", self._spec.label)
            outcome = self._fail(_broken(exc))
        if not self._shape.loop.post(lambda: self._conclude(lambda: outcome)):
            self._conclude(lambda: outcome)  # the loop has ended: nobody else is left to do it

    def _conclude(self, judge: Callable[[], Outcome]) -> None:
        """Do what follows from a try. Loop thread."""
        try:
            outcome = judge()
            if outcome.__class__ is Reply:
                try:
                    value = self._spec.parse(outcome.payload)
                except RpcError as exc:
                    self._end_badly(exc)
                    return
                self._succeed(value)
            elif isinstance(outcome, RpcError):
                self._end_badly(outcome)
            elif isinstance(outcome, Retry) and outcome.delay_s:
                self._begin_rest()
                self._shape.loop.call_at(monotonic() + outcome.delay_s, self._relaunch)
            elif isinstance(outcome, Hold):
                self._wait_for(self._router.confirmed, outcome.error)
            else:
                self._launch()
        except Exception as exc:
            log.exception("call failed in the client method=%s", self._spec.label)
            self._break(exc)

    def _begin_rest(self) -> None:
        """Let `_give_up` end the wait that begins now; so does one that came just before."""
        self._resting = True
        if self._given_up:
            self._shape.loop.post(self._relaunch)

    def _relaunch(self) -> None:
        """Begin a later try, unless the call was given up meanwhile. Loop thread."""
        self._resting = False  # before `_given_up` is read: `_give_up` does it the other way round
        try:
            self._launch()
        except Exception as exc:
            log.exception("call failed in the client method=%s", self._spec.label)
            self._break(exc)

    def _break(self, exc: Exception) -> None:
        """End although something failed that should not: a balancer of the user's, perhaps."""
        if not self._done:
            self._end_badly(self._fail(_broken(exc)))

    def _wait_for(self, news: threading.Event, error: RpcError | None = None) -> None:
        """Launch once `news` of the router are there, or fail at the deadline."""
        loop = self._shape.loop
        self._waited = True
        waiting = [self._relaunch]
        self._begin_rest()

        def known() -> None:
            if waiting:
                waiting.pop()()

        def told() -> None:
            loop.post(known)

        def too_late() -> None:
            if not waiting:
                return
            waiting.clear()
            self._router.forget(told)
            if not self._done:
                self._end_badly(self._fail(self._without_news(error)))

        loop.post(lambda: loop.call_at(self._deadline_s, too_late))
        self._router.when(news, told)

    def _give_up(self) -> bool:
        self._given_up = True
        if self._resting:
            return self._shape.loop.post(self._relaunch)
        connection, call = self._connection, self._call
        return connection is not None and call is not None and connection.cancel(call)


def _broken(exc: Exception) -> RpcError:
    return RpcError(StatusCode.INTERNAL, f"failed in the client: {type(exc).__name__}: {exc}")
