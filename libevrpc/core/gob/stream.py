"""The receiving half of one gob stream: bytes in, values out, definitions kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libevrpc.core.gob.decode import learn_from, read_definition, read_value
from libevrpc.core.gob.learned import TypeTable
from libevrpc.core.gob.limits import MESSAGE_BYTES_MAX, REREAD_BYTES_MAX, GobError, GobTooLongError
from libevrpc.core.gob.octets import Cursor, put_uint, uint_at
from libevrpc.core.gob.schema import ANYTHING, Kind, schema_of

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


class GobReader:
    """Cuts a stream into messages, learns types from some and returns the others."""

    __slots__ = ("_begun", "_buffer", "_learned", "_pos", "_reread", "_table")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pos = 0
        self._table = TypeTable()
        self._begun: RawValue | None = None  # it defines types inside of itself
        self._learned: set[int] = set()
        self._reread = 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes that belong to no message returned yet."""
        begun = 0 if self._begun is None else len(self._begun.data)
        return len(self._buffer) - self._pos + begun

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def next_value(self, bytes_max: int = MESSAGE_BYTES_MAX) -> RawValue | None:
        """Return the next value, None: feed more.

        Args:
            bytes_max: longest message.

        Raises:
            GobTooLongError: a message is longer.
            GobError: what follows cannot be read; nor can the rest of the stream.
        """
        while (content := self._message(bytes_max)) is not None:
            if self._begun is None:
                cursor = Cursor(content)
                type_id = cursor.signed()
                if type_id < 0:
                    read_definition(self._table, -type_id, cursor)
                    continue
                begun = RawValue(type_id, content, cursor.pos, self._table)
            else:
                begun = self._longer(self._begun, content, bytes_max)
            if learn_from(self._table, begun.type_id, begun.data, begun.pos, self._learned):
                self._begun = None
                self._learned = set()
                return begun
            self._begun = begun
        return None

    def _longer(self, begun: RawValue, content: bytes, bytes_max: int) -> RawValue:
        """Join the pieces of a value that defines types inside of itself."""
        size = bytearray()
        put_uint(size, len(content))
        data = b"".join((begun.data, size, content))
        self._reread += len(data)
        if self._reread > REREAD_BYTES_MAX or len(data) > bytes_max:
            raise GobError(f"too long for a value that defines types: {len(data)} bytes")
        return RawValue(begun.type_id, data, begun.pos, self._table)

    def _message(self, bytes_max: int) -> bytes | None:
        found = uint_at(self._buffer, self._pos)
        if found is None:
            return None
        size, start = found
        if size > bytes_max:
            raise GobTooLongError(f"gob message of {size} bytes, limit {bytes_max}")
        if not size:
            raise GobError("message of no bytes")
        end = start + size
        if end > len(self._buffer):
            return None
        content = bytes(memoryview(self._buffer)[start:end])
        self._pos = end
        if end == len(self._buffer) or end > _COMPACT_BYTES:
            del self._buffer[:end]
            self._pos = 0
        return content
