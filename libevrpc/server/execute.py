"""Run one call: decode, handler, encode, answer. On a worker, or inline on the loop."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from libevrpc.core.compress import compress, decompress
from libevrpc.core.prpc import META_ROOM_BYTES
from libevrpc.core.prpc_encode import encode_error, encode_reply
from libevrpc.errors import (
    ERROR_TEXT_BYTES_MAX,
    STATUS_ERRNO_BASE,
    Errno,
    RpcError,
    StatusCode,
    status_of,
)
from libevrpc.server.calls import GuestCall, ServerCall, ServerController
from libevrpc.server.methods import Handling, MethodEntry

if TYPE_CHECKING:
    from libevrpc.core.prpc import Request
    from libevrpc.server.session import Session

__all__ = ["answer", "execute", "note_slow", "refuse", "run_direct", "running_call"]

log = logging.getLogger(__name__)

_INT31 = 0x7FFFFFFF
"""Error numbers are positive int32 values."""
_SYSTEM_ERRNO_MAX = 133
_WARN_EVERY_S = 10.0
"""A slow inline method is named this often at most."""
_NOT_A_HANDLERS = frozenset(
    {
        Errno.STOPPING,
        Errno.LIMIT,
        Errno.OVERCROWDED,
        Errno.FAILED_SOCKET,
        Errno.EOF,
        Errno.CLOSED,
        Errno.TLS,
        1017,
        Errno.REJECTED,
    }
)
"""Numbers that let a client repeat a call: not executed, or lost with its connection."""


def run_direct(session: Session, entry: MethodEntry, request: Request) -> bytes:
    """Run an inline handler that takes only the request; returns the frame to send.

    Loop thread; the request is not compressed. Nobody else can answer or cancel such a call,
    so it needs no call object. Never raises, like `execute`.
    """
    try:
        arguments = entry.decode(request.payload, request.content_type)
        payload = entry.encode(entry.handler(arguments), request.content_type)
        _check_reply(session, len(payload))
        return encode_reply(request.correlation_id, payload, content_type=request.content_type)
    except RpcError as exc:
        error = exc
    except BaseException as exc:  # sys.exit() or a cancelled task must not end the loop
        log.exception("handler failed method=%s.%s", entry.service, entry.method)
        error = _handler_error(exc)
    session.note_failure()
    return _error_frame(request, error.errno, error.text, error.code, dict(error.details))


def execute(call: ServerCall) -> None:
    """Run `call` to its end, unless it has ended already. Worker or loop thread.

    Never raises: whatever a handler does becomes an error reply, and the log has the
    traceback.
    """
    if call not in call.session.in_flight:  # its deadline passed while it waited for a worker
        return
    try:
        if type(call) is GuestCall:
            _run_guest(call)
        else:
            _run(call)
    except RpcError as exc:
        refuse(call, exc.errno, exc.text, exc.code, exc.details or None)
    except BaseException as exc:  # sys.exit() or a cancelled task must not end the worker
        log.exception("handler failed method=%s.%s", call.entry.service, call.entry.method)
        error = _handler_error(exc)
        refuse(call, error.errno, error.text, error.code)


def note_slow(entry: MethodEntry, took_s: float, now_s: float) -> None:
    """Warn of an inline handler that held its loop, at most once in a while. Loop thread."""
    if now_s >= entry.warn_again_s:
        entry.warn_again_s = now_s + _WARN_EVERY_S
        log.warning(
            "inline handler held its loop method=%s.%s ms=%.1f",
            entry.service,
            entry.method,
            took_s * 1000.0,
        )


def running_call() -> ServerCall | None:
    """Return the call whose handler asks, None outside of handlers. Any thread.

    Read from the stack: no call pays for a question that is asked once in a server's life.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is execute.__code__:
            call = frame.f_locals["call"]
            assert isinstance(call, ServerCall)
            return call
        frame = frame.f_back
    return None


def _run(call: ServerCall) -> None:
    entry = call.entry
    request = call.request
    session = call.session
    payload = request.payload if not request.compress_type else _inflated(session, request)
    arguments = entry.decode(payload, request.content_type)
    handling = entry.handling
    controller: ServerController | None = None
    started_s = perf_counter()
    if handling is Handling.REQUEST:
        result = entry.handler(arguments)
    elif handling is Handling.CALL:
        result = entry.handler(arguments, call)
    else:
        controller = call.make_controller()
        result = entry.handler(arguments, controller)
    entry.measured(perf_counter() - started_s)
    if controller is not None:
        if controller.failure is not None:
            raise controller.failure
        if controller.deferred is None:
            answer(call, controller, result)
        return
    payload = entry.encode(result, request.content_type)
    _check_reply(session, len(payload))
    frame = encode_reply(request.correlation_id, payload, content_type=request.content_type)
    session.reply(call, frame)


def _run_guest(call: GuestCall) -> None:
    """`_run` for another wire: its writer knows the bytes."""
    entry = call.entry
    arguments = call.request.writer.decode(entry, call.request)
    controller: ServerController | None = None
    started_s = perf_counter()
    if entry.handling is Handling.REQUEST:
        result = entry.handler(arguments)
    else:
        controller = call.make_controller()
        result = entry.handler(arguments, controller)
    entry.measured(perf_counter() - started_s)
    if controller is not None:
        if controller.failure is not None:
            raise controller.failure
        if controller.deferred is not None:
            return
    _answer_guest(call, controller, result)


