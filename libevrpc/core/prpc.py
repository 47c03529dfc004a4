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

from struct import Struct
from typing import Final, Literal

from google.protobuf.message import DecodeError

from libevrpc.core.checksum import CRC32C, checksum_fault
from libevrpc.core.prpc_events import (
    BadRequest,
    Broken,
    Dropped,
    Event,
    Reply,
    Request,
    SignedRequest,
    WireLimits,
)
from libevrpc.errors import Errno, ProtocolError
from libevrpc.gen.rpc_meta_pb2 import RpcMeta, RpcRequestMeta

__all__ = [
    "META_ROOM_BYTES",
    "BadRequest",
    "Broken",
    "Dropped",
    "Event",
    "PrpcDecoder",
    "Reply",
    "Request",
    "SignedRequest",
    "WireLimits",
]

MAGIC: Final = b"PRPC"
MAGIC_BYTES: Final = len(MAGIC)
HEADER: Final = Struct(">4sII")
HEADER_BYTES: Final = HEADER.size
META_ROOM_BYTES: Final = 4096
"""Part of a body limit that senders leave to the meta."""
METHODS_REMEMBERED_MAX: Final = 64
"""Distinct request sub-messages whose meaning a decoder remembers; then it starts afresh."""
LOOSE_PARTS_MAX: Final = 1024
"""Pieces of a half frame kept apart; more are joined, so that drops cost no more than a gush."""
ID_BYTES_MAX: Final = 9
"""Longest varint that surely is no negative number."""

_unpack_header = HEADER.unpack_from
_Call = tuple[str, str, int, int]


