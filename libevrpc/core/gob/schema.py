"""What Python's type hints are in gob: one `Schema` per hint, with the process's type ids.

| hint | Go |
| --- | --- |
| `bool`, `int`, `float`, `complex`, `str`, `bytes` | `bool`, `int`, `float64`, `complex128`, `string`, `[]byte` |
| `Uint` | `uint` |
| `list[T]`, `tuple[T, ...]` | `[]T` |
| `tuple[T, T, T]` | `[3]T` |
| `dict[K, V]` | `map[K]V` |
| a dataclass | a struct; a field's name is as declared, or `metadata={"gob": "Name"}` |
| `T | None` | `*T`: None is left out |
| `Any` | an interface value |
"""  # noqa: E501 - a table

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable
from enum import Enum, auto
from itertools import count
from typing import Annotated, Any, ForwardRef, Union, get_args, get_origin, get_type_hints

from libevrpc.core.gob import limits
from libevrpc.core.gob.octets import put_int, put_uint
from libevrpc.errors import UsageError

__all__ = ["ANYTHING", "Field", "Kind", "Schema", "Uint", "record_schema", "schema_of"]

Uint = Annotated[int, "uint"]
"""Hint of an unsigned number, which gob tells from a signed one."""


class Kind(Enum):
    """The shapes of values."""

    BOOL = auto()
    INT = auto()
    UINT = auto()
    FLOAT = auto()
    BYTES = auto()
    STRING = auto()
    COMPLEX = auto()
    INTERFACE = auto()
    SLICE = auto()
    ARRAY = auto()
    MAP = auto()
    STRUCT = auto()
    POINTER = auto()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of a struct.

    Attributes:
        name: in gob.
        attribute: in Python.
        make_default: makes what a dataclass says that it is by default; None if it says
            nothing.
    """

    name: str
    attribute: str
    schema: Schema
    make_default: Callable[[], Any] | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Schema:
    """One type, as both sides need it. Immutable once made.

    Attributes:
        name: as Go calls it, for messages and definitions.
        type_id: gob's own, or this process's.
        definition: what a stream is told before the first value; empty for gob's own types.
        make: builds the Python value: a dataclass, `list` or `tuple`; a record is a dict.
        weight: how many values `zero` makes.
        needs: the types that this one is made of.
    """

    kind: Kind
    name: str
    type_id: int
    definition: bytes = b""
    make: Callable[..., Any] | None = None
    elem: Schema | None = None
    key: Schema | None = None
    length: int = 0
    fields: tuple[Field, ...] = ()
    weight: int = 1

    @property
    def is_struct(self) -> bool:
        """True for a dataclass or a record, also where it may be None."""
        if self.kind is Kind.POINTER:
            return self.elem is not None and self.elem.is_struct
        return self.kind is Kind.STRUCT

    @property
    def shown(self) -> str:
        """The type as a Python programmer writes it."""
        match self.kind:
            case Kind.POINTER:
                return f"{_shown_of(self.elem)} | None"
            case Kind.SLICE:
                elem = _shown_of(self.elem)
                return f"list[{elem}]" if self.make is list else f"tuple[{elem}, ...]"
            case Kind.ARRAY:
                return f"tuple[{', '.join([_shown_of(self.elem)] * self.length)}]"
            case Kind.MAP:
                return f"dict[{_shown_of(self.key)}, {_shown_of(self.elem)}]"
            case Kind.STRUCT:
                return self.name or "SimpleNamespace"
        return _NAMES[self.kind]

    @property
    def head(self) -> bytes:
        """What a message begins with whose value has this type."""
        out = bytearray()
        put_int(out, self.type_id)
        if self.kind is not Kind.STRUCT:
            out.append(0)
        return bytes(out)

    @property
    def needs(self) -> tuple[Schema, ...]:
        """The types that this one is made of."""
        inner = tuple(part for part in (self.key, self.elem) if part is not None)
        return inner + tuple(field.schema for field in self.fields)

    def zero(self) -> Any:
        """Make the value that gob leaves out."""
        match self.kind:
            case Kind.STRUCT:
                assert self.make is not None
                return self.make(**{f.attribute: f.schema.zero() for f in self.fields})
            case Kind.ARRAY:
                assert self.make is not None
                assert self.elem is not None
                return self.make(self.elem.zero() for _ in range(self.length))
            case Kind.SLICE:
                assert self.make is not None
                return self.make()
            case Kind.MAP:
                return {}
            case Kind.POINTER | Kind.INTERFACE:
                return None
            case _:
                return _ZEROS[self.kind]


_ZEROS = {
    Kind.BOOL: False,
    Kind.INT: 0,
    Kind.UINT: 0,
    Kind.FLOAT: 0.0,
    Kind.BYTES: b"",
    Kind.STRING: "",
    Kind.COMPLEX: 0j,
}

_NAMES = {
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.UINT: "Uint",
    Kind.FLOAT: "float",
    Kind.BYTES: "bytes",
    Kind.STRING: "str",
    Kind.COMPLEX: "complex",
    Kind.INTERFACE: "Any",
}
"""What the hints are called that are no classes of their own, or a generic one's."""

