"""How a call looks over HTTP: its body's type, deadline, metadata, and what errors become."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from libevrpc.core.compress import CompressType
from libevrpc.core.contents import ContentType
from libevrpc.errors import Errno, StatusCode

__all__ = [
    "META_PREFIX",
    "TIMEOUT_HEADER",
    "bearer_of",
    "compression_of",
    "content_type_of",
    "error_body",
    "media_type_of",
    "metadata_of",
    "status_of_error",
    "timeout_ms_of",
]

TIMEOUT_HEADER: Final = "x-timeout-ms"
META_PREFIX: Final = "x-meta-"
"""A header with this prefix is metadata: the rest of its name, in lower case, is the key."""
_OURS = "evrpc-"
"""Keys that mean something to PRPC peers of ours, and nothing over HTTP."""

_CONTENT_TYPES: Mapping[str, int] = {
    "application/json": ContentType.JSON,
    "application/proto": ContentType.PROTOBUF,
    "application/protobuf": ContentType.PROTOBUF,
    "application/x-protobuf": ContentType.PROTOBUF,
    "application/msgpack": ContentType.MSGPACK,
    "application/x-msgpack": ContentType.MSGPACK,
}
_MEDIA_TYPES: Mapping[int, str] = {
    ContentType.JSON: "application/json",
    ContentType.PROTOBUF: "application/x-protobuf",
    ContentType.MSGPACK: "application/msgpack",
}
_GRPC_UNITS_MS: Mapping[str, float] = {
    "H": 3_600_000.0,
    "M": 60_000.0,
    "S": 1000.0,
    "m": 1.0,
    "u": 1e-3,
    "n": 1e-6,
}
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_TIMEOUT_DIGITS_MAX = 9

_STATUS_OF_ERRNO: Mapping[int, int] = {
    Errno.NO_SERVICE: 404,
    Errno.NO_METHOD: 404,
    Errno.STOPPING: 503,
    Errno.OVERCROWDED: 503,
}
_STATUS_OF_CODE: Mapping[StatusCode, int] = {
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.UNAUTHENTICATED: 401,
}


def content_type_of(header: str | None) -> int | None:
    """Return how a body is written; None: not in a way that we read, or nobody said.

    A body without a type is not taken for JSON: a page of another site may make a browser
    send such a request, but none that says `application/json`.
    """
    if header is None:
        return None
    media_type, _, parameters = header.partition(";")
    charset = parameters.lower().replace(" ", "").replace('"', "").partition("charset=")[2]
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        return None
    return _CONTENT_TYPES.get(media_type.strip().lower())


def media_type_of(content_type: int) -> str:
    """Return the name of what `content_type_of` returned."""
    return _MEDIA_TYPES[content_type]


def compression_of(header: str | None) -> int | None:
    """Return how a body is compressed; None: not in a way that we read."""
    match (header or "identity").strip().lower():
        case "identity":
            return CompressType.NONE
        case "gzip" | "x-gzip":
            return CompressType.GZIP
        case "deflate":
            return CompressType.ZLIB
        case _:
            return None


def timeout_ms_of(headers: Mapping[str, str]) -> int | None:
    """Return how long the caller waits: 0: it did not say; None: what it said is no span."""
    text = headers.get(TIMEOUT_HEADER)
    if text is not None:
        fit = text.isascii() and text.isdecimal() and len(text) <= _TIMEOUT_DIGITS_MAX
        return int(text) if fit and int(text) else None
    text = headers.get("grpc-timeout")
    if text is None:
        return 0
    found = _GRPC_TIMEOUT.fullmatch(text)
    return None if found is None else max(1, int(int(found[1]) * _GRPC_UNITS_MS[found[2]]))


def metadata_of(headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return a call's metadata; None where there is none."""
    found = {
        name.removeprefix(META_PREFIX): value
        for name, value in headers.items()
        if name.startswith(META_PREFIX) and len(name) > len(META_PREFIX)
    }
    return {key: value for key, value in found.items() if not key.startswith(_OURS)} or None


def bearer_of(headers: Mapping[str, str]) -> bytes | None:
    """Return the token that a request shows; None: it shows none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else None


def status_of_error(errno: int, code: StatusCode) -> int:
    """Return the HTTP status of an error."""
    status = _STATUS_OF_ERRNO.get(errno)
    return _STATUS_OF_CODE.get(code, 500) if status is None else status


def error_body(errno: int, code: StatusCode, text: str, details: Mapping[str, str]) -> Any:
    """Return an error as a value for JSON."""
    error: dict[str, Any] = {"code": code.name, "errno": int(errno), "text": text}
    told = {key: value for key, value in details.items() if key != "grpc-status"}
    if told:
        error["details"] = told
    return {"error": error}
