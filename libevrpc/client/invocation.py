"""One logical call: its tries, in the caller's thread or driven by the background loop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, NoReturn

from libevrpc.channel.call import CallFailure, ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.wire import ClientConnection
from libevrpc.client.arguments import (
    TIMEOUT_S_MAX,
    check_controller,
    check_foreign,
    key_bytes,
    wrong_timeout,
)
from libevrpc.client.controller import ClientController
from libevrpc.client.lease import Lease
from libevrpc.client.method import MethodSpec
from libevrpc.client.router import Router
from libevrpc.core.compress import compress, decompress
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.hello import HELLO_FIELD
from libevrpc.core.prpc import META_ROOM_BYTES, Reply
from libevrpc.core.retry import GiveUp, Retry
from libevrpc.errors import Errno, RpcError, StatusCode

__all__ = ["CallShape", "Hold", "Invocation", "Outcome", "nobody"]


class CallShape:
    """What a client's calls have in common. Immutable, any thread.

    Attributes:
        lease: of the client: its connections stay while there is a call on its way.
        loop: the background loop.
        hello_field: what the first request of a connection says of us.
        compress_type, checksum: how requests are sent unless a controller says otherwise.
        usual: requests are PRPC's and need nothing but the method, the deadline and the body.
        inflated_bytes_max: longest reply after decompression.
        request_bytes_max: longest request with its attachment, after compression.
        frame_bytes_max: the same with its metadata.
    """

    __slots__ = (
        "checksum",
        "compress_type",
        "frame_bytes_max",
        "hello_field",
        "inflated_bytes_max",
        "lease",
        "loop",
        "request_bytes_max",
        "usual",
    )

    def __init__(
        self,
        *,
        lease: Lease,
        hello_field: str,
        compress_type: int,
        checksum: bool,
        inflated_bytes_max: int,
        request_bytes_max: int,
        foreign: bool = False,
    ) -> None:
        self.request_bytes_max = request_bytes_max
        self.frame_bytes_max = request_bytes_max + META_ROOM_BYTES
        self.lease = lease
        self.loop = lease.loop
        self.hello_field = hello_field
        self.compress_type = compress_type
        self.checksum = checksum
        self.usual = not compress_type and not checksum and not foreign
        self.inflated_bytes_max = inflated_bytes_max


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody of a remembered set could be reached: go on once the registry has been heard.

    `error` is what the call fails with if that does not happen before its deadline.
    """

    error: RpcError


Outcome = Reply | RpcError | Retry | Hold
"""What a try led to: the reply, the error to raise, another try, or a wait before it."""


