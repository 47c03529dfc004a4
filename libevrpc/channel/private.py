"""What a connection says beside its calls: who it is, heartbeats and cancels."""

from __future__ import annotations

from libevrpc.core.hello import INTERNAL_SERVICE, PING_ID
from libevrpc.core.prpc_encode import RequestEncoder, encode_signed

__all__ = ["cancel_frame", "ping_frame", "probe_frame", "token_frame"]

_PING = RequestEncoder(INTERNAL_SERVICE, "Ping")
_CANCEL = RequestEncoder(INTERNAL_SERVICE, "Cancel")
_TIMEOUT_MS = 1000


def ping_frame() -> bytes:
    """Return a heartbeat; its answer has an id that no call has. Any thread."""
    return _PING.encode(PING_ID, b"", timeout_ms=_TIMEOUT_MS)


def probe_frame(call_id: int) -> bytes:
    """Return a heartbeat whose answer is that of a call. Any thread."""
    return _PING.encode(call_id, b"", timeout_ms=_TIMEOUT_MS)


def token_frame(token: bytes) -> bytes:
    """Return what a connection begins with where there is a token: a heartbeat that shows it.

    Any thread. Servers that take no tokens, and foreign ones, answer it like any other ping.
    """
    return encode_signed(INTERNAL_SERVICE, "Ping", PING_ID, token, _TIMEOUT_MS)


def cancel_frame(own_id: int, cancelled_id: int) -> bytes:
    """Return the request, itself numbered `own_id`, to give up a call. Any thread."""
    from libevrpc.gen.internal_pb2 import CancelRequest

    body = CancelRequest(correlation_id=cancelled_id).SerializeToString()
    return _CANCEL.encode(own_id, body, timeout_ms=_TIMEOUT_MS)
