"""The receiving half of one gob stream: bytes in, values out, definitions kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libevrpc.core.gob.decode import read_definition, read_value
from libevrpc.core.gob.learned import TypeTable
from libevrpc.core.gob.limits import MESSAGE_BYTES_MAX, OPEN_BYTES_MAX, GobError, GobTooLongError
from libevrpc.core.gob.octets import Cursor, put_uint, uint_at
from libevrpc.core.gob.schema import ANYTHING, Kind, schema_of
from libevrpc.core.gob.walk import Walk

__all__ = ["GobReader", "RawValue"]

_COMPACT_BYTES = 64 * 1024
"""Read bytes are dropped when so many have gathered, or when nothing lies behind them."""


@dataclass(frozen=True, slots=True)
class RawValue:
    """A value as it arrived, with what the stream has said of types. Any thread may decode it.

    Attributes:
        type_id: its type in that stream.
        data: the whole content of its message.
        pos: where the value begins.
    """

    type_id: int
    data: bytes
    pos: int
    table: TypeTable

    @property
    def is_struct(self) -> bool:
        """True if it becomes a dict whose keys are field names, where no hint says more.

        Raises:
            GobError: the stream has not defined its type.
        """
        return self.table.get(self.type_id).kind is Kind.STRUCT

    def decode(self, hint: Any = None) -> Any:
        """Return the value, as `hint` wants it, or as it is.

        Raises:
            GobError: it is something else, or breaks a limit.
            UsageError: gob has no type for the hint.
        """
        want = ANYTHING if hint is None else schema_of(hint)
        return read_value(self.table, self.type_id, Cursor(self.data, self.pos), want)


class _Open:
    """A value on its way that may hold interface values.

    Attributes:
        data: its messages so far, later ones with their length.
        left: bytes of the last one that have not come.
    """

    __slots__ = ("data", "left", "start", "table", "type_id", "walk")

    def __init__(self, table: TypeTable, type_id: int, head: bytes, size: int) -> None:
        self.table = table
        self.type_id = type_id
        self.data = bytearray(head)
        self.start = len(head)
        self.left = size - len(head)
        self.walk = Walk(table, type_id, self.data, self.start)

    def take(self, data: bytes | bytearray) -> RawValue | None:
        """Go on with more of the last message; returns the value when it is whole."""
        self.data += data
        self.left -= len(data)
        whole = self.walk.go_on()
        behind = len(self.data) - self.walk.pos + self.left
        if whole and behind:
            raise GobError(f"{behind} bytes behind the value of a message")
        if not whole and not self.left and (behind or not self.walk.between):
            raise GobError(f"the message ends within its value, {behind} bytes before its end")
        return RawValue(self.type_id, bytes(self.data), self.start, self.table) if whole else None


class GobReader:
    """Cuts a stream into messages, learns types from some and returns the others."""

    __slots__ = ("_buffer", "_open", "_pos", "_table")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pos = 0
        self._table = TypeTable()
        self._open: _Open | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes that belong to no message returned yet."""
        begun = 0 if self._open is None else len(self._open.data)
        return len(self._buffer) - self._pos + begun

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def next_value(self, bytes_max: int = MESSAGE_BYTES_MAX) -> RawValue | None:
        """Return the next value, None: feed more.

        Args:
            bytes_max: longest message.

        Raises:
            GobTooLongError: a message is longer, or a value that may hold interface values.
            GobError: what follows cannot be read; nor can the rest of the stream.
        """
        while True:
            begun = self._open
            if begun is not None:
                if not begun.left and not self._longer(begun, bytes_max):
                    return None
                value = begun.take(self._cut(begun.left))
                if value is not None:
                    self._open = None
                    return value
                if begun.left:
                    return None
                continue
            found = self._size(bytes_max)
            head = None if found is None else uint_at(self._buffer, found[1])
            if found is None or head is None:
                return None
            size, start = found
            type_id = ~(head[0] >> 1) if head[0] & 1 else head[0] >> 1
            if head[1] > start + size:
                raise GobError(f"a message of {size} bytes ends within its type's number")
            if type_id >= 0 and self._table.holds_interface(type_id):
                _check_open(size, bytes_max)
                self._pos = start
                self._open = _Open(self._table, type_id, self._cut(head[1] - start), size)
                continue
            if start + size > len(self._buffer):
                return None
            self._pos = start
            content = self._cut(size)
            if type_id >= 0:
                return RawValue(type_id, content, head[1] - start, self._table)
            read_definition(self._table, -type_id, Cursor(content, head[1] - start))

    def _size(self, bytes_max: int) -> tuple[int, int] | None:
        """Read how long the next message is, and where it begins; None: bytes lack."""
        found = uint_at(self._buffer, self._pos)
        if found is not None:
            size = found[0]
            if size > bytes_max:
                raise GobTooLongError(f"gob message of {size} bytes, limit {bytes_max}")
            if not size:
                raise GobError("message of no bytes")
        return found

    def _longer(self, begun: _Open, bytes_max: int) -> bool:
        """Go on with the next message of a value that has defined a type; False: bytes lack."""
        found = self._size(bytes_max)
        if found is None:
            return False
        begun.left, self._pos = found
        put_uint(begun.data, begun.left)
        _check_open(len(begun.data) + begun.left, bytes_max)
        return True

    def _cut(self, size: int) -> bytes:
        """Take as many bytes, or what there is."""
        end = min(self._pos + size, len(self._buffer))
        data = bytes(memoryview(self._buffer)[self._pos : end])
        self._pos = end
        if end == len(self._buffer) or end > _COMPACT_BYTES:
            del self._buffer[:end]
            self._pos = 0
        return data


def _check_open(size: int, bytes_max: int) -> None:
    limit = min(bytes_max, OPEN_BYTES_MAX)
    if size > limit:
        raise GobTooLongError(f"gob value of {size} bytes with interface values, limit {limit}")