class Invocation:
    """A call with its deadline, its tries and where they went. One thread at a time.

    Args:
        spec: what is called.
        payload: the request's bytes.
        router: where it may go.
        shape: what all calls of the client have in common.
        timeout_s: deadline from now, retries included.
        controller: the caller's; None is the fast way.
        key: sends equal keys to the same server.
        idempotent: None: what the method says.

    Raises:
        RpcError: 1003, the request is too long to be sent; 1008, no time is left.
        UsageError: time-out, key or controller are of a wrong type, or the time-out is too long.
    """

    # Defaults stand in the class: a call sets what differs, which is little for most.
    _retries = 0
    _passed_over = 0
    _waited = False
    _dials = False
    _renewed = False
    _tried: tuple[Endpoint, ...] = ()
    _controller: ClientController | None = None
    _key: bytes | None = None
    _endpoint: Endpoint | None = None

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
        self._spec = spec
        self._router = router
        self._shape = shape
        self._started_s = self._try_s = now_s = monotonic()
        self._timeout_s = timeout_s
        try:
            self._deadline_s = now_s + timeout_s
        except TypeError:
            raise wrong_timeout(timeout_s) from None
        self._idempotent = spec.idempotent if idempotent is None else idempotent
        if key is not None:
            self._key = key_bytes(key)
        compress_type = shape.compress_type
        if controller is not None:
            check_controller(controller)
            if spec.foreign is not None:
                check_foreign(controller)
            controller.reset()
            self._controller = controller
            compress_type = controller.compress_type or compress_type
        if not 0.0 < timeout_s <= TIMEOUT_S_MAX:
            self._refuse_timeout(timeout_s)
        self._payload = compress(compress_type, payload) if compress_type else payload
        attached = 0 if controller is None else len(controller.attachment)
        if len(self._payload) + attached > shape.request_bytes_max:
            text = (
                f"request of {len(self._payload) + attached} bytes, limit {shape.request_bytes_max}"
            )
            raise self._fail(RpcError.from_errno(Errno.BAD_REQUEST, text))

    def _refuse_timeout(self, timeout_s: float) -> NoReturn:
        if timeout_s <= 0.0:  # what was left of a deadline: nothing
            text = "the deadline had passed before the call was made"
            raise self._fail(RpcError.from_errno(Errno.TIMED_OUT, text))
        raise wrong_timeout(timeout_s)

    # -- in the caller's thread ---------------------------------------------------------

    def run(self) -> Reply:
        """Call, with retries; returns the successful reply, inflated.

        Raises:
            RpcError: the call failed.
        """
        while True:
            channel = self._next_channel()
            if channel is None:
                self._await(self._router.known)
                continue
            connection = channel.connection()
            call = ClientCall(connection.next_id(), self._deadline_s)
            frame = self._frame(connection, call.correlation_id)
            try:
                connection.run(call, frame)
            except BaseException:  # Ctrl-C, or whatever else a signal handler raises
                assert self._endpoint is not None
                self._router.succeeded(self._endpoint, self._try_s, 0.0)
                raise
            outcome = self._judge(call)
            if isinstance(outcome, Reply):
                return outcome
            if isinstance(outcome, RpcError):
                raise outcome
            self._rest(outcome)

    def _rest(self, step: Retry | Hold) -> None:
        """Block for as long as the next try has to wait."""
        if isinstance(step, Hold):
            self._await(self._router.confirmed, step.error)
        elif step.delay_s:
            self._router.ended.wait(step.delay_s)

    def _await(self, news: threading.Event, error: RpcError | None = None) -> None:
        """Block until `news` of the router are there."""
        self._waited = True
        left_s = self._deadline_s - monotonic()
        if left_s <= 0.0 or not news.wait(left_s):
            raise self._fail(self._without_news(error))

    def _without_news(self, error: RpcError | None) -> RpcError:
        """Return what fails a call that waited in vain; `error`: of its last try, if any."""
        trouble = self._router.trouble()
        if error is None:
            return trouble or nobody(self._spec)
        return error if trouble is None else _with_cause(error, trouble)

    # -- one try ------------------------------------------------------------------------

    def _next_channel(self) -> Channel | None:
        now_s = monotonic() if self._retries else self._started_s
        picked = self._router.pick(self._key, self._tried, now_s)
        if picked is None:
            return None
        self._endpoint, channel = picked
        self._try_s = now_s
        return channel

    def _frame(
        self, connection: ClientConnection, call_id: int, fields: dict[str, str] | None = None
    ) -> Any:
        spec = self._spec
        timeout_ms = int(self._timeout_s * 1000.0) or 1
        if self._retries or self._waited:
            timeout_ms = max(1, math.ceil((self._deadline_s - monotonic()) * 1000.0))
        shape = self._shape
        controller = self._controller
        self._dials = not connection.open
        greets = connection.greet
        if greets:
            fields = {**(fields or {}), HELLO_FIELD: shape.hello_field}
        elif fields is None and controller is None and shape.usual and not spec.content_type:
            return spec.encoder.encode_usual(call_id, self._payload, timeout_ms)
        if spec.foreign is not None:
            return self._foreign_frame(spec.foreign, call_id)
        attachment, compress_type, log_id = b"", shape.compress_type, 0
        if controller is not None:
            attachment, log_id = controller.attachment, controller.log_id
            compress_type = controller.compress_type or compress_type
            if controller.metadata:
                fields = {**controller.metadata, **(fields or {})}
        try:
            frame = spec.encoder.encode(
                call_id,
                self._payload,
                timeout_ms=timeout_ms,
                content_type=spec.content_type,
                attachment=attachment,
                compress_type=compress_type,
                user_fields=fields,
                log_id=log_id,
                checksum=shape.checksum,
            )
            if len(frame) > shape.frame_bytes_max:
                text = f"request of {len(frame)} bytes, limit {shape.frame_bytes_max}"
                raise RpcError.from_errno(Errno.BAD_REQUEST, text)
        except RpcError as exc:
            raise self._unsendable(exc) from None
        if greets:
            connection.greet = False
        return frame

    def _foreign_frame(self, make: Callable[[int, Any], Any], call_id: int) -> Any:
        """Return the request as another wire than PRPC has it."""
        try:
            return make(call_id, self._payload)
        except RpcError as exc:
            raise self._unsendable(exc) from None

    def _unsendable(self, error: RpcError) -> RpcError:
        """End a try that is our own fault: the server must not look busy, nor bad."""
        assert self._endpoint is not None
        self._router.succeeded(self._endpoint, self._try_s, 0.0)
        return self._fail(error)

    def _judge(self, call: ClientCall) -> Outcome:
        """Say what a finished try means."""
        failure = call.failure
        reply = call.reply
        router = self._router
        if (
            failure is None
            and reply is not None
            and not router.balances
            and self._controller is None
            and not (reply.error_code or reply.compress_type)
        ):
            return reply  # with one server there is nothing to count
        now_s = monotonic()
        if failure is not None:
            return self._after_failure(failure, now_s)
        assert reply is not None
        assert self._endpoint is not None
        if reply.error_code:
            error = RpcError.from_errno(reply.error_code, reply.error_text, reply.user_fields)
            return self._after_error(error, True, now_s, error.errno == Errno.STOPPING)
        # what a dial takes says nothing of the next call
        router.succeeded(self._endpoint, now_s, 0.0 if self._dials else now_s - self._try_s)
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

    def _after_failure(self, failure: CallFailure, now_s: float) -> RpcError | Retry | Hold:
        if failure.stale and not failure.sent and not self._renewed:
            # its connection was idle for too long just then: no fault of the server, no retry
            self._renewed = True
            assert self._endpoint is not None
            self._router.succeeded(self._endpoint, now_s, 0.0)
            return Retry(0.0)
        error = RpcError.from_errno(failure.errno, failure.text)
        broken = error.code is StatusCode.UNAVAILABLE
        return self._after_error(error, failure.sent, now_s, broken)

    def _after_error(
        self, error: RpcError, sent: bool, now_s: float, broken: bool
    ) -> RpcError | Retry | Hold:
        endpoint = self._endpoint
        assert endpoint is not None
        self._router.failed(endpoint, error, now_s, now_s - self._try_s, broken)
        if broken and not sent and not self._router.vouches_for(endpoint):
            return self._pass_over(endpoint, error)
        step = self._router.next_step(
            error,
            sent=sent,
            idempotent=self._idempotent,
            retries=self._retries - self._passed_over,
            now_s=now_s,
            deadline_s=self._deadline_s,
        )
        match step:
            case Retry():
                self._note_try(endpoint)
                return step
            case GiveUp():
                trouble = self._router.trouble() if broken and not sent else None
                return self._fail(error if trouble is None else _with_cause(error, trouble))

    def _pass_over(self, endpoint: Endpoint, error: RpcError) -> Retry | Hold:
        """Go on from an endpoint that is not there, and that the registry does not name.

        The try says nothing of the servers there are, and takes none of the call's retries.
        """
        self._passed_over += 1
        self._note_try(endpoint)
        return Retry(0.0) if self._router.knows_others(self._tried) else Hold(error)

    def _note_try(self, endpoint: Endpoint) -> None:
        self._retries += 1
        if endpoint not in self._tried:
            self._tried = (*self._tried, endpoint)

    def _fail(self, error: RpcError) -> RpcError:
        controller = self._controller
        if controller is not None:
            self._note_end(controller, monotonic())
            controller.note_error(error)
        return error

    def _note_end(self, controller: ClientController, now_s: float) -> None:
        controller.peer = self._endpoint.address if self._endpoint is not None else ""
        controller.retries = self._retries
        controller.latency_s = now_s - self._started_s


def _with_cause(error: RpcError, trouble: RpcError) -> RpcError:
    """Return the failure of a call's last try, with what the registry says of it."""
    text = f"{error.text}; {trouble.text}"
    return RpcError(error.code, text, errno=error.errno, details=error.details)


def nobody(spec: MethodSpec) -> RpcError:
    """Return what fails a call that no server is known for."""
    text = f"no server of {spec.service} is known"
    return RpcError(StatusCode.UNAVAILABLE, text, errno=Errno.FAILED_SOCKET)
