"""Stepping over a gob value while it arrives, to learn the types that it defines inside of itself.

An interface value may define its type, for those after it too, and Go ends the message behind
that and goes on with the value in the next. So where such a value ends is known only to who has
gone through it. Each byte is looked at once, and when it comes: a long value costs the thread
that reads no more in one go than what was read.
"""

from __future__ import annotations

from collections.abc import Generator

from libevrpc.core.gob.decode import WIRE_TYPE, read_definition
from libevrpc.core.gob.learned import Learned, TypeTable
from libevrpc.core.gob.limits import NAME_BYTES_MAX, GobError
from libevrpc.core.gob.octets import Cursor, uint_at
from libevrpc.core.gob.schema import Kind

__all__ = ["Walk"]

_Steps = Generator[None, None, None]
_RAW = frozenset({Kind.BYTES, Kind.STRING, None})
_NUMBERS = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT})


class Walk:
    """Goes through one value; whoever reads the stream drives it.

    Args:
        table: where definitions are learned.
        type_id: the value's.
        data: its messages so far; grows outside.
        pos: where the value begins.

    Attributes:
        pos: what has been stepped over.
        between: a definition has been learned, and the length of the next message must follow.
    """

    __slots__ = ("_bounds", "_data", "_steps", "_table", "between", "pos")

    def __init__(self, table: TypeTable, type_id: int, data: bytearray, pos: int) -> None:
        self._table = table
        self._data = data
        self._bounds = Cursor(b"")
        self._steps = self._top(type_id)
        self.pos = pos
        self.between = False

    def go_on(self) -> bool:
        """Step over what has come; True: that was all of the value.

        Raises:
            GobError: it cannot be read, or breaks a limit.
        """
        for _ in self._steps:
            return False
        return True

    # Generators that stop where bytes lack.

    def _uint(self) -> Generator[None, None, int]:
        while (found := uint_at(self._data, self.pos)) is None:
            yield
        self.pos = found[1]
        return found[0]

    def _signed(self) -> Generator[None, None, int]:
        value = yield from self._uint()
        return ~(value >> 1) if value & 1 else value >> 1

    def _raw(self) -> _Steps:
        size = yield from self._uint()
        end = self.pos + size
        while len(self._data) < end:
            yield
        self.pos = end

    def _top(self, type_id: int) -> _Steps:
        learned = self._table.get(type_id)
        if learned.kind is not Kind.STRUCT:
            mark = yield from self._uint()
            if mark:
                raise GobError(f"a value that is no struct begins with {mark}, not 0")
        yield from self._value(learned)

    def _value(self, learned: Learned) -> _Steps:
        kind = learned.kind
        if kind in _NUMBERS:
            while (found := uint_at(self._data, self.pos)) is None:
                yield
            self.pos = found[1]
        elif kind in _RAW:
            yield from self._raw()
        elif kind is Kind.COMPLEX:
            yield from self._uint()
            yield from self._uint()
        else:
            self._bounds.enter()
            if kind is Kind.STRUCT:
                yield from self._struct(learned)
            elif kind is Kind.INTERFACE:
                yield from self._interface()
            else:
                yield from self._elements(learned)
            self._bounds.depth += 1

    def _elements(self, learned: Learned) -> _Steps:
        kinds = (learned.key, learned.elem) if learned.kind is Kind.MAP else (learned.elem,)
        parts = [self._table.get(kind) for kind in kinds]
        count = yield from self._uint()
        self._bounds.take(count * len(parts))
        for _ in range(count):
            for part in parts:
                yield from self._value(part)

    def _struct(self, learned: Learned) -> _Steps:
        fields = learned.fields
        self._bounds.take(1 + len(fields))
        place = -1
        while step := (yield from self._uint()):
            place += step
            if place >= len(fields):
                raise GobError(f"field {place} of {learned.shown}, which has {len(fields)}")
            yield from self._value(self._table.get(fields[place][1]))

    def _interface(self) -> _Steps:
        size = yield from self._uint()
        if not size:
            return
        if size > NAME_BYTES_MAX:
            raise GobError(f"a type's name of {size} bytes, limit {NAME_BYTES_MAX}")
        while len(self._data) < self.pos + size:
            yield
        self.pos += size
        while (type_id := (yield from self._signed())) < 0:
            yield from self._definition(-type_id)
        yield from self._uint()  # its length, which is wrong where it defines a type in turn
        yield from self._top(type_id)

    def _definition(self, type_id: int) -> _Steps:
        start = self.pos
        yield from self._value(self._table.get(WIRE_TYPE))
        read_definition(self._table, type_id, Cursor(bytes(self._data[start : self.pos])))
        self.between = True
        yield from self._uint()
        self.between = False
