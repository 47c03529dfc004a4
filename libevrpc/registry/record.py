"""The JSON in which our own layouts say what a server is, in every registry alike.

``{"v":1,"address":"10.0.0.7:9998","services":["echo.EchoService"],"weight":1.0,"tags":["red"],
"limit":0}``. Readers ignore keys that they do not know; what they know must be right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from libevrpc.core.endpoints import LIMIT_MAX, TRANSPORTS, Endpoint, parse_endpoint
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement
from libevrpc.registry.session import RegistryError

__all__ = [
    "announcement_of",
    "decode_list",
    "decode_record",
    "encode_list",
    "encode_record",
    "endpoint_of",
]

VERSION = 1
RECORD_BYTES_MAX = 256 << 10
"""Longest record of one server."""


def encode_record(announcement: Announcement) -> bytes:
    """Return the record of a server; the same announcement always gives the same bytes.

    Raises:
        RegistryError: it would be longer than RECORD_BYTES_MAX.
    """
    record = {
        "v": VERSION,
        "address": announcement.address,
        "services": list(announcement.services),
        "weight": announcement.weight,
        "tags": list(announcement.tags),
        "limit": announcement.limit,
    }
    encoded = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
    if len(encoded) > RECORD_BYTES_MAX:
        raise RegistryError(
            f"record of {announcement.address}: {len(encoded)} bytes, at most {RECORD_BYTES_MAX}"
        )
    return encoded


def decode_record(encoded: bytes) -> Announcement:
    """Read a record.

    Raises:
        RegistryError: says what is wrong with it; never any other exception.
    """
    if len(encoded) > RECORD_BYTES_MAX:
        raise RegistryError(f"record of {len(encoded)} bytes, at most {RECORD_BYTES_MAX}")
    return announcement_of(_object_of(encoded))


def endpoint_of(announcement: Announcement) -> Endpoint:
    """Return what a client needs of an announcement.

    Raises:
        RegistryError: its address or a figure is wrong.
    """
    try:
        return replace(
            parse_endpoint(announcement.address),
            weight=announcement.weight,
            tags=announcement.tags,
            limit=announcement.limit,
        )
    except ConfigError as exc:
        raise RegistryError(f"record: {exc}") from None


def encode_list(endpoints: Sequence[Endpoint]) -> bytes:
    """Return a list of servers as it is kept on disk."""
    servers = [
        {
            "address": each.address,
            "weight": each.weight,
            "tags": each.tags,
            "limit": each.limit,
            "transport": each.transport,
        }
        for each in endpoints
    ]
    return json.dumps({"v": VERSION, "servers": servers}, separators=(",", ":")).encode()


def decode_list(encoded: bytes) -> tuple[Endpoint, ...]:
    """Read what `encode_list` wrote.

    Raises:
        RegistryError: says what is wrong with it; never any other exception.
    """
    servers = _object_of(encoded).get("servers")
    if not isinstance(servers, list):
        raise RegistryError('record: "servers" is not a list')
    return tuple(
        replace(endpoint_of(announcement_of(each)), transport=_transport(each)) for each in servers
    )


def _object_of(encoded: bytes) -> dict[str, Any]:
    """Return the JSON object in `encoded`."""
    try:
        found = json.loads(encoded)
    except ValueError as exc:
        raise RegistryError(f"record is no JSON: {exc}") from None
    except RecursionError:
        raise RegistryError("record is no JSON: nested too deeply") from None
    if not isinstance(found, dict):
        raise RegistryError("record is no JSON object")
    version = found.get("v", VERSION)
    if version != VERSION:
        raise RegistryError(f"record of version {version!r}; this libevrpc reads {VERSION}")
    return found


def announcement_of(found: Any) -> Announcement:
    """Return what a record, as JSON gives it, says of one server.

    Raises:
        RegistryError: says what is wrong with it.
    """
    if not isinstance(found, dict):
        raise RegistryError("record of a server is no JSON object")
    address = found.get("address")
    if not isinstance(address, str):
        raise RegistryError('record: "address" is not a text')
    announcement = Announcement(
        address,
        _words(found, "services"),
        _number(found, "weight", 1.0),
        _words(found, "tags"),
        _whole(found, "limit"),
    )
    return replace(announcement, address=endpoint_of(announcement).address)


def _transport(found: dict[str, Any]) -> str:
    transport = found.get("transport", "")
    if transport not in ("", *TRANSPORTS):
        raise RegistryError(f'record: "transport" is not one of {", ".join(TRANSPORTS)}')
    return str(transport)


def _words(found: dict[str, Any], key: str) -> tuple[str, ...]:
    words = found.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RegistryError(f'record: "{key}" is not a list of texts')
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        raise RegistryError(f'record: "{key}" has half a character') from None
    return tuple(words)


def _number(found: dict[str, Any], key: str, default: float) -> float:
    number = found.get(key, default)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise RegistryError(f'record: "{key}" is not a number')
    try:
        return float(number)
    except OverflowError:
        raise RegistryError(f'record: "{key}" is too large') from None


def _whole(found: dict[str, Any], key: str) -> int:
    number = found.get(key, 0)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LIMIT_MAX:
        raise RegistryError(f'record: "{key}" is not a whole number in 0..{LIMIT_MAX}')
    return number