ANYTHING = Schema(Kind.INTERFACE, "interface", limits.INTERFACE)
"""A value that says itself what it is."""

_BASIC: dict[Any, Schema] = {
    bool: Schema(Kind.BOOL, "bool", limits.BOOL),
    int: Schema(Kind.INT, "int", limits.INT),
    Uint: Schema(Kind.UINT, "uint", limits.UINT),
    float: Schema(Kind.FLOAT, "float64", limits.FLOAT),
    bytes: Schema(Kind.BYTES, "[]uint8", limits.BYTES),
    str: Schema(Kind.STRING, "string", limits.STRING),
    complex: Schema(Kind.COMPLEX, "complex128", limits.COMPLEX),
    Any: ANYTHING,
    object: ANYTHING,
}
_KNOWN: dict[Any, Schema] = dict(_BASIC)
"""Every hint seen so far. Written by any thread, each entry once: `setdefault` is atomic."""
_IDS = count(limits.FIRST_USER_ID + 1)
_WIRE_ARRAY, _WIRE_SLICE, _WIRE_STRUCT, _WIRE_MAP = 1, 2, 3, 4
"""Places in gob's own WireType, counted from 1."""


def schema_of(hint: Any) -> Schema:
    """Return the schema of a type hint; a schema is its own. Any thread.

    Raises:
        UsageError: gob has no such type; names the hint, and the dataclass and field with it.
    """
    known = _KNOWN.get(hint)
    return known if known is not None else _Making().schema(hint)


def record_schema(name: str, fields: Iterable[tuple[str, Schema]]) -> Schema:
    """Return the schema of a struct that is a dict here. Any thread."""
    parts = tuple(fields)
    key = (name, tuple((label, part.type_id) for label, part in parts))
    known = _KNOWN.get(key)
    if known is not None:
        return known
    schema = Schema(Kind.STRUCT, name, _next_id(), make=dict)
    schema.fields = tuple(Field(label, label, part) for label, part in parts)
    schema.definition = _definition(schema)
    return _KNOWN.setdefault(key, schema)


def _next_id() -> int:
    type_id = next(_IDS)
    if type_id > limits.FIRST_USER_ID + limits.TYPES_MAX:
        raise UsageError(f"this process has defined {limits.TYPES_MAX} gob types, which is all")
    return type_id


