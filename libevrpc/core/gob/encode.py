"""Python values to gob's bytes, as a schema says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, get_args, get_origin

from libevrpc.core.gob import limits
from libevrpc.core.gob.limits import GobError
from libevrpc.core.gob.octets import put_float, put_int, put_uint, shown
from libevrpc.core.gob.schema import Kind, Schema, record_schema, schema_of
from libevrpc.core.wording import with_article

__all__ = ["EncodedValue", "GobWriter", "encode_value", "natural_schema"]

_Put = Callable[["_Writing", Schema, Any], None]

_GO_NAMES = {
    limits.BOOL: "bool",
    limits.INT: "int",
    limits.UINT: "uint",
    limits.FLOAT: "float64",
    limits.COMPLEX: "complex128",
    limits.STRING: "string",
    limits.BYTES: "[]uint8",
}
"""What Go registers by itself, so that an interface may hold it."""


class GobWriter:
    """The sending half of one stream: what is defined once is remembered.

    One thread at a time, and messages leave in the order in which they were made.
    """

    __slots__ = ("_defined",)

    def __init__(self) -> None:
        self._defined: set[int] = set()

    def message(self, value: Any, hint: Any = None) -> bytes:
        """Return `value` as a message, behind the definitions that the peer still lacks.

        Args:
            value: what to send.
            hint: its type; without one it is read from the value, see `natural_schema`.

        Raises:
            GobError: the value is not what the hint says; nothing has been defined then.
            UsageError: gob has no type for the hint.
        """
        schema = natural_schema(value) if hint is None else schema_of(hint)
        return self.write(schema, value)

    def write(self, schema: Schema, value: Any) -> bytes:
        """Do the same by a schema.

        Raises:
            GobError: the value is not what the schema says; nothing has been defined then.
        """
        content = encode_value(schema, value)
        return self.framed(schema, content)

    def framed(self, schema: Schema, content: EncodedValue) -> bytes:
        """Frame what `encode_value` made: that part may run on any thread."""
        out = bytearray()
        for part in (schema, *content.inner):
            self._define(part, out)
        put_uint(out, len(content.data))
        out += content.data
        return bytes(out)

    def _define(self, schema: Schema, out: bytearray) -> None:
        waiting = [schema]
        while waiting:
            part = waiting.pop()
            if part.kind is not Kind.POINTER:
                if part.type_id in self._defined or not part.definition:
                    continue
                self._defined.add(part.type_id)
                put_uint(out, len(part.definition))
                out += part.definition
            waiting.extend(reversed(part.needs))


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedValue:
    """A value's message without its length.

    Attributes:
        data: type id and value.
        inner: types that interface values in it have.
    """

    data: bytes
    inner: tuple[Schema, ...]


def encode_value(schema: Schema, value: Any) -> EncodedValue:
    """Encode a value. Any thread.

    Raises:
        GobError: the value is not what the schema says, or too long.
    """
    writing = _Writing()
    _put_top(writing, schema, value)
    if len(writing.out) > limits.MESSAGE_BYTES_MAX:
        raise GobError(f"value of {len(writing.out)} bytes, limit {limits.MESSAGE_BYTES_MAX}")
    return EncodedValue(bytes(writing.out), tuple(writing.inner))


def natural_schema(value: Any) -> Schema:
    """Return the schema of a value that has no hint.

    A list has the type of its elements if they agree, else `[]interface{}`; so does a dict with
    its values. A `SimpleNamespace` is a struct without a name.

    Raises:
        GobError: gob has no type for it.
        UsageError: a field of a dataclass has a hint that gob has no type for.
    """
    return _naturally(value, limits.DEPTH_MAX)


class _Unknown:
    """Stands for the type of the elements that an empty list or dict does not have."""


def _naturally(value: Any, depth: int) -> Schema:
    return schema_of(_settled(_natural(value, depth)))


def _natural(value: Any, depth: int) -> Any:
    """Return the hint, or the schema, of a value; parts of it may be `_Unknown`."""
    if depth < 0:
        raise GobError(f"values lie more than {limits.DEPTH_MAX} deep in each other")
    kind = type(value)
    if kind in (bool, int, float, complex, str, bytes) or dataclasses.is_dataclass(kind):
        return kind
    if kind in (list, tuple):
        return list[_shared(value, depth)]  # type: ignore[misc]
    if kind is dict:
        return dict[_shared(value, depth), _shared(value.values(), depth)]  # type: ignore[misc]
    if kind is SimpleNamespace:
        parts = [(name, _naturally(part, depth - 1)) for name, part in vars(value).items()]
        return record_schema("", parts)
    raise GobError(f"gob has no type for {with_article(kind.__name__)}")


def _shared(values: Iterable[Any], depth: int) -> Any:
    """Return the hint that all values share, or Any; `_Unknown` if there are none."""
    found: Any = _Unknown
    for value in values:
        found = _joined(found, Any if value is None else _natural(value, depth - 1))
    return found


def _joined(one: Any, other: Any) -> Any:
    """Return the hint that fits both, or Any: what is empty in one is what the other says."""
    if one is other or one == other or other is _Unknown:
        return one
    if one is _Unknown:
        return other
    origin = get_origin(one)
    if origin is None or origin is not get_origin(other):
        return Any
    parts = []
    for pair in zip(get_args(one), get_args(other), strict=True):
        part = _joined(*pair)
        if part is Any and Any not in pair:  # a list of ints beside one of texts
            return Any
        parts.append(part)
    return origin[tuple(parts)]


def _settled(hint: Any) -> Any:
    """Return a hint without `_Unknown`: such parts may be anything."""
    origin = get_origin(hint)
    if origin is None:
        return Any if hint is _Unknown else hint
    return origin[tuple(_settled(part) for part in get_args(hint))]


class _Writing:
    """The content of one message as it grows."""

    __slots__ = ("depth", "inner", "out")

    def __init__(self) -> None:
        self.out = bytearray()
        self.inner: list[Schema] = []
        self.depth = limits.DEPTH_MAX


def _put_top(writing: _Writing, schema: Schema, value: Any) -> None:
    """Append type id and value, as a message has them and an interface value."""
    while schema.kind is Kind.POINTER:
        assert schema.elem is not None
        schema = schema.elem
        if value is None:
            raise GobError(f"None has no type of its own: {with_article(schema.shown)} is wanted")
    writing.out += schema.head
    _PUT[schema.kind](writing, schema, value)


def _put_bool(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, bool):
        raise _unfit(schema, value)
    writing.out.append(value)


def _put_signed(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, int):
        raise _unfit(schema, value)
    put_int(writing.out, value)


def _put_unsigned(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, int):
        raise _unfit(schema, value)
    put_uint(writing.out, value)


def _put_double(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, float | int):
        raise _unfit(schema, value)
    try:
        put_float(writing.out, float(value))
    except OverflowError:
        raise _unfit(schema, value) from None


def _put_complex(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, complex):
        raise _unfit(schema, value)
    put_float(writing.out, value.real)
    put_float(writing.out, value.imag)


def _put_bytes(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _unfit(schema, value)
    raw = bytes(value)
    put_uint(writing.out, len(raw))
    writing.out += raw


def _put_string(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, str):
        raise _unfit(schema, value)
    try:
        raw = value.encode()
    except UnicodeEncodeError as exc:
        raise GobError(f"string cannot be written as UTF-8: {exc.reason}") from None
    put_uint(writing.out, len(raw))
    writing.out += raw


def _put_list(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, list | tuple):
        raise _unfit(schema, value)
    if schema.kind is Kind.ARRAY and len(value) != schema.length:
        raise GobError(f"{len(value)} elements in {with_article(schema.shown)}")
    assert schema.elem is not None
    put_uint(writing.out, len(value))
    _enter(writing)
    for item in value:
        _put_inner(writing, schema.elem, item)
    writing.depth += 1


def _put_map(writing: _Writing, schema: Schema, value: Any) -> None:
    if not isinstance(value, dict):
        raise _unfit(schema, value)
    assert schema.key is not None
    assert schema.elem is not None
    put_uint(writing.out, len(value))
    _enter(writing)
    for key, item in value.items():
        _put_inner(writing, schema.key, key)
        _put_inner(writing, schema.elem, item)
    writing.depth += 1


def _put_inner(writing: _Writing, schema: Schema, value: Any) -> None:
    """Append an element: unlike a field it is there even when it is zero."""
    while schema.kind is Kind.POINTER:
        assert schema.elem is not None
        schema = schema.elem
        if value is None:
            raise GobError(f"None in a list or a map of {schema.shown}: gob cannot say that")
    _PUT[schema.kind](writing, schema, value)


def _put_struct(writing: _Writing, schema: Schema, value: Any) -> None:
    if schema.make is dict:
        if not isinstance(value, SimpleNamespace):
            raise _unfit(schema, value)
    elif type(value) is not schema.make:
        raise _unfit(schema, value)
    _enter(writing)
    last = -1
    for place, field in enumerate(schema.fields):
        item = getattr(value, field.attribute, None)
        try:
            if _put_field(writing, field.schema, place - last, item):
                last = place
        except GobError as exc:
            raise GobError(f"{schema.name or 'struct'}.{field.name}: {exc}") from None
    writing.out.append(0)
    writing.depth += 1


def _put_field(writing: _Writing, schema: Schema, step: int, value: Any) -> bool:
    """Append a field behind its distance from the last one; False if it is left out as zero."""
    while schema.kind is Kind.POINTER:
        if value is None:
            return False
        assert schema.elem is not None
        schema = schema.elem
    if value is None and schema.kind is Kind.INTERFACE:
        return False
    out = writing.out
    before = len(out)
    put_uint(out, step)
    start = len(out)
    _PUT[schema.kind](writing, schema, value)
    if schema.kind not in _NEVER_LEFT_OUT and out.count(0, start) == len(out) - start <= _ZERO_MAX:
        del out[before:]
        return False
    return True


def _put_interface(writing: _Writing, schema: Schema, value: Any) -> None:
    if value is None:
        writing.out.append(0)
        return
    actual = _naturally(value, writing.depth)
    name = _registered_name(actual)
    raw = name.encode()
    put_uint(writing.out, len(raw))
    writing.out += raw
    inner = _Writing()
    inner.depth = writing.depth
    _enter(inner)
    _put_top(inner, actual, value)
    # the type id stands before the length of the rest
    id_bytes = bytearray()
    put_int(id_bytes, actual.type_id)
    writing.out += id_bytes
    put_uint(writing.out, len(inner.out) - len(id_bytes))
    writing.out += inner.out[len(id_bytes) :]
    writing.inner += (actual, *inner.inner)


def _registered_name(schema: Schema) -> str:
    """Return what Go registers such a type under.

    Raises:
        GobError: Go has no name for it by itself, and its class gives none.
    """
    if schema.kind is Kind.STRUCT:
        name = getattr(schema.make, "__gob_name__", "")
        if not name:
            raise GobError(
                f"{schema.name or 'a struct'} in an interface value needs the name that Go"
                ' registers it under: a class attribute such as __gob_name__ = "main.Args"'
            )
        return str(name)
    if schema.kind is Kind.SLICE and schema.elem is not None:
        name = _GO_NAMES.get(schema.elem.type_id, "")
        name = f"[]{name}" if name else ""
    else:
        name = _GO_NAMES.get(schema.type_id, "")
    if not name:
        raise GobError(
            f"an interface value cannot hold {with_article(schema.shown)}: Go registers none"
        )
    return name


def _enter(writing: _Writing) -> None:
    writing.depth -= 1
    if writing.depth < 0:
        raise GobError(f"values lie more than {limits.DEPTH_MAX} deep in each other")


def _unfit(schema: Schema, value: Any) -> GobError:
    return GobError(f"{shown(value)} is no {schema.shown}")


_PUT: dict[Kind, _Put] = {
    Kind.BOOL: _put_bool,
    Kind.INT: _put_signed,
    Kind.UINT: _put_unsigned,
    Kind.FLOAT: _put_double,
    Kind.COMPLEX: _put_complex,
    Kind.BYTES: _put_bytes,
    Kind.STRING: _put_string,
    Kind.SLICE: _put_list,
    Kind.ARRAY: _put_list,
    Kind.MAP: _put_map,
    Kind.STRUCT: _put_struct,
    Kind.INTERFACE: _put_interface,
}
_NEVER_LEFT_OUT = frozenset({Kind.STRUCT, Kind.ARRAY, Kind.INTERFACE})
_ZERO_MAX = 2
"""A zero is one byte of nought, a complex one two."""
