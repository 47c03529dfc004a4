"""Run one call: decode, handler, encode, answer. On a worker, or inline on the loop."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from libevrpc.core.compress import compress, decompress
from libevrpc.core.prpc_encode import encode_error, encode_reply
from libevrpc.errors import ERROR_TEXT_BYTES_MAX, Errno, RpcError, StatusCode, status_of
from libevrpc.server.calls import ServerCall, ServerController
from libevrpc.server.methods import Handling, MethodEntry

if TYPE_CHECKING:
    from libevrpc.core.prpc import Request
    from libevrpc.server.session import Session

__all__ = ["answer", "execute", "refuse", "run_direct"]

log = logging.getLogger(__name__)

_GONE = object()


def run_direct(session: Session, entry: MethodEntry, request: Request) -> bytes:
    """Run an inline handler that takes only the request; returns the frame to send.

    Loop thread. Nobody else can answer or cancel such a call, so it needs no call object.
    Never raises, like `execute`.
    """
    try:
        arguments = entry.decode(_inflated(session, request), request.content_type)
        payload = entry.encode(entry.handler(arguments), request.content_type)
        session.check_reply(len(payload))
        return encode_reply(request.correlation_id, payload, content_type=request.content_type)
    except RpcError as exc:
        error = exc
    except (Exception, SystemExit) as exc:
        log.exception("handler failed method=%s.%s", entry.service, entry.method)
        error = _handler_error(exc)
    session.note_failure()
    fields = {**error.details, "grpc-status": str(int(error.code))}
    return encode_error(request.correlation_id, error.errno, error.text, fields)


def execute(call: ServerCall) -> None:
    """Run `call` to its end, unless it has ended already. Worker or loop thread.

    Never raises: whatever a handler does becomes an error reply, and the log has the
    traceback.
    """
    if call not in call.session.in_flight:  # its deadline passed while it waited for a worker
        return
    try:
        _run(call)
    except RpcError as exc:
        refuse(call, exc.errno, exc.text, exc.code, exc.details or None)
    except (Exception, SystemExit) as exc:  # sys.exit() in a handler must not end its worker
        log.exception("handler failed method=%s.%s", call.entry.service, call.entry.method)
        error = _handler_error(exc)
        refuse(call, error.errno, error.text, error.code)


def _run(call: ServerCall) -> None:
    entry = call.entry
    request = call.request
    session = call.session
    arguments = entry.decode(_inflated(session, request), request.content_type)
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
    session.check_reply(len(payload))
    frame = encode_reply(request.correlation_id, payload, content_type=request.content_type)
    if session.in_flight.pop(call, _GONE) is not _GONE:
        session.reply(call, frame)


def _inflated(session: Session, request: Request) -> bytes:
    if not request.compress_type:
        return request.payload
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
        payload = call.entry.encode(result, request.content_type)
        if controller.compress_type:
            payload = compress(controller.compress_type, payload)
        attachment = controller.response_attachment
        call.session.check_reply(len(payload) + len(attachment))
        frame = encode_reply(
            request.correlation_id,
            payload,
            attachment=attachment,
            compress_type=controller.compress_type,
            content_type=request.content_type,
            user_fields=controller.response_fields or None,
        )
    except RpcError as exc:
        return refuse(call, exc.errno, exc.text, exc.code)
    if call.session.in_flight.pop(call, _GONE) is _GONE:
        return False
    call.session.reply(call, frame)
    return True


def refuse(
    call: ServerCall,
    errno: int,
    text: str,
    code: StatusCode | None = None,
    details: Any = None,
) -> bool:
    """Answer with an error. Any thread; False if nobody waits any more."""
    if call.session.in_flight.pop(call, _GONE) is _GONE:
        return False
    fields = dict(details) if details else {}
    controller = call.controller
    if controller is not None:
        fields.update(controller.response_fields)
    fields["grpc-status"] = str(int(status_of(errno) if code is None else code))
    call.session.note_failure()
    call.session.reply(call, encode_error(call.request.correlation_id, errno, text, fields))
    return True


def _described(exc: BaseException) -> str:
    """Say what a handler raised; an exception that cannot even be printed has its type."""
    try:
        text = f"{type(exc).__name__}: {exc}"
    except Exception:
        log.exception("exception cannot be printed type=%s", type(exc).__name__)
        text = type(exc).__name__
    return text[:ERROR_TEXT_BYTES_MAX]