class _Making:
    """Makes a schema and what it needs; known to all only when it is whole.

    Types may hold themselves, so a struct is entered here before its fields are looked at.
    """

    def __init__(self) -> None:
        self._new: dict[Any, Schema] = {}

    def schema(self, hint: Any) -> Schema:
        made = self._made(hint)
        for key, schema in self._new.items():
            _refuse_endless(schema, ())
            schema.definition = _definition(schema)
            schema.weight = _weight(schema)
            _KNOWN.setdefault(key, schema)
        return _KNOWN.get(hint, made)

    def _made(self, hint: Any) -> Schema:
        known = _KNOWN.get(hint) or self._new.get(hint)
        if known is not None:
            return known
        if isinstance(hint, Schema):
            return hint
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return self._struct(hint)
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._made(args[0])
        if origin in (Union, types.UnionType):
            return self._pointer(hint, args)
        if origin is list or (origin is tuple and args[1:] == (...,)):
            return self._slice(hint, origin, args[0])
        if origin is tuple and args and all(arg == args[0] for arg in args):
            return self._array(hint, args)
        if origin is dict:
            return self._map(hint, args)
        raise UsageError(f"gob has no type for {_shown(hint)}")

    def _struct(self, cls: type) -> Schema:
        schema = self._new[cls] = Schema(Kind.STRUCT, cls.__name__, _next_id(), make=cls)
        try:
            hints = get_type_hints(cls, include_extras=True)
        except (NameError, TypeError, SyntaxError) as exc:
            raise UsageError(f"{cls.__name__}: a type hint cannot be read: {exc}") from None
        fields = []
        for field in dataclasses.fields(cls):
            if not field.init:
                continue
            try:
                inner = self._made(hints[field.name])
            except UsageError as exc:
                raise UsageError(f"{cls.__name__}.{field.name}: {exc}") from None
            name = field.metadata.get("gob", field.name)
            fields.append(Field(name, field.name, inner, _default_of(field)))
        schema.fields = tuple(fields)
        return schema

    def _pointer(self, hint: Any, args: tuple[Any, ...]) -> Schema:
        inner = [arg for arg in args if arg is not type(None)]
        if len(inner) != 1 or len(args) != 2:
            raise UsageError(f"gob has no type for {_shown(hint)}: a union is T | None")
        elem = self._made(inner[0])
        return self._keep(hint, Schema(Kind.POINTER, elem.name, elem.type_id, elem=elem))

    def _slice(self, hint: Any, make: Callable[..., Any], inner: Any) -> Schema:
        elem = self._made(inner)
        name = f"[]{elem.name}"
        return self._keep(hint, Schema(Kind.SLICE, name, _next_id(), make=make, elem=elem))

    def _array(self, hint: Any, args: tuple[Any, ...]) -> Schema:
        elem, length = self._made(args[0]), len(args)
        name = f"[{length}]{elem.name}"
        schema = Schema(Kind.ARRAY, name, _next_id(), make=tuple, elem=elem, length=length)
        return self._keep(hint, schema)

    def _map(self, hint: Any, args: tuple[Any, ...]) -> Schema:
        key, elem = self._made(args[0]), self._made(args[1])
        name = f"map[{key.name}]{elem.name}"
        return self._keep(hint, Schema(Kind.MAP, name, _next_id(), key=key, elem=elem))

    def _keep(self, hint: Any, schema: Schema) -> Schema:
        return self._new.setdefault(hint, schema)


def _refuse_endless(schema: Schema, above: tuple[Schema, ...]) -> None:
    """Refuse a struct that holds itself and not `| None`: it would have no end."""
    if schema in above:
        raise UsageError(f"{schema.name} holds itself: write {schema.name} | None")
    if schema.kind in (Kind.STRUCT, Kind.ARRAY):
        for part in schema.needs:
            _refuse_endless(part, (*above, schema))


def _weight(schema: Schema) -> int:
    match schema.kind:
        case Kind.STRUCT:
            return 1 + sum(_weight(field.schema) for field in schema.fields)
        case Kind.ARRAY:
            assert schema.elem is not None
            return 1 + schema.length * _weight(schema.elem)
    return 1


def _default_of(field: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    if field.default is dataclasses.MISSING:
        return None
    default = field.default
    return lambda: default


def _shown(hint: Any) -> str:
    if isinstance(hint, str | ForwardRef):
        return f"{hint!r}"
    if hint in (list, tuple, dict):
        return f"{hint.__name__} without its elements' type"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _definition(schema: Schema) -> bytes:
    """Return the content of the message that defines a type: a WireType under its id."""
    out = bytearray()
    match schema.kind:
        case Kind.POINTER:
            return schema.elem.definition if schema.elem else b""
        case Kind.ARRAY:
            place, numbers = _WIRE_ARRAY, [_id_of(schema.elem), schema.length]
        case Kind.SLICE:
            place, numbers = _WIRE_SLICE, [_id_of(schema.elem)]
        case Kind.MAP:
            place, numbers = _WIRE_MAP, [_id_of(schema.key), _id_of(schema.elem)]
        case _:
            place, numbers = _WIRE_STRUCT, []
    put_int(out, -schema.type_id)
    put_uint(out, place)
    out.append(1)  # its first field is the CommonType: name and id
    _put_named(out, schema.name, schema.type_id)
    for number in numbers:
        out.append(1)
        put_int(out, number)
    if schema.fields:
        out.append(1)
        put_uint(out, len(schema.fields))
        for field in schema.fields:
            _put_named(out, field.name, field.schema.type_id)
    out += b"\0\0"
    return bytes(out)


def _put_named(out: bytearray, name: str, type_id: int) -> None:
    """Append a struct of a name and an id: CommonType and FieldType are that."""
    raw = name.encode()
    if raw:
        out.append(1)
        put_uint(out, len(raw))
        out += raw
    out.append(1 if raw else 2)
    put_int(out, type_id)
    out.append(0)


def _shown_of(schema: Schema | None) -> str:
    assert schema is not None
    return schema.shown


def _id_of(schema: Schema | None) -> int:
    assert schema is not None
    return schema.type_id
