"""Bodies of plain-object calls: msgpack or JSON.

A request is an array of positional arguments, or a map when there are only keywords; both
together travel as an array whose last element is a map under the key `**`, and so does an
array whose own last element looks like that. A reply is the bare value. A dataclass travels
as the map of its fields.

Protobuf services do without JSON and msgpack, so whoever needs this imports it then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgpack

from libevrpc.core.contents import ContentType
from libevrpc.core.values import BoundError, load_json, load_msgpack
from libevrpc.errors import Errno, RpcError

__all__ = [
    "KEYWORDS_KEY",
    "ContentType",
    "decode_arguments",
    "decode_value",
    "encode_arguments",
    "encode_value",
]

KEYWORDS_KEY = "**"
"""Key of the map that carries keywords after positional arguments."""


def encode_arguments(
    positional: tuple[Any, ...], keywords: dict[str, Any], content_type: int
) -> bytes:
    """Write the arguments of a call.

    Raises:
        RpcError: INVALID_ARGUMENT, a value of a type that msgpack or JSON cannot carry.
    """
    body: Any
    if keywords and not positional:
        body = keywords
    elif keywords or _carries_keywords(positional):
        body = [*positional, {KEYWORDS_KEY: keywords}]
    else:
        body = list(positional)
    return _pack(body, content_type, Errno.BAD_REQUEST)


def decode_arguments(payload: bytes, content_type: int) -> tuple[list[Any], dict[str, Any]]:
    """Read the arguments of a call: positional and keywords.

    Raises:
        RpcError: 1003, the body is not an array or a map of that content type.
    """
    body = _unpack(payload, content_type, Errno.BAD_REQUEST)
    if isinstance(body, list):
        if _carries_keywords(body):
            return body[:-1], _keywords(body[-1][KEYWORDS_KEY])
        return body, {}
    return [], _keywords(body)


def encode_value(value: Any, content_type: int) -> bytes:
    """Write a result.

    Raises:
        RpcError: 2002, a value of a type that msgpack or JSON cannot carry.
    """
    return _pack(value, content_type, Errno.BAD_RESPONSE)


def decode_value(payload: bytes, content_type: int) -> Any:
    """Read a result.

    Raises:
        RpcError: 2002, the body is not a value of that content type.
    """
    return _unpack(payload, content_type, Errno.BAD_RESPONSE)


def _carries_keywords(body: Sequence[Any]) -> bool:
    """Tell whether the last element reads as the map under the key `**`."""
    return bool(body) and isinstance(body[-1], dict) and body[-1].keys() == {KEYWORDS_KEY}


def _keywords(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return value
    text = "arguments are neither an array nor a map with names as keys"
    raise RpcError.from_errno(Errno.BAD_REQUEST, text)


def _parts(value: Any) -> Any:
    """Take apart what neither msgpack nor JSON knows; few programs have such values."""
    from libevrpc.core.shapes import parts

    return parts(value)


def _pack(value: Any, content_type: int, errno: int) -> bytes:
    try:
        if content_type == ContentType.MSGPACK:
            return bytes(msgpack.packb(value, default=_parts))
        if content_type == ContentType.JSON:
            text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_parts)
            return text.encode()
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise RpcError.from_errno(errno, f"value cannot be sent: {exc}") from None
    raise _unsupported(content_type, errno)


def _unpack(payload: bytes, content_type: int, errno: int) -> Any:
    try:
        if content_type == ContentType.MSGPACK:
            return load_msgpack(payload)
        if content_type == ContentType.JSON:
            return load_json(payload)
    except BoundError as exc:
        raise RpcError.from_errno(errno, f"body: {exc}") from None
    except (ValueError, msgpack.UnpackException, TypeError) as exc:
        name = ContentType(content_type).name
        reason = str(exc) or type(exc).__name__
        raise RpcError.from_errno(errno, f"body is not {name}: {reason}") from None
    raise _unsupported(content_type, errno)


def _unsupported(content_type: int, errno: int) -> RpcError:
    text = f"content_type {content_type} is not for plain objects; send 1001 (msgpack) or 1 (JSON)"
    return RpcError.from_errno(errno, text)
