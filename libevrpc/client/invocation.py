"""One logical call: its tries, in the caller's thread or driven by the background loop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from libevrpc.channel.call import CallFailure, ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.connection import Connection
from libevrpc.client.controller import ClientController
from libevrpc.client.future import CallFuture
from libevrpc.client.method import MethodSpec
from libevrpc.client.router import Router
from libevrpc.clock import monotonic_s
from libevrpc.core.compress import compress, decompress
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.hello import HELLO_FIELD, ONEWAY_FIELD
from libevrpc.core.prpc import Reply
from libevrpc.core.retry import GiveUp, Retry
from libevrpc.errors import Errno, RpcError, StatusCode
from libevrpc.loop.eventloop import EventLoop

__all__ = ["CallShape", "Invocation"]


class CallShape:
    """What a client's calls have in common. Immutable, any thread."""

    __slots__ = ("checksum", "compress_type", "hello_field", "inflated_bytes_max", "loop")

    def __init__(
        self,
        *,
        loop: EventLoop,
        hello_field: str,
        compress_type: int,
        checksum: bool,
        inflated_bytes_max: int,
    ) -> None:
        self.loop = loop
        self.hello_field = hello_field
        self.compress_type = compress_type
        self.checksum = checksum
        self.inflated_bytes_max = inflated_bytes_max