def _check_reply(session: Session, payload_bytes: int) -> None:
    """Refuse a reply that no peer would take.

    Raises:
        RpcError: 2002, over the limit for bodies.
    """
    limit_bytes = session.limits.reply_bytes_max
    if payload_bytes > limit_bytes:
        text = f"reply of {payload_bytes} bytes, limit {limit_bytes}"
        raise RpcError.from_errno(Errno.BAD_RESPONSE, text)


def _answer_guest(call: GuestCall, controller: ServerController | None, result: Any) -> bool:
    encoded = call.request.writer.encode(call.entry, call.request, result, controller)
    if isinstance(encoded, bytes):
        _check_reply(call.session, len(encoded))
    guests = call.session.guests
    return guests is not None and guests.settle(call, encoded)


def _inflated(session: Session, request: Request) -> bytes:
    limit = session.limits.inflated_bytes_max
    return decompress(request.compress_type, request.payload, limit)


def _handler_error(exc: BaseException) -> RpcError:
    """Return the error that the caller of a handler gets."""
    return RpcError(StatusCode.UNKNOWN, _described(exc), errno=Errno.INTERNAL)


def answer(call: ServerCall, controller: ServerController, result: Any) -> bool:
    """Encode and send a result with what the controller says. Any thread.

    False if nobody waits any more. A result that cannot be sent becomes an error reply.
    """
    request = call.request
    try:
        if type(call) is GuestCall:
            return _answer_guest(call, controller, result)
        payload = call.entry.encode(result, request.content_type)
        if controller.compress_type:
            payload = compress(controller.compress_type, payload)
        attachment = controller.response_attachment
        _check_reply(call.session, len(payload) + len(attachment))
        frame = encode_reply(
            request.correlation_id,
            payload,
            attachment=attachment,
            compress_type=controller.compress_type,
            content_type=request.content_type,
            user_fields=controller.response_fields or None,
        )
        if controller.response_fields:  # they may need more than the room that is kept for them
            _check_reply(call.session, len(frame) - META_ROOM_BYTES)
    except RpcError as exc:
        return refuse(call, exc.errno, exc.text, exc.code)
    except Exception as exc:
        log.exception("reply cannot be sent method=%s.%s", call.entry.service, call.entry.method)
        text = f"reply or its metadata cannot be sent: {_described(exc)}"
        return refuse(call, Errno.BAD_RESPONSE, text, StatusCode.INTERNAL)
    if not call.session.reply(call, frame):
        return False
    call.controller = None  # they hold each other: freed now, not when garbage is collected
    return True


def refuse(
    call: ServerCall,
    errno: int,
    text: str,
    code: StatusCode | None = None,
    details: Any = None,
) -> bool:
    """Answer with an error. Any thread; False if nobody waits any more."""
    if type(call) is GuestCall:
        error = _as_told(errno, text, status_of(errno) if code is None else code, details or {})
        guests = call.session.guests
        return guests is not None and guests.settle(call, error)
    fields = dict(details) if details else {}
    controller = call.controller
    if controller is not None:
        with contextlib.suppress(TypeError, ValueError):  # a handler may have put anything there
            fields.update(controller.response_fields)
    status = status_of(errno) if code is None else code
    frame = _error_frame(call.request, errno, text, status, fields)
    return call.session.reply(call, frame, failed=True)


def _error_frame(
    request: Request, errno: int, text: str, code: StatusCode, fields: dict[Any, Any]
) -> bytes:
    error = _as_told(errno, text, code, fields)
    told = {**error.details, "grpc-status": str(int(error.code))}
    return encode_error(request.correlation_id, error.errno, error.text, told)


def _as_told(errno: int, text: str, code: StatusCode, fields: Mapping[Any, Any]) -> RpcError:
    """Return an error that can be sent, whatever a handler put into it: its caller waits."""
    if code is StatusCode.OK or not 0 != errno == errno & _INT31:
        errno, code = Errno.INTERNAL, StatusCode.INTERNAL
    errno = _told_by_handler(errno, code)
    sendable = {
        key: value
        for key, value in fields.items()
        if isinstance(key, str) and isinstance(value, str)
    }
    return RpcError(code, str(text), errno=errno, details=sendable)


def _told_by_handler(errno: int, code: StatusCode) -> int:
    """Return the number that a handler's error travels as.

    It ran, whatever number it chose or got from a server that it called itself: a client must
    not take its error for a refusal and have the call executed again.
    """
    if errno in _NOT_A_HANDLERS or errno <= _SYSTEM_ERRNO_MAX:
        cancelled = errno == Errno.CANCELLED and code is StatusCode.CANCELLED
        return errno if cancelled else STATUS_ERRNO_BASE + code
    return errno


def _described(exc: BaseException) -> str:
    """Say what a handler raised; an exception that cannot even be printed has its type."""
    try:
        text = f"{type(exc).__name__}: {exc}"
    except Exception:
        log.exception("exception cannot be printed type=%s", type(exc).__name__)
        text = type(exc).__name__
    return text[:ERROR_TEXT_BYTES_MAX]
