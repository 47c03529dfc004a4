"""Write PRPC frames. The reading half and the layout are in `libevrpc.core.prpc`."""

from __future__ import annotations

from collections.abc import Mapping

from libevrpc.core.checksum import CRC32C, masked_crc32c
from libevrpc.core.prpc import HEADER, MAGIC
from libevrpc.errors import ERROR_TEXT_BYTES_MAX, Errno, RpcError
from libevrpc.gen.rpc_meta_pb2 import RpcMeta

__all__ = ["RequestEncoder", "encode_error", "encode_reply", "encode_request", "encode_signed"]

TIMEOUT_MS_MAX = 2**31 - 1
"""What the wire's int32 holds, 24 days; longer time-outs travel as this."""
META_BYTES_MAX = 64 * 1024
"""Longest meta that is sent: a peer with default limits closes the connection of a longer one."""
STATUS_FIELD = "grpc-status"
STATUS_DIGITS_MAX = 2
_PREFIXES_MAX = 64
"""Distinct time-outs whose constant bytes an encoder keeps; then it starts afresh."""


class RequestEncoder:
    """Frames of one method: what is the same in every call is encoded once. Any thread."""

    __slots__ = ("_method", "_prefixes", "_service")

    def __init__(self, service: str, method: str) -> None:
        self._service = service
        self._method = method
        self._prefixes: dict[int, bytes] = {}

    def encode(
        self,
        correlation_id: int,
        payload: bytes,
        *,
        timeout_ms: int,
        content_type: int = 0,
        attachment: bytes = b"",
        compress_type: int = 0,
        user_fields: Mapping[str, str] | None = None,
        log_id: int = 0,
        checksum: bool = False,
    ) -> bytes:
        """Return one request frame; `payload` is compressed already if it is to be."""
        if attachment or compress_type or user_fields or log_id or checksum or content_type:
            return encode_request(
                self._service,
                self._method,
                correlation_id,
                payload,
                timeout_ms=timeout_ms,
                content_type=content_type,
                attachment=attachment,
                compress_type=compress_type,
                user_fields=user_fields,
                log_id=log_id,
                checksum=checksum,
            )
        return self.encode_usual(correlation_id, payload, timeout_ms)

    def encode_usual(self, correlation_id: int, payload: bytes, timeout_ms: int) -> bytes:
        """Return the frame of a request with nothing but method, time-out and body."""
        prefix = self._prefixes.get(timeout_ms)
        if prefix is None:
            prefix = self._prefix(timeout_ms)
        identity = _varint(correlation_id)
        meta_bytes = len(prefix) + len(identity)
        return b"%b%b%b%b" % (
            HEADER.pack(MAGIC, meta_bytes + len(payload), meta_bytes),
            prefix,
            identity,
            payload,
        )

    def _prefix(self, timeout_ms: int) -> bytes:
        """Return field 1 and the tag of field 4."""
        meta = _request_meta(self._service, self._method, timeout_ms, 0)
        prefix = meta.SerializeToString() + b"\x20"
        if len(self._prefixes) >= _PREFIXES_MAX:
            self._prefixes.clear()
        self._prefixes[timeout_ms] = prefix
        return prefix


def encode_request(
    service: str,
    method: str,
    correlation_id: int,
    payload: bytes,
    *,
    timeout_ms: int,
    attachment: bytes = b"",
    compress_type: int = 0,
    content_type: int = 0,
    user_fields: Mapping[str, str] | None = None,
    log_id: int = 0,
    checksum: bool = False,
) -> bytes:
    """Return one request frame of any shape. Any thread.

    Raises:
        RpcError: 1003, names and metadata are too long for any peer.
    """
    meta = _request_meta(service, method, timeout_ms, log_id)
    return _frame(
        meta, correlation_id, payload, attachment, compress_type, content_type, user_fields,
        checksum,
    )  # fmt: skip


def encode_signed(
    service: str, method: str, correlation_id: int, authentication_data: bytes, timeout_ms: int
) -> bytes:
    """Return the frame of an empty request that says who its sender is. Any thread."""
    meta = _request_meta(service, method, timeout_ms, 0)
    meta.authentication_data = authentication_data
    return _frame(meta, correlation_id, b"", b"", 0, 0, None, False)


