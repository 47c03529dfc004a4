"""The bytes of gob's basic values, written and read.

An unsigned number below 128 is one byte; others are a byte of 256 - n, then n bytes, the most
significant first. A signed one is shifted left by one, and complemented if negative. A float
is its eight bytes in reverse, as an unsigned number: small whole numbers so are short.
"""

from __future__ import annotations

import reprlib
import struct

from libevrpc.core.gob.limits import DEPTH_MAX, VALUES_MAX, GobError

__all__ = ["Cursor", "put_float", "put_int", "put_uint", "shown", "uint_at"]

_DOUBLE = struct.Struct("<d")
_UINT64_MAX = 0xFFFFFFFFFFFFFFFF
_INT64_MAX = 0x7FFFFFFFFFFFFFFF
_LONG_AT = 128
_UINT_BYTES_MAX = 8


def shown(value: object) -> str:
    """Return a short name of a value, however long it is, for a message."""
    try:
        return f"{reprlib.repr(value):.60}"
    except ValueError:  # a number of thousands of digits is not written out
        return f"a long {type(value).__name__}"


def put_uint(out: bytearray, value: int) -> None:
    """Append an unsigned number.

    Raises:
        GobError: it does not fit 64 bits.
    """
    if 0 <= value < _LONG_AT:
        out.append(value)
        return
    if not 0 <= value <= _UINT64_MAX:
        raise GobError(f"{shown(value)} is no unsigned number of 64 bits")
    size = (value.bit_length() + 7) >> 3
    out.append(256 - size)
    out += value.to_bytes(size, "big")


def put_int(out: bytearray, value: int) -> None:
    """Append a signed number.

    Raises:
        GobError: it does not fit 64 bits.
    """
    if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        raise GobError(f"{shown(value)} is no signed number of 64 bits")
    put_uint(out, value << 1 if value >= 0 else (~value << 1) | 1)


def put_float(out: bytearray, value: float) -> None:
    """Append a float."""
    put_uint(out, int.from_bytes(_DOUBLE.pack(value), "big"))


def uint_at(data: bytes | bytearray, pos: int) -> tuple[int, int] | None:
    """Read the unsigned number at `pos`: the number and what follows it; None: bytes lack.

    Raises:
        GobError: it is longer than 64 bits.
    """
    if pos >= len(data):
        return None
    first = data[pos]
    pos += 1
    if first < _LONG_AT:
        return first, pos
    size = 256 - first
    if size > _UINT_BYTES_MAX:
        raise GobError(f"number of {size} bytes, limit {_UINT_BYTES_MAX}")
    end = pos + size
    if end > len(data):
        return None
    return int.from_bytes(data[pos:end], "big"), end


class Cursor:
    """Reads the content of one message from front to end.

    Attributes:
        pos: the next byte.
        room: how many more values may be made.
        depth: how many more values may lie in each other here.
    """

    __slots__ = ("data", "depth", "pos", "room")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos
        self.room = VALUES_MAX
        self.depth = DEPTH_MAX

    def uint(self) -> int:
        """Read an unsigned number."""
        found = uint_at(self.data, self.pos)
        if found is None:
            raise self.short()
        self.pos = found[1]
        return found[0]

    def signed(self) -> int:
        """Read a signed number."""
        value = self.uint()
        return ~(value >> 1) if value & 1 else value >> 1

    def double(self) -> float:
        """Read a float."""
        bits: float = _DOUBLE.unpack(self.uint().to_bytes(8, "big"))[0]
        return bits

    def raw(self) -> bytes:
        """Read counted bytes."""
        size = self.uint()
        start = self.pos
        if size > len(self.data) - start:
            raise self.short(size)
        self.pos = start + size
        return self.data[start : self.pos]

    def count(self, each: int = 1) -> int:
        """Read how many elements follow, each of `each` bytes or more."""
        count = self.uint()
        left = len(self.data) - self.pos
        if count * each > left:
            raise GobError(f"{count} elements in the {left} bytes that are left of the message")
        self.take(count * each)
        return count

    def take(self, values: int) -> None:
        """Count values that are about to be made."""
        self.room -= values
        if self.room < 0:
            raise GobError(f"more than {VALUES_MAX} values in one message")

    def enter(self) -> None:
        """Go one value deeper; `depth += 1` leaves it."""
        self.depth -= 1
        if self.depth < 0:
            raise GobError(f"values lie more than {DEPTH_MAX} deep in each other")

    def short(self, wanted: int = 1) -> GobError:
        """Return the error that says that the message ends too soon."""
        left = len(self.data) - self.pos
        return GobError(f"{wanted} bytes wanted where {max(left, 0)} are left of the message")