class PrpcDecoder:
    """Cuts a byte stream into events; one per connection and direction.

    Args:
        side: "server" reads requests, "client" reads replies.
        limits: what is too long.
    """

    __slots__ = (
        "_body_bytes_max",
        "_broken",
        "_buffered",
        "_held",
        "_meta_bytes_max",
        "_needed",
        "_packed",
        "_parts",
        "_remembered",
        "_serves",
        "_skip",
    )

    def __init__(self, side: Literal["server", "client"], limits: WireLimits) -> None:
        self._serves = side == "server"
        self._body_bytes_max = limits.body_bytes_max
        self._meta_bytes_max = limits.header_bytes_max
        self._held = False  # the next bytes do not begin a frame
        self._broken = False
        self._skip = 0
        self._parts: list[bytes] = []
        self._packed = 0  # this many parts at the front are joined ones
        self._buffered = 0
        self._needed = 0
        self._remembered: dict[bytes, _Call] = {}

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
        events: list[Event] = []
        try:
            if self._held:
                data = self._resume(data, events)
            while data:
                data = self._cut(data, events)
        except ProtocolError as exc:
            self._broken = self._held = True
            events.append(Broken(exc))
        return events

    def _cut(self, data: bytes, events: list[Event]) -> bytes:
        """Take frames from a message boundary on; returns what begins at a later one."""
        position = 0
        end = len(data)
        while end - position >= HEADER_BYTES:
            magic, body_bytes, meta_bytes = _unpack_header(data, position)
            if magic != MAGIC:
                break
            start = position + HEADER_BYTES
            stop = start + body_bytes
            if (
                meta_bytes > body_bytes
                or body_bytes > self._body_bytes_max
                or meta_bytes > self._meta_bytes_max
            ):
                events.append(self._drop(body_bytes, meta_bytes))
                if stop > end:
                    self._skip = stop - end
                    self._held = True
                    return b""
            elif stop > end:
                self._keep(data[position:], HEADER_BYTES + body_bytes)
                return b""
            elif self._serves:
                events.append(self._request(data, start, start + meta_bytes, stop))
            else:
                events.append(self._reply(data, start, start + meta_bytes, stop))
            position = stop
        return self._begin(data[position:], events) if position < end else b""

    # -- what is no whole frame ---------------------------------------------------------

    def _resume(self, data: bytes, events: list[Event]) -> bytes:
        """Return what begins at a message boundary, if the wait for it is over."""
        if self._broken:
            return b""
        if self._skip:
            skip = min(self._skip, len(data))
            self._skip -= skip
            self._held = self._skip > 0
            return data[skip:]
        parts = self._parts
        parts.append(data)
        self._buffered += len(data)
        if self._buffered < self._needed:
            if len(parts) - self._packed >= LOOSE_PARTS_MAX:
                parts[self._packed :] = [b"".join(parts[self._packed :])]
                self._packed += 1
            return b""
        data = b"".join(parts)
        self._parts = []
        self._packed = 0
        self._buffered = 0
        self._held = False
        return data

    def _keep(self, rest: bytes, needed_bytes: int) -> None:
        self._parts.append(rest)
        self._buffered = len(rest)
        self._needed = needed_bytes
        self._held = True

    def _begin(self, rest: bytes, events: list[Event]) -> bytes:
        """Take the start of a message that is no whole PRPC header."""
        if len(rest) >= MAGIC_BYTES and not rest.startswith(MAGIC):
            return self._foreign(rest, events)
        self._keep(rest, MAGIC_BYTES if len(rest) < MAGIC_BYTES else HEADER_BYTES)
        return b""

    def _foreign(self, rest: bytes, events: list[Event]) -> bytes:
        """Take at least four bytes that begin no PRPC frame; returns what they leave over."""
        raise ProtocolError(f"message begins with {rest[:MAGIC_BYTES]!r}, not {MAGIC!r}")

    def _drop(self, body_bytes: int, meta_bytes: int) -> Dropped:
        if body_bytes > self._body_bytes_max:
            raise ProtocolError(f"body of {body_bytes} bytes, limit {self._body_bytes_max}")
        if meta_bytes > body_bytes:
            return Dropped(f"meta of {meta_bytes} bytes in a body of {body_bytes}")
        raise ProtocolError(f"meta of {meta_bytes} bytes, limit {self._meta_bytes_max}")

    # -- requests -----------------------------------------------------------------------

    def _request(self, data: bytes, start: int, payload_at: int, stop: int) -> Event:
        # The usual request has field 1 (the call), field 4 (the id) and nothing else. The call
        # is the same bytes every time, so its meaning is remembered instead of parsed.
        if payload_at - start > 4 and data[start] == 0x0A:
            split = start + 2 + data[start + 1]
            if split < payload_at and data[split] == 0x20 and data[start + 1] < 0x80:
                correlation_id = _varint(data, split + 1, payload_at)
                if correlation_id >= 0:
                    encoded = data[start + 2 : split]
                    call = self._remembered.get(encoded) or self._learn(encoded)
                    if call is not None:
                        service, method, timeout_ms, log_id = call
                        return Request(
                            correlation_id, service, method, timeout_ms, log_id,
                            data[payload_at:stop],
                        )  # fmt: skip
        return self._any_request(data, start, payload_at, stop)

    def _learn(self, encoded: bytes) -> _Call | None:
        """Parse a request sub-message and remember it; None if there is something wrong."""
        try:
            meta = RpcRequestMeta.FromString(encoded)
            service, method = meta.service_name.decode(), meta.method_name.decode()
        except (DecodeError, UnicodeDecodeError):
            return None
        if not service or not method:
            return None
        if len(self._remembered) >= METHODS_REMEMBERED_MAX:
            self._remembered.clear()
        call = self._remembered[encoded] = service, method, meta.timeout_ms, meta.log_id
        return call

    def _any_request(self, data: bytes, start: int, payload_at: int, stop: int) -> Event:
        meta = _parse(data[start:payload_at])
        call = meta.request
        if not call.service_name or not call.method_name:
            return _nameless(meta)
        fault = _body_fault(meta, data, payload_at, stop)
        if fault is not None:
            return BadRequest(meta.correlation_id, Errno.BAD_REQUEST, fault)
        try:
            service, method = call.service_name.decode(), call.method_name.decode()
        except UnicodeDecodeError:
            text = "name of service or method is not UTF-8"
            return BadRequest(meta.correlation_id, Errno.BAD_REQUEST, text)
        split = stop - meta.attachment_size
        signed = bool(meta.authentication_data)
        request = (SignedRequest if signed else Request)(
            meta.correlation_id,
            service,
            method,
            call.timeout_ms,
            call.log_id,
            data[payload_at:split],
            data[split:stop],
            meta.compress_type,
            meta.content_type,
            _user_fields(meta),
        )
        if isinstance(request, SignedRequest):
            request.authentication_data = meta.authentication_data
        return request

    # -- replies ------------------------------------------------------------------------

    def _reply(self, data: bytes, start: int, payload_at: int, stop: int) -> Event:
        # The usual reply has an empty field 2 (success) and field 4 (the id).
        if data.startswith(b"\x12\x00\x20", start, payload_at):
            correlation_id = _varint(data, start + 3, payload_at)
            if correlation_id >= 0:
                return Reply(correlation_id, 0, "", data[payload_at:stop])
        meta = _parse(data[start:payload_at])
        if meta.HasField("request") and not meta.HasField("response"):
            return Dropped("request sent to a client")
        fault = _body_fault(meta, data, payload_at, stop)
        if fault is not None:
            return Reply(meta.correlation_id, Errno.BAD_RESPONSE, fault, b"")
        split = stop - meta.attachment_size
        return Reply(
            meta.correlation_id,
            meta.response.error_code,
            meta.response.error_text.decode("utf-8", "replace"),
            data[payload_at:split],
            data[split:stop],
            meta.compress_type,
            meta.content_type,
            _user_fields(meta),
        )


