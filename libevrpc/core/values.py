"""JSON and msgpack values, read within bounds: what a message may make of its bytes. Pure.

A byte can stand for an empty list, which is 64 bytes of memory: 16 MiB of them make a gigabyte.
So values are counted before they are made. A message too short to hold too many, nearly every
one, is not even looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import msgpack

__all__ = ["VALUES_MAX", "BoundError", "check_json", "load_json", "load_msgpack"]

VALUES_MAX: Final = 4 * 1024 * 1024
"""Values in one message of any codec; each key and each container is one. Sixteen megabytes of
JSON as people send it, records or numbers, have up to three million. They take at most 100 bytes
each, slots in their containers included, so 400 MiB; text and bytes come on top, up to four times
as long as they were in the message."""


class BoundError(ValueError):
    """A message breaks a bound; it may be well-formed."""


def load_json(data: bytes) -> Any:
    """Read a value of JSON.

    Raises:
        BoundError: it has too many values, or they lie too deep in each other for Python's
            decoder: at about 1000 in Python 3.11, at some thousands in later ones.
        ValueError: it is no JSON.
    """
    check_json(data)
    try:
        return json.loads(data)
    except RecursionError:
        raise _too_deep() from None


def load_msgpack(data: bytes) -> Any:
    """Read a value of msgpack.

    Raises:
        BoundError: it has too many values, or they lie more than 1024 deep in each other.
        ValueError, msgpack.UnpackException: it is no msgpack.
        TypeError: a key that no dict can have.
    """
    if len(data) > VALUES_MAX:  # each value takes a byte or more
        _check_msgpack(data)
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (msgpack.StackError, RecursionError):
        raise _too_deep() from None


def check_json(data: bytes) -> None:
    """Count the values of JSON without reading it. What is no JSON may pass.

    Raises:
        BoundError: it has too many.
    """
    if len(data) <= 2 * VALUES_MAX:  # each value takes a byte, and a comma or a bracket
        return
    count = 1 + _marks(data)
    if count > VALUES_MAX:
        count -= _hollow(data)
    if count > VALUES_MAX and json.detect_encoding(data).startswith("utf-8"):
        count = 1
        for piece in _outside_strings(data):
            bare = piece.translate(None, _BLANKS)
            count += _marks(bare) - _hollow(bare)
            if count > VALUES_MAX:
                break
    if count > VALUES_MAX:
        raise _too_many()


def _too_many() -> BoundError:
    return BoundError(f"more than {VALUES_MAX} values in one message")


def _too_deep() -> BoundError:
    return BoundError("values lie too deep in each other")


# -- JSON -------------------------------------------------------------------------------

_MARKS = b",:[{"
"""One stands before each value but the first, so no text has more values than these and one.
That holds for UTF-16 and UTF-32 too, where one is a byte beside zeroes."""
_BLANKS = b" \t\r\n"
_PIECE_BYTES = 64 * 1024
"""Looked at in one go, while other threads wait."""


def _marks(text: bytes) -> int:
    return len(text) - len(text.translate(None, _MARKS))


def _hollow(text: bytes) -> int:
    """Count empty lists and maps, whose brackets stand before no value."""
    return text.count(b"[]") + text.count(b"{}")


def _outside_strings(data: bytes) -> Iterator[bytes]:
    """Cut a text of UTF-8 into pieces, and leave one quote of each string."""
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    inside = 0
    for start in range(0, len(bare), _PIECE_BYTES):
        parts = bare[start : start + _PIECE_BYTES].split(b'"')
        yield b'"'.join(parts[inside::2])
        inside ^= ~len(parts) & 1


# -- msgpack ----------------------------------------------------------------------------

_GROUP_VALUES = 128
_NUMBERS = {
    1: b"",  # what is not named here
    9: b"\xcb\xcf\xd3",
    5: b"\xca\xce\xd2\xdd\xdf",
    3: b"\xcd\xd1\xdc\xde",
    2: b"\xcc\xd0",
}
"""First bytes of numbers, and of containers without their parts, by the size of the whole."""
_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length behind the first byte of a bin or a str."""
_EXT_WIDTHS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_EXT_LENGTHS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def _sizes() -> bytes:
    """Return how many bytes a value takes, by its first; 0: it says so in the next ones."""
    sizes = bytearray(b"\1" * 256)
    for first in range(0xA0, 0xC0):
        sizes[first] = 1 + (first & 0x1F)
    for size, firsts in ((0, (*_WIDTHS, *_EXT_WIDTHS, *_EXT_LENGTHS)), *_NUMBERS.items()):
        for first in firsts:
            sizes[first] = size
    return bytes(sizes)


_SIZES = _sizes()


@cache
def _group() -> re.Pattern[bytes]:
    """Return what finds a number of values that do not say their size, at C's speed."""
    firsts = dict.fromkeys((*_NUMBERS, *range(1, 33)), b"")  # in the order of trying
    for first, size in enumerate(_SIZES):
        if size:
            firsts[size] += re.escape(bytes((first,)))
    parts = (b"[%b].{%d}" % (firsts[size], size - 1) for size in firsts)
    return re.compile(b"(?:%b){%d}" % (b"|".join(parts), _GROUP_VALUES), re.DOTALL)


def _check_msgpack(data: bytes) -> None:
    """Count values from one to the next; what is wrong with them is the decoder's business."""
    match = _group().match
    pos = count = 0
    while pos < len(data):
        found = match(data, pos)
        if found is not None:
            pos = found.end()
            count += _GROUP_VALUES
        else:
            pos, counted = _step(data, pos)
            count += counted
        if count > VALUES_MAX:
            raise _too_many()


def _step(data: bytes, pos: int) -> tuple[int, int]:
    """Step over as many values, or what is left; returns what follows them, and their number."""
    end, sizes = len(data), _SIZES
    count = 0
    while pos < end and count < _GROUP_VALUES:
        first = data[pos]
        count += 1
        if size := sizes[first]:
            pos += size
            continue
        pos += 1
        width = _WIDTHS.get(first)
        rest = 0
        if width is None:  # an ext, a pair of its type and its bytes
            count += 1
            width = _EXT_WIDTHS.get(first, 0)
            rest = 1 + _EXT_LENGTHS.get(first, 0)
        pos += width + int.from_bytes(data[pos : pos + width], "big") + rest
    return pos, count
