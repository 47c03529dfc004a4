"""PRPC, brpc's baidu_std: frames and their meta, as a pure state machine.

====== ================================ =============================================
offset size                             meaning
====== ================================ =============================================
0      4                                ASCII ``PRPC``
4      4                                body size, big-endian: meta + message + attachment
8      4                                meta size, big-endian, at most the body size
12     meta size                        RpcMeta, protobuf
..     body - meta - attachment         message, after compression if there is any
..     attachment size (in the meta)    raw attachment
====== ================================ =============================================

Feed bytes as they come, in any cut; take events. An error ends the stream with one
`Broken`, after all that was whole before it. What is buffered is what has arrived of one
frame, never what its header announces.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, Literal

from google.protobuf.message import DecodeError

from libevrpc.core.checksum import CRC32C, checksum_matches
from libevrpc.errors import Errno, ProtocolError
from libevrpc.gen.rpc_meta_pb2 import RpcMeta

__all__ = [
    "BadRequest",
    "Broken",
    "Dropped",
    "Event",
    "PrpcDecoder",
    "Reply",
    "Request",
    "WireLimits",
]

MAGIC: Final = b"PRPC"
HEADER: Final = Struct(">4sII")
HEADER_BYTES: Final = HEADER.size
METHODS_REMEMBERED_MAX: Final = 64
"""Distinct request sub-messages whose meaning a decoder remembers; then it starts afresh."""


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


Event = Request | Reply | BadRequest | Dropped | Broken
_Remembered = tuple[str, str, int, int]


class PrpcDecoder:
    """Cuts a byte stream into events; one per connection and direction.

    Args:
        side: "server" reads requests, "client" reads replies.
        limits: what is too long.

    Attributes:
        unclaimed: bytes at a message boundary that are not PRPC's, for another wire;
            empty otherwise. Only after `receive_shared`.
    """

    __slots__ = (
        "_broken",
        "_buffered",
        "_limits",
        "_needed",
        "_parts",
        "_read",
        "_remembered",
        "_skip",
        "unclaimed",
    )

    def __init__(self, side: Literal["server", "client"], limits: WireLimits) -> None:
        self._limits = limits
        self._read = self._read_request if side == "server" else self._read_reply
        self._parts: list[bytes] = []
        self._buffered = 0
        self._needed = 0
        self._skip = 0
        self._broken = False
        self._remembered: dict[bytes, _Remembered] = {}
        self.unclaimed = b""

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""
        return self._buffered > 0 or self._skip > 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of the message that is not whole yet."""
        return self._buffered

    def receive_data(self, data: bytes) -> list[Event]:
        """Take what arrived; returns what is whole now. Nothing more after `Broken`."""
        events = self.receive_shared(data)
        if self.unclaimed:
            magic = self.unclaimed[:4]
            self.unclaimed = b""
            self._break(events, f"message begins with {magic!r}, not {MAGIC!r}")
        return events

    def receive_shared(self, data: bytes) -> list[Event]:
        """As `receive_data`, but what is not PRPC at a boundary is left in `unclaimed`."""
        events: list[Event] = []
        if self._broken:
            return events
        if self._skip:
            data = self._skipped(data)
        if self._buffered:
            self._parts.append(data)
            self._buffered += len(data)
            if self._buffered < self._needed:
                return events
            data = b"".join(self._parts)
            self._parts.clear()
            self._buffered = 0
        position = 0
        end = len(data)
        while end - position >= HEADER_BYTES:
            magic, body_bytes, meta_bytes = HEADER.unpack_from(data, position)
            stop = position + HEADER_BYTES + body_bytes
            if magic != MAGIC:
                self.unclaimed = data[position:]
                return events
            if meta_bytes > body_bytes or body_bytes > self._limits.body_bytes_max:
                if not self._accepts_sizes(events, body_bytes, meta_bytes):
                    return events
                data = self._skipped(data[position + HEADER_BYTES :])
                position, end = 0, len(data)
                continue
            if stop > end:
                self._keep(data[position:] if position else data, HEADER_BYTES + body_bytes)
                return events
            start = position + HEADER_BYTES
            event = self._read(data, start, start + meta_bytes, stop)
            events.append(event)
            if type(event) is Broken:
                self._broken = True
                return events
            position = stop
        if position < end:
            self._keep_start(data[position:])
        return events

    def _keep(self, rest: bytes, needed: int) -> None:
        self._parts.append(rest)
        self._buffered = len(rest)
        self._needed = needed

    def _keep_start(self, rest: bytes) -> None:
        """Keep less than a header, if it can still become one."""
        if MAGIC.startswith(rest[:4]):
            self._keep(rest, HEADER_BYTES if len(rest) >= 4 else 4)
        else:
            self.unclaimed = rest

    def _skipped(self, data: bytes) -> bytes:
        skip = min(self._skip, len(data))
        self._skip -= skip
        return data[skip:]

    def _accepts_sizes(self, events: list[Event], body_bytes: int, meta_bytes: int) -> bool:
        """Answer for impossible sizes: True to drop the frame, False to end the stream."""
        limit = self._limits.body_bytes_max
        if body_bytes > limit:
            self._break(events, f"body of {body_bytes} bytes, limit {limit}")
            return False
        events.append(Dropped(f"meta of {meta_bytes} bytes in a body of {body_bytes}"))
        self._skip = body_bytes
        return True

    def _break(self, events: list[Event], text: str) -> None:
        self._broken = True
        events.append(Broken(ProtocolError(text)))

    # -- meta ---------------------------------------------------------------------------

    def _read_request(self, data: bytes, start: int, payload_at: int, stop: int) -> Event:
        # The usual request: field 1 (the call), field 4 (the id) and nothing else. The call
        # is the same bytes every time, so its meaning is remembered instead of parsed.
        if payload_at - start > 4 and data[start] == 0x0A:
            split = start + 2 + data[start + 1]
            if split < payload_at and data[start + 1] < 0x80 and data[split] == 0x20:
                known = self._remembered.get(data[start + 2 : split])
                if known is not None:
                    correlation_id = _last_varint(data, split + 1, payload_at)
                    if correlation_id >= 0:
                        service, method, timeout_ms, log_id = known
                        return Request(
                            correlation_id, service, method, timeout_ms, log_id,
                            data[payload_at:stop],
                        )  # fmt: skip
        return self._parse_request(data, start, payload_at, stop)

    def _parse_request(self, data: bytes, start: int, payload_at: int, stop: int) -> Event:
        meta = self._parse_meta(data[start:payload_at])
        if isinstance(meta, Broken):
            return meta
        call = meta.request
        service, method = call.service_name, call.method_name
        if not service or not method:
            if meta.HasField("response"):
                return BadRequest(meta.correlation_id, Errno.NO_SERVICE, "reply sent to a server")
            return Broken(ProtocolError("meta names no service and method"))
        self._remember(data, start, payload_at, (service, method, call.timeout_ms, call.log_id))
        bad = _bad_body(meta, data, payload_at, stop)
        if bad is not None:
            return bad
        split = stop - meta.attachment_size
        return Request(
            meta.correlation_id,
            service,
            method,
            call.timeout_ms,
            call.log_id,
            data[payload_at:split],
            data[split:stop],
            meta.compress_type,
            meta.content_type,
            dict(meta.user_fields) or None,
        )

    def _remember(self, data: bytes, start: int, payload_at: int, known: _Remembered) -> None:
        """Note what the bytes of field 1 mean, where they come first and have a short length."""
        if payload_at - start > 4 and data[start] == 0x0A and data[start + 1] < 0x80:
            if len(self._remembered) >= METHODS_REMEMBERED_MAX:
                self._remembered.clear()
            split = start + 2 + data[start + 1]
            if data.find(b"\x0a", split, payload_at) < 0:  # no second field 1 to merge with
                self._remembered[data[start + 2 : split]] = known

    def _read_reply(self, data: bytes, start: int, payload_at: int, stop: int) -> Event:
        # The usual reply: an empty field 2 (success) and field 4 (the id).
        if data.startswith(b"\x12\x00\x20", start):
            correlation_id = _last_varint(data, start + 3, payload_at)
            if correlation_id >= 0:
                return Reply(correlation_id, 0, "", data[payload_at:stop])
        meta = self._parse_meta(data[start:payload_at])
        if isinstance(meta, Broken):
            return meta
        bad = _bad_body(meta, data, payload_at, stop)
        if bad is not None:
            return Reply(bad.correlation_id, Errno.BAD_RESPONSE, bad.text, b"")
        split = stop - meta.attachment_size
        return Reply(
            meta.correlation_id,
            meta.response.error_code,
            meta.response.error_text,
            data[payload_at:split],
            data[split:stop],
            meta.compress_type,
            meta.content_type,
            dict(meta.user_fields) or None,
        )

    def _parse_meta(self, encoded: bytes) -> RpcMeta | Broken:
        limit = self._limits.header_bytes_max
        if len(encoded) > limit:
            return Broken(ProtocolError(f"meta of {len(encoded)} bytes, limit {limit}"))
        try:
            return RpcMeta.FromString(encoded)
        except DecodeError as exc:
            return Broken(ProtocolError(f"meta cannot be decoded: {exc}"))