def _varint(data: bytes, position: int, end: int) -> int:
    """Return the varint that fills `position`..`end` exactly; -1 if none of up to 63 bits does."""
    size = end - position
    if size > ID_BYTES_MAX:
        return -1
    value = shift = 0
    for byte in data[position:end]:
        if byte < 0x80:
            return value | byte << shift if shift == 7 * size - 7 else -1
        value |= (byte & 0x7F) << shift
        shift += 7
    return -1


def _parse(encoded: bytes) -> RpcMeta:
    try:
        return RpcMeta.FromString(encoded)
    except DecodeError as exc:
        raise ProtocolError(f"meta cannot be decoded: {exc}") from None


def _nameless(meta: RpcMeta) -> BadRequest:
    """Answer a meta whose names are absent, which brpc cannot decode, or empty.

    Raises:
        ProtocolError: a required field is absent.
    """
    if not meta.HasField("request"):
        what = "reply" if meta.HasField("response") else "meta without a request"
        return BadRequest(meta.correlation_id, Errno.NO_SERVICE, f"{what} sent to a server")
    for name in ("service_name", "method_name"):
        if not meta.request.HasField(name):
            raise ProtocolError(f"meta cannot be decoded: request lacks {name}")
    if not meta.request.service_name:
        return BadRequest(meta.correlation_id, Errno.NO_SERVICE, "name of the service is empty")
    return BadRequest(meta.correlation_id, Errno.NO_METHOD, "name of the method is empty")


def _body_fault(meta: RpcMeta, data: bytes, payload_at: int, stop: int) -> str | None:
    """Say what is wrong with the sizes or the checksum of a body."""
    attachment_bytes = meta.attachment_size
    if not 0 <= attachment_bytes <= stop - payload_at:
        return f"attachment of {attachment_bytes} bytes in {stop - payload_at} bytes of payload"
    checksum_type = meta.checksum_type
    if not checksum_type:
        return None
    if checksum_type != CRC32C:
        return f"checksum_type {checksum_type} is unknown; send 0 (none) or 1 (crc32c)"
    covered_to = stop if meta.checksum_with_attachment else stop - attachment_bytes
    return checksum_fault(data[payload_at:covered_to], meta.checksum_value)


def _user_fields(meta: RpcMeta) -> dict[str, str] | None:
    """Return the metadata as text: what is not UTF-8 is replaced, a key's last value wins."""
    if not meta.user_fields:
        return None
    return {
        field.key.decode("utf-8", "replace"): field.value.decode("utf-8", "replace")
        for field in meta.user_fields
    }
