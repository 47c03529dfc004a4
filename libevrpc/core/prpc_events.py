"""What a decoder makes of the bytes it is fed, and the limits it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from libevrpc.errors import ProtocolError

__all__ = [
    "BadRequest",
    "Broken",
    "Dropped",
    "Event",
    "HeldBack",
    "Reply",
    "Request",
    "Resets",
    "Say",
    "Settled",
    "SignedRequest",
    "WireLimits",
]


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Longest parts of one message, in bytes.

    Attributes:
        body_bytes_max: everything after the 12-byte header.
        header_bytes_max: the RpcMeta.
        inflated_bytes_max: the message after decompression (kept by whoever inflates).
    """

    body_bytes_max: int = 64 * 1024 * 1024
    header_bytes_max: int = 64 * 1024
    inflated_bytes_max: int = 64 * 1024 * 1024


class Request:
    """A whole request.

    Attributes:
        correlation_id: echoed in the reply; any int64, not unique.
        service, method: as sent, never empty.
        timeout_ms: how long the caller waits; 0 or less: it did not say.
        log_id: for logs; 0 when absent.
        payload: message bytes, still compressed.
        attachment: raw bytes beside the message.
        compress_type, content_type: how to read the payload.
        user_fields: string metadata; None when there is none.
    """

    __slots__ = (
        "attachment",
        "compress_type",
        "content_type",
        "correlation_id",
        "log_id",
        "method",
        "payload",
        "service",
        "timeout_ms",
        "user_fields",
    )

    def __init__(
        self,
        correlation_id: int,
        service: str,
        method: str,
        timeout_ms: int,
        log_id: int,
        payload: bytes,
        attachment: bytes = b"",
        compress_type: int = 0,
        content_type: int = 0,
        user_fields: dict[str, str] | None = None,
    ) -> None:
        self.correlation_id = correlation_id
        self.service = service
        self.method = method
        self.timeout_ms = timeout_ms
        self.log_id = log_id
        self.payload = payload
        self.attachment = attachment
        self.compress_type = compress_type
        self.content_type = content_type
        self.user_fields = user_fields


class SignedRequest(Request):
    """A request whose sender says who it is; the first of a connection, if any does.

    Attributes:
        authentication_data: what it shows.
    """

    __slots__ = ("authentication_data",)

    authentication_data: bytes


class Reply:
    """A whole reply. Fields as in `Request`; `error_code` 0 is success."""

    __slots__ = (
        "attachment",
        "compress_type",
        "content_type",
        "correlation_id",
        "error_code",
        "error_text",
        "payload",
        "user_fields",
    )

    def __init__(
        self,
        correlation_id: int,
        error_code: int,
        error_text: str,
        payload: bytes,
        attachment: bytes = b"",
        compress_type: int = 0,
        content_type: int = 0,
        user_fields: dict[str, str] | None = None,
    ) -> None:
        self.correlation_id = correlation_id
        self.error_code = error_code
        self.error_text = error_text
        self.payload = payload
        self.attachment = attachment
        self.compress_type = compress_type
        self.content_type = content_type
        self.user_fields = user_fields


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A frame whose sender gets an error and keeps its connection."""

    correlation_id: int
    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame that was ignored; the connection goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream cannot be read any further: close it without a reply. Always the last event."""

    error: ProtocolError


@dataclass(frozen=True, slots=True)
class Say:
    """Bytes that the reader of another wire wants sent at once: a handshake's answer, a refusal.

    Attributes:
        data: sent as they are.
        close: end the connection once they are gone; the last event of its reader then.
    """

    data: bytes
    close: bool = False


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A reader keeps many bytes until its last request is answered: read no more till then."""


@dataclass(frozen=True, slots=True)
class Resets:
    """To this wire's peers the end of the stream is the end of an answer. So from now on every
    other end has to be a reset: that of a broken stream, of the server, of its process.
    """


@dataclass(frozen=True, slots=True)
class Settled:
    """Now it is known that the peer takes no end for an answer; see `Resets`. At most once."""


Event = Request | Reply | BadRequest | Dropped | Broken | Say | HeldBack | Resets | Settled
