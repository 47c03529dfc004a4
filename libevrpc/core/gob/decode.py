"""Gob's bytes to Python values: from what the stream says they are to what a schema wants.

A reader is made for each pair of a type of the stream and a schema, once per stream. Where
nothing is wanted, a value is what it is: a struct a dict, a map a dict, a list a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from libevrpc.core.gob.learned import Learned, TypeTable
from libevrpc.core.gob.limits import DEPTH_MAX, GobError
from libevrpc.core.gob.octets import Cursor
from libevrpc.core.gob.schema import ANYTHING, Kind, Schema
from libevrpc.core.wording import with_article

__all__ = ["WIRE_TYPE", "read_definition", "read_value"]

_Read = Callable[[Cursor], Any]

WIRE_TYPE = 16
"""Id of the type of definitions."""
_SKIPPED = Schema(Kind.INTERFACE, "nothing", 0)
"""Wanted where a value is only stepped over."""
_NUMBERS = frozenset({Kind.INT, Kind.UINT})
_LISTS = frozenset({Kind.SLICE, Kind.ARRAY})


def read_value(table: TypeTable, type_id: int, cursor: Cursor, want: Schema = ANYTHING) -> Any:
    """Read the value of a message, whose type id has been read, to its end. Any thread.

    Raises:
        GobError: it is not what the stream or `want` says, or breaks a limit.
    """
    value = _read_top(table, type_id, cursor, want)
    left = len(cursor.data) - cursor.pos
    if left:
        raise GobError(f"{left} bytes behind the value of a message")
    return value


def read_definition(table: TypeTable, type_id: int, cursor: Cursor) -> None:
    """Learn the type that the rest of a message defines under `type_id`.

    Raises:
        GobError: it defines none, or one too many.
    """
    table.admit(len(cursor.data))
    table.define(type_id, read_value(table, WIRE_TYPE, cursor))


def _read_top(table: TypeTable, type_id: int, cursor: Cursor, want: Schema) -> Any:
    read = _Making(table).reader(type_id, want)
    if table.get(type_id).kind is not Kind.STRUCT:
        mark = cursor.uint()
        if mark:
            raise GobError(f"a value that is no struct begins with {mark}, not 0")
    return read(cursor)


class _Making:
    """Makes readers; kept in the table only when they are whole: types may hold themselves."""

    __slots__ = ("_depth", "_new", "_table")

    def __init__(self, table: TypeTable) -> None:
        self._table = table
        self._new: dict[tuple[int, Schema], _Read] = {}
        self._depth = 0

    def reader(self, type_id: int, want: Schema) -> _Read:
        """Return the reader of values of `type_id` for `want`."""
        while want.kind is Kind.POINTER:
            assert want.elem is not None
            want = want.elem
        key = (type_id, want)
        readers = self._table.readers
        known = readers.get(key) or self._new.get(key)
        if known is not None:
            return known
        self._new[key] = lambda cursor: readers[key](cursor)
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise GobError(f"types lie more than {DEPTH_MAX} deep in each other")
        made = self._new[key] = self._made(self._table.get(type_id), want)
        self._depth -= 1
        if not self._depth:
            readers.update(self._new)
            self._new = {}
        return made

    def _made(self, wire: Learned, want: Schema) -> _Read:
        kind = wire.kind
        loose = want.kind is Kind.INTERFACE
        if kind is Kind.INTERFACE:
            return _interface(self._table, want)
        if kind is None:
            basic = _BASIC[Kind.BYTES] if loose or want.kind is Kind.BYTES else None
        else:
            basic = _BASIC.get(kind)
            if not (loose or want.kind is kind or {want.kind, kind} == _NUMBERS):
                basic = None
        if basic is not None:
            unsigned = want.kind is Kind.UINT and kind is Kind.INT
            return _read_natural if unsigned else basic[want is _SKIPPED]
        if kind in _LISTS and (loose or want.kind in _LISTS):
            return self._list(wire, want)
        if kind is Kind.MAP and (loose or want.kind is Kind.MAP):
            return self._map(wire, want)
        if kind is Kind.STRUCT and (loose or want.kind is Kind.STRUCT):
            return self._record(wire, want) if loose else self._struct(wire, want)
        raise GobError(f"{with_article(wire.shown)} on the wire is no {want.shown}")

    def _list(self, wire: Learned, want: Schema) -> _Read:
        read = self.reader(wire.elem, _part(want, want.elem))
        fixed = wire.length if wire.kind is Kind.ARRAY else None
        wanted = want.length if want.kind is Kind.ARRAY else None
        make = want.make or list

        def read_list(cursor: Cursor) -> Any:
            count = cursor.count()
            if fixed is not None and count != fixed:
                raise GobError(f"{count} elements in an array of {fixed}")
            if wanted is not None and count != wanted:
                raise GobError(f"{count} elements where {wanted} are wanted")
            cursor.enter()
            items = [read(cursor) for _ in range(count)]
            cursor.depth += 1
            return items if make is list else make(items)

        def skip_list(cursor: Cursor) -> None:
            cursor.enter()
            for _ in range(cursor.count()):
                read(cursor)
            cursor.depth += 1

        return skip_list if want is _SKIPPED else read_list

    def _map(self, wire: Learned, want: Schema) -> _Read:
        read_key = self.reader(wire.key, _part(want, want.key))
        read_item = self.reader(wire.elem, _part(want, want.elem))

        def read_map(cursor: Cursor) -> dict[Any, Any]:
            cursor.enter()
            found = {}
            for _ in range(cursor.count(2)):
                key = read_key(cursor)
                try:
                    found[key] = read_item(cursor)
                except TypeError:
                    kind = type(key).__name__
                    raise GobError(f"{with_article(kind)} cannot be the key of a dict") from None
            cursor.depth += 1
            return found

        def skip_map(cursor: Cursor) -> None:
            cursor.enter()
            for _ in range(cursor.count(2)):
                read_key(cursor)
                read_item(cursor)
            cursor.depth += 1

        return skip_map if want is _SKIPPED else read_map

    def _record(self, wire: Learned, want: Schema) -> _Read:
        """Make the reader of a struct that becomes a dict, or is stepped over."""
        parts = []
        blank = {}
        for name, type_id in wire.fields:
            parts.append((name, self.reader(type_id, want)))
            blank[name] = _ZEROS.get(self._table.get(type_id).kind)
        keep = want is not _SKIPPED

        def read_record(cursor: Cursor) -> dict[str, Any] | None:
            cursor.take(1 + len(blank))  # a small dict is as large as that many values
            found = _fields(cursor, wire, parts)
            if not keep:
                return None
            filled = {name: make() if make else None for name, make in blank.items()}
            filled.update(found)
            return filled

        return read_record

    def _struct(self, wire: Learned, want: Schema) -> _Read:
        """Make the reader of a struct that becomes what the schema makes of its fields."""
        wanted = {field.name: field for field in want.fields}
        parts = []
        known = set()
        for name, type_id in wire.fields:
            field = wanted.get(name)
            if field is None:
                parts.append(("", self.reader(type_id, _SKIPPED)))
            else:
                known.add(name)
                parts.append((field.attribute, self._field(wire, name, type_id, field.schema)))
        blanks = [
            (
                field.attribute,
                field.schema.weight,
                (None if field.name in known else field.make_default) or field.schema.zero,
            )
            for field in want.fields
        ]
        make = want.make
        assert make is not None

        def read_struct(cursor: Cursor) -> Any:
            cursor.take(1 + len(blanks))
            found = _fields(cursor, wire, parts)
            found.pop("", None)
            for attribute, weight, blank in blanks:
                if attribute not in found:
                    cursor.take(weight - 1)
                    found[attribute] = blank()
            try:
                return make(**found)
            except (TypeError, ValueError) as exc:
                raise GobError(f"{want.name} refuses this: {exc}") from None

        return read_struct

    def _field(self, wire: Learned, name: str, type_id: int, want: Schema) -> _Read:
        try:
            return self.reader(type_id, want)
        except GobError as exc:
            raise GobError(f"{wire.name:.60}.{name:.60}: {exc}") from None


def _part(want: Schema, inner: Schema | None) -> Schema:
    """Return what is wanted of the parts of a list or a map."""
    return want if inner is None else inner


def _fields(cursor: Cursor, wire: Learned, parts: list[tuple[str, _Read]]) -> dict[str, Any]:
    """Read the fields that a struct has: each behind its distance from the last, then 0."""
    cursor.enter()
    found = {}
    place = -1
    while step := cursor.uint():
        place += step
        if place >= len(parts):
            raise GobError(f"field {place} of {wire.shown}, which has {len(parts)}")
        name, read = parts[place]
        try:
            found[name] = read(cursor)
        except GobError as exc:
            raise GobError(f"{wire.name:.60}.{wire.fields[place][0]:.60}: {exc}") from None
    cursor.depth += 1
    return found


def _interface(table: TypeTable, want: Schema) -> _Read:
    """Make the reader of values that say their own type: name, id, length, value.

    Where Go meets a type here first, its definition stands before the id.
    """

    def read_interface(cursor: Cursor) -> Any:
        size = cursor.uint()
        if not size:
            return None
        cursor.pos += size  # `Walk` has seen that it is there, and no longer than a name may be
        while (type_id := cursor.signed()) < 0:
            _inner_definition(table, cursor)
        cursor.uint()  # its length, which is wrong where it defines a type in turn
        cursor.enter()
        value = _read_top(table, type_id, cursor, want)
        cursor.depth += 1
        return value

    return read_interface


def _inner_definition(table: TypeTable, cursor: Cursor) -> None:
    """Step over a definition that `Walk` has learned, and the length of the message behind it."""
    _Making(table).reader(WIRE_TYPE, _SKIPPED)(cursor)
    cursor.uint()


def _read_bool(cursor: Cursor) -> bool:
    return cursor.uint() != 0


def _read_string(cursor: Cursor) -> str:
    try:
        return cursor.raw().decode()
    except UnicodeDecodeError as exc:
        raise GobError(f"string is not UTF-8: {exc.reason}") from None


def _read_complex(cursor: Cursor) -> complex:
    return complex(cursor.double(), cursor.double())


def _read_natural(cursor: Cursor) -> int:
    value = cursor.signed()
    if value < 0:
        raise GobError(f"{value} where no number below 0 is wanted")
    return value


_BASIC: dict[Kind, tuple[_Read, _Read]] = {
    Kind.BOOL: (_read_bool, Cursor.uint),
    Kind.INT: (Cursor.signed, Cursor.uint),
    Kind.UINT: (Cursor.uint, Cursor.uint),
    Kind.FLOAT: (Cursor.double, Cursor.uint),
    Kind.COMPLEX: (_read_complex, _read_complex),
    Kind.STRING: (_read_string, Cursor.raw),
    Kind.BYTES: (Cursor.raw, Cursor.raw),
}
"""How to read gob's own types, and how to step over them."""
_ZEROS: dict[Kind | None, Callable[[], Any]] = {
    Kind.BOOL: bool,
    Kind.INT: int,
    Kind.UINT: int,
    Kind.FLOAT: float,
    Kind.COMPLEX: complex,
    Kind.STRING: str,
    Kind.BYTES: bytes,
    Kind.SLICE: list,
    Kind.MAP: dict,
}
"""What was left out because it is zero. A struct or an array is never: it was a nil pointer."""