def _last_varint(data: bytes, position: int, end: int) -> int:
    """Return the varint that fills `position`..`end` exactly; -1 if none of up to 63 bits does."""
    value = shift = 0
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value if position == end and shift < 63 else -1
        shift += 7
    return -1


def _bad_body(meta: RpcMeta, data: bytes, payload_at: int, stop: int) -> BadRequest | None:
    """Say what is wrong with the sizes or the checksum of a body."""
    attachment_bytes = meta.attachment_size
    if not 0 <= attachment_bytes <= stop - payload_at:
        text = f"attachment of {attachment_bytes} bytes in {stop - payload_at} bytes of payload"
        return BadRequest(meta.correlation_id, Errno.BAD_REQUEST, text)
    if meta.checksum_type == 0:
        return None
    if meta.checksum_type != CRC32C:
        text = f"checksum_type {meta.checksum_type} is unknown; send 0 (none) or 1 (crc32c)"
        return BadRequest(meta.correlation_id, Errno.BAD_REQUEST, text)
    covered_to = stop if meta.checksum_with_attachment else stop - attachment_bytes
    complaint = checksum_matches(data[payload_at:covered_to], meta.checksum_value)
    if complaint is None:
        return None
    return BadRequest(meta.correlation_id, Errno.BAD_REQUEST, complaint)