class Invocation:
    """A call with its deadline, its tries and where they went. One thread at a time."""

    __slots__ = (
        "_call",
        "_cancelled",
        "_connection",
        "_controller",
        "_deadline_s",
        "_endpoint",
        "_future",
        "_idempotent",
        "_key",
        "_payload",
        "_retries",
        "_router",
        "_shape",
        "_spec",
        "_started_s",
        "_timeout_ms",
        "_tried",
        "_try_s",
    )

    def __init__(
        self,
        spec: MethodSpec,
        payload: bytes,
        router: Router,
        shape: CallShape,
        *,
        timeout_s: float,
        key: bytes | None,
        idempotent: bool | None,
        controller: ClientController | None,
    ) -> None:
        self._spec = spec
        self._router = router
        self._shape = shape
        self._key = key
        self._idempotent = spec.idempotent if idempotent is None else idempotent
        self._controller = controller
        self._started_s = self._try_s = monotonic_s()
        self._timeout_ms = max(1, int(timeout_s * 1000.0))
        self._deadline_s = self._started_s + timeout_s
        self._retries = 0
        self._tried: tuple[Endpoint, ...] = ()
        self._endpoint: Endpoint | None = None
        self._connection: Connection | None = None
        self._call: ClientCall | None = None
        self._future: CallFuture | None = None
        self._cancelled = False
        compress_type = shape.compress_type
        if controller is not None:
            controller.reset()
            compress_type = controller.compress_type or compress_type
        self._payload = compress(compress_type, payload) if compress_type else payload

    # -- in the caller's thread ---------------------------------------------------------

    def run(self) -> Reply:
        """Call, with retries; returns the successful reply, inflated.

        Raises:
            RpcError: the call failed.
        """
        while True:
            channel = self._next_channel()
            if channel is None:
                self._await_endpoint()
                continue
            connection = channel.connection()
            call = ClientCall(connection.next_id(), self._deadline_s)
            connection.run(call, self._frame(connection, call.correlation_id))
            outcome = self._judge(call)
            if isinstance(outcome, Reply):
                return outcome
            if isinstance(outcome, RpcError):
                raise outcome
            if outcome.delay_s:
                threading.Event().wait(outcome.delay_s)

    def send_oneway(self) -> None:
        """Send once and forget.

        Raises:
            RpcError: it could not be sent, after retries.
        """
        while True:
            channel = self._next_channel()
            if channel is None:
                self._await_endpoint()
                continue
            connection = channel.connection()
            frame = self._frame(connection, connection.next_id(), {ONEWAY_FIELD: "1"})
            failure = connection.send_oneway(frame)
            assert self._endpoint is not None
            if failure is None:
                self._router.succeeded(self._endpoint, self._try_s, 0.0)
                return
            outcome = self._after_failure(failure, self._try_s)
            if isinstance(outcome, RpcError):
                raise outcome
            threading.Event().wait(outcome.delay_s)

    def _await_endpoint(self) -> None:
        """Block until the registry names an endpoint."""
        if not self._router.known.wait(self._deadline_s - monotonic_s()):
            raise self._fail(_nobody(self._spec))

    # -- driven by the background loop --------------------------------------------------

    def start(self, finish: Callable[[CallFuture, Reply], object]) -> CallFuture:
        """Begin to call; `finish` turns the successful reply into the future's result."""
        future = self._future = CallFuture(self._cancel)

        def done(call: ClientCall) -> None:
            outcome = self._judge(call)
            if isinstance(outcome, Reply):
                finish(future, outcome)
            elif isinstance(outcome, RpcError):
                future.set_error(outcome)
            elif outcome.delay_s:
                self._shape.loop.call_at(monotonic_s() + outcome.delay_s, launch)
            else:
                launch()

        def launch() -> None:
            if self._cancelled:
                future.set_error(RpcError(StatusCode.CANCELLED, "cancelled by the caller"))
                return
            channel = self._next_channel()
            if channel is None:
                self._wait_in_background(launch)
                return
            connection = self._connection = channel.connection()
            call = self._call = ClientCall(connection.next_id(), self._deadline_s, done)
            connection.start(call, self._frame(connection, call.correlation_id))

        launch()
        return future

    def _wait_in_background(self, launch: Callable[[], object]) -> None:
        """Launch once the registry names an endpoint, or fail at the deadline."""
        pending = [launch]

        def known() -> None:
            if pending:
                self._shape.loop.post(lambda: pending and pending.pop()())

        def too_late() -> None:
            if pending:
                pending.clear()
                assert self._future is not None
                self._future.set_error(self._fail(_nobody(self._spec)))

        loop = self._shape.loop
        loop.post(lambda: loop.call_at(self._deadline_s, too_late))
        self._router.when_known(known)

    def _cancel(self) -> bool:
        self._cancelled = True
        connection, call = self._connection, self._call
        return connection is not None and call is not None and connection.cancel(call)

    # -- one try ------------------------------------------------------------------------

    def _next_channel(self) -> Channel | None:
        now_s = monotonic_s() if self._retries else self._started_s
        picked = self._router.pick(self._key, self._tried, now_s)
        if picked is None:
            return None
        self._endpoint = picked[0]
        self._try_s = now_s
        return picked[1]

    def _frame(
        self, connection: Connection, call_id: int, fields: dict[str, str] | None = None
    ) -> bytes:
        timeout_ms = self._timeout_ms
        if self._retries:
            left_s = self._deadline_s - monotonic_s()
            timeout_ms = max(1, math.ceil(left_s * 1000.0))
        if connection.greet:
            connection.greet = False
            fields = {**(fields or {}), HELLO_FIELD: self._shape.hello_field}
        controller = self._controller
        shape = self._shape
        if controller is None:
            return self._spec.encoder.encode(
                call_id,
                self._payload,
                timeout_ms=timeout_ms,
                content_type=self._spec.content_type,
                compress_type=shape.compress_type,
                user_fields=fields,
                checksum=shape.checksum,
            )
        if controller.metadata:
            fields = {**controller.metadata, **(fields or {})}
        return self._spec.encoder.encode(
            call_id,
            self._payload,
            timeout_ms=timeout_ms,
            content_type=self._spec.content_type,
            attachment=controller.attachment,
            compress_type=controller.compress_type or shape.compress_type,
            user_fields=fields,
            log_id=controller.log_id,
            checksum=shape.checksum,
        )

    def _judge(self, call: ClientCall) -> Reply | RpcError | Retry:
        """Say what a finished try means: the reply, the error to raise, or another try."""
        failure = call.failure
        now_s = monotonic_s()
        if failure is not None:
            return self._after_failure(failure, now_s)
        reply = call.reply
        assert reply is not None
        assert self._endpoint is not None
        if reply.error_code:
            error = RpcError.from_errno(reply.error_code, reply.error_text, reply.user_fields)
            return self._after_error(error, True, now_s, error.errno == Errno.STOPPING)
        self._router.succeeded(self._endpoint, now_s, now_s - self._try_s)
        if reply.compress_type:
            try:
                reply.payload = decompress(
                    reply.compress_type, reply.payload, self._shape.inflated_bytes_max
                )
            except RpcError as exc:
                return self._fail(RpcError.from_errno(Errno.BAD_RESPONSE, exc.text))
        controller = self._controller
        if controller is not None:
            self._note_end(controller, now_s)
            controller.note_reply(reply)
        return reply

    def _after_failure(self, failure: CallFailure, now_s: float) -> RpcError | Retry:
        error = RpcError.from_errno(failure.errno, failure.text)
        broken = error.code is StatusCode.UNAVAILABLE
        return self._after_error(error, failure.sent, now_s, broken)

    def _after_error(
        self, error: RpcError, sent: bool, now_s: float, broken: bool
    ) -> RpcError | Retry:
        endpoint = self._endpoint
        assert endpoint is not None
        self._router.failed(endpoint, error, now_s, now_s - self._try_s, broken)
        step = self._router.next_step(
            error,
            sent=sent,
            idempotent=self._idempotent,
            retries=self._retries,
            now_s=now_s,
            deadline_s=self._deadline_s,
        )
        match step:
            case Retry():
                self._retries += 1
                if endpoint not in self._tried:
                    self._tried = (*self._tried, endpoint)
                return step
            case GiveUp():
                return self._fail(error)

    def _fail(self, error: RpcError) -> RpcError:
        controller = self._controller
        if controller is not None:
            self._note_end(controller, monotonic_s())
            controller.note_error(error)
        return error

    def _note_end(self, controller: ClientController, now_s: float) -> None:
        controller.peer = self._endpoint.address if self._endpoint is not None else ""
        controller.retries = self._retries
        controller.latency_s = now_s - self._started_s


def _nobody(spec: MethodSpec) -> RpcError:
    text = f"no server of {spec.service} is known"
    return RpcError(StatusCode.UNAVAILABLE, text, errno=Errno.FAILED_SOCKET)


def result_of(spec: MethodSpec) -> Callable[[CallFuture, Reply], Any]:
    """Return what completes a future of `spec`: parses the reply, or fails."""

    def finish(future: CallFuture, reply: Reply) -> None:
        try:
            value = spec.parse(reply.payload)
        except RpcError as exc:
            future.set_error(exc)
            return
        future.set_result(value)

    return finish
