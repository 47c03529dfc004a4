"""Peer messages as bytes: one msgpack array, read by name or refused by name.

``[wire version, kind, sender, incarnation, fields in the order of the class...]``
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import msgpack

from center.core import messages
from center.core.ballot import Ballot, State
from center.core.messages import Body
from center.core.record import MapRecord
from libevrpc.errors import ProtocolError

__all__ = ["MESSAGE_BYTES_MAX", "TEXT_CHARS_MAX", "WIRE_VERSION", "decode", "encode"]

WIRE_VERSION = 1
"""What is written; this one and the one before are read, so that centers update one by one."""
MESSAGE_BYTES_MAX = 8 << 20
"""Largest message read: the largest map fits twice."""
NUMBER_MAX = (1 << 63) - 1
ITEMS_MAX = 4096
"""Longest list inside one message."""
LONG_BYTES = 256 * 1024
"""A message longer than this carries a map, and little else: see `_unpacked`."""
LONG_LISTS_MAX = 8
LONG_ITEMS_MAX = 16
"""Lists in a long message, and items of each."""
LISTS_MAX = 3 * ITEMS_MAX
"""Lists in any other."""
TEXT_CHARS_MAX = 4096
"""Longest text inside one message."""

Reader = Callable[[Any], Any]


def _int(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ProtocolError("a number is not in 0..2**63-1")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ProtocolError("a flag is neither true nor false")
    return value


def _str(value: Any) -> str:
    if type(value) is not str or len(value) > TEXT_CHARS_MAX:
        raise ProtocolError(f"a text is no text of at most {TEXT_CHARS_MAX} characters")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise ProtocolError("a map is not bytes")
    return value


def _float(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ProtocolError("a figure is not a finite number >= 0")
    return float(value)


def _state(value: Any) -> State:
    if _int(value) > State.LEADING:
        raise ProtocolError(f"{value} is no state of a center")
    return State(value)


def _maybe(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _items(reader: Reader) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > ITEMS_MAX:
            raise ProtocolError(f"a list is no list of at most {ITEMS_MAX} items")
        return tuple(reader(item) for item in value)

    return read


def _stamp(value: Any) -> tuple[int, int]:
    if type(value) is not list or len(value) != 2:
        raise ProtocolError("a stamp is not a pair")
    return (_int(value[0]), _int(value[1]))


def _value(kind: type[Any]) -> Reader:
    """Return the reader of a dataclass that travels as the list of its fields."""
    readers = [_READERS[str(each.type)] for each in fields(kind)]

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise ProtocolError(f"{kind.__name__} does not have {len(readers)} fields")
        return kind(*(reader(item) for reader, item in zip(readers, value, strict=True)))

    return read


_READERS: dict[str, Reader] = {
    "int": _int,
    "int | None": _maybe(_int),
    "bool": _bool,
    "str": _str,
    "bytes": _bytes,
    "float": _float,
    "Stamp": _stamp,
    "State": _state,
    "tuple[str, ...]": _items(_str),
}
"""A reader for each annotation that a field of a message has."""
for _name, _kind in (
    ("Ballot", Ballot),
    ("MapRecord", MapRecord),
    ("Silent", messages.Silent),
    ("Report", messages.Report),
    ("Departure", messages.Departure),
):
    _READERS[_name] = _value(_kind)
    _READERS[f"{_name} | None"] = _maybe(_READERS[_name])
    _READERS[f"tuple[{_name}, ...]"] = _items(_READERS[_name])

_KINDS: tuple[type[Any], ...] = (
    messages.Inquiry,
    messages.Introduction,
    messages.Proposal,
    messages.Confirmation,
    messages.Acceptance,
    messages.Refusal,
    messages.Announcement,
    messages.Join,
    messages.Ping,
    messages.Pong,
    messages.Put,
    messages.Stored,
    messages.Fetch,
    messages.Relay,
    messages.Forward,
)
"""A kind's number is its place: new ones go to the end."""
_BODIES = tuple(_value(kind) for kind in _KINDS)
_NUMBER_OF = {kind: number for number, kind in enumerate(_KINDS)}
_NESTED = (Ballot, MapRecord, messages.Silent, messages.Report, messages.Departure)
_FIELDS_OF = {kind: tuple(each.name for each in fields(kind)) for kind in (*_KINDS, *_NESTED)}


def _plain(value: Any) -> Any:
    """Return what msgpack takes for `value`: it knows tuples, but none of ours."""
    names = _FIELDS_OF.get(type(value))
    if names is not None:
        return [_plain(getattr(value, name)) for name in names]
    if type(value) is tuple and value and type(value[0]) in _FIELDS_OF:
        return [_plain(item) for item in value]
    return value


def encode(sender: int, incarnation: int, body: Body) -> bytes:
    """Return the bytes of one message. Any thread."""
    head = [WIRE_VERSION, _NUMBER_OF[type(body)], sender, incarnation]
    encoded: bytes = msgpack.packb(head + _plain(body))
    return encoded


def _unpacked(encoded: bytes) -> Any:
    """Return what msgpack makes of `encoded`, within what a message of its length may cost.

    A few bytes of msgpack may ask for millions of lists: eight MiB of empty ones take 640 MiB
    and seconds. What is long carries a map, which is one run of bytes.

    Raises:
        ValueError, TypeError, msgpack.UnpackException: it is no msgpack, or over the bounds.
    """
    long = len(encoded) > LONG_BYTES
    lists_max = LONG_LISTS_MAX if long else LISTS_MAX
    lists = 0

    def count(items: list[Any]) -> list[Any]:
        nonlocal lists
        lists += 1
        if lists > lists_max:
            raise ValueError("too many lists")
        return items

    return msgpack.unpackb(
        encoded,
        list_hook=count,
        max_array_len=LONG_ITEMS_MAX if long else ITEMS_MAX,
        max_map_len=0,
        max_ext_len=0,
        max_str_len=4 * TEXT_CHARS_MAX,
        max_bin_len=MESSAGE_BYTES_MAX,
    )


def decode(encoded: bytes) -> tuple[int, int, Body]:
    """Return (sender, incarnation, message). Any thread.

    Raises:
        ProtocolError: whatever else the bytes are; never another exception.
    """
    if len(encoded) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"message of {len(encoded)} bytes, limit {MESSAGE_BYTES_MAX}")
    try:
        value = _unpacked(encoded)
    # msgpack and the keys of its maps raise a handful of kinds, none of them ours.
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise ProtocolError(f"no msgpack, or too much of it: {exc or type(exc).__name__}") from exc
    if type(value) is not list or len(value) < 4:
        raise ProtocolError("no message of a center")
    version, number, sender, incarnation = (_int(item) for item in value[:4])
    if version not in (WIRE_VERSION, WIRE_VERSION - 1):
        raise ProtocolError(f"wire version {version}; {WIRE_VERSION - 1}..{WIRE_VERSION} are read")
    if number >= len(_BODIES):
        raise ProtocolError(f"no message has the number {number}")
    body: Body = _BODIES[number](value[4:])
    return sender, incarnation, body