def encode_reply(
    correlation_id: int,
    payload: bytes,
    *,
    attachment: bytes = b"",
    compress_type: int = 0,
    content_type: int = 0,
    user_fields: Mapping[str, str] | None = None,
    checksum: bool = False,
) -> bytes:
    """Return the frame of a successful reply. Any thread.

    Raises:
        RpcError: 2002, the metadata is too long for any peer.
    """
    if attachment or compress_type or user_fields or checksum or content_type:
        meta = RpcMeta()
        meta.response.SetInParent()
        return _frame(
            meta, correlation_id, payload, attachment, compress_type, content_type, user_fields,
            checksum,
        )  # fmt: skip
    identity = _varint(correlation_id)
    meta_bytes = 3 + len(identity)
    return b"%b\x12\x00\x20%b%b" % (
        HEADER.pack(MAGIC, meta_bytes + len(payload), meta_bytes),
        identity,
        payload,
    )


def encode_error(
    correlation_id: int, errno: int, text: str, user_fields: Mapping[str, str] | None = None
) -> bytes:
    """Return the frame of a failed call. Any thread.

    `errno` must not be 0, which would mean success; `text` is cut at ERROR_TEXT_BYTES_MAX, and
    of metadata that is too long for any peer the status alone is sent.
    """
    assert errno != 0, "an error reply needs a number"
    meta = RpcMeta()
    meta.response.error_code = errno
    meta.response.error_text = _cut(text.encode("utf-8", "replace"), ERROR_TEXT_BYTES_MAX)
    try:
        return _frame(meta, correlation_id, b"", b"", 0, 0, user_fields, False)
    except RpcError:
        status = (user_fields or {}).get(STATUS_FIELD, "")[:STATUS_DIGITS_MAX]
        del meta.user_fields[:]
        return _frame(meta, correlation_id, b"", b"", 0, 0, {STATUS_FIELD: status}, False)


def _request_meta(service: str, method: str, timeout_ms: int, log_id: int) -> RpcMeta:
    meta = RpcMeta()
    meta.request.service_name = service.encode()
    meta.request.method_name = method.encode()
    if log_id:
        meta.request.log_id = log_id
    meta.request.timeout_ms = min(timeout_ms, TIMEOUT_MS_MAX)
    return meta


def _cut(text: bytes, bytes_max: int) -> bytes:
    """Return at most `bytes_max` of a UTF-8 text, whole characters."""
    if len(text) <= bytes_max:
        return text
    while text[bytes_max] & 0xC0 == 0x80:
        bytes_max -= 1
    return text[:bytes_max]


def _frame(
    meta: RpcMeta,
    correlation_id: int,
    payload: bytes,
    attachment: bytes,
    compress_type: int,
    content_type: int,
    user_fields: Mapping[str, str] | None,
    checksum: bool,
) -> bytes:
    meta.correlation_id = correlation_id
    if attachment:
        meta.attachment_size = len(attachment)
    if compress_type:
        meta.compress_type = compress_type
    if content_type:
        meta.content_type = content_type
    if user_fields:
        for key, value in user_fields.items():
            meta.user_fields.add(
                key=key.encode("utf-8", "replace"), value=value.encode("utf-8", "replace")
            )
    if checksum:
        meta.checksum_type = CRC32C
        meta.checksum_value = masked_crc32c(payload)
    encoded = meta.SerializeToString()
    if len(encoded) > META_BYTES_MAX:
        errno = Errno.BAD_REQUEST if meta.HasField("request") else Errno.BAD_RESPONSE
        text = f"names and metadata of {len(encoded)} bytes, limit {META_BYTES_MAX}"
        raise RpcError.from_errno(errno, text)
    body_bytes = len(encoded) + len(payload) + len(attachment)
    header = HEADER.pack(MAGIC, body_bytes, len(encoded))
    return b"".join((header, encoded, payload, attachment))


def _varint(value: int) -> bytes:
    """Spell an int64 as protobuf does: negatives as their 64-bit two's complement."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if 0 <= value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if 0 <= value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    rest = value & 0xFFFFFFFFFFFFFFFF
    spelled = bytearray()
    while rest >= 0x80:
        spelled.append(rest & 0x7F | 0x80)
        rest >>= 7
    spelled.append(rest)
    return bytes(spelled)
