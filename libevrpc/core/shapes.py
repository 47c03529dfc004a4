"""JSON and msgpack values in the shape of type hints, and back: dicts where dataclasses stand.

The hints are gob's, see `libevrpc.core.gob.schema`, so one handler has one signature on all
wires. Names that a dataclass lacks are ignored, fields that are not named have their default,
else zero.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from types import SimpleNamespace
from typing import Any

from libevrpc.core.gob.octets import shown
from libevrpc.core.gob.schema import Kind, Schema
from libevrpc.core.values import VALUES_MAX
from libevrpc.core.wording import with_article
from libevrpc.errors import ProtocolError

__all__ = ["parts", "shaped", "text_parts"]

_UINT64_MAX = 0xFFFFFFFFFFFFFFFF
_TYPES: dict[Kind, tuple[type, ...]] = {
    Kind.BOOL: (bool,),
    Kind.INT: (int,),
    Kind.UINT: (int,),
    Kind.FLOAT: (float, int),
    Kind.STRING: (str,),
    Kind.BYTES: (bytes,),
}


def shaped(value: Any, schema: Schema) -> Any:
    """Return a value that came as JSON or msgpack in the shape of a type hint.

    Bytes may be a string in base64, which is how Go's JSON has them.

    Raises:
        ProtocolError: it does not fit; names the place. Or an empty map stands for a dataclass
            of many fields so often that they are more than VALUES_MAX.
    """
    try:
        return _Shaping().shaped(value, schema)
    except RecursionError:
        raise ProtocolError(
            f"{with_article(schema.shown)} whose parts lie too deep in each other"
        ) from None


class _Shaping:
    """One message; counts what is made for fields that were not sent."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room = VALUES_MAX

    def shaped(self, value: Any, schema: Schema) -> Any:
        match schema.kind:
            case Kind.INTERFACE:
                return value
            case Kind.POINTER:
                assert schema.elem is not None
                return None if value is None else self.shaped(value, schema.elem)
            case Kind.STRUCT:
                return self._struct(value, schema)
            case Kind.SLICE | Kind.ARRAY:
                return self._list(value, schema)
            case Kind.MAP:
                return self._map(value, schema)
        return _basic(value, schema)

    def _struct(self, value: Any, schema: Schema) -> Any:
        if not isinstance(value, dict):
            raise _unfit(value, schema)
        found = {}
        for field in schema.fields:
            if field.name in value:
                try:
                    found[field.attribute] = self.shaped(value[field.name], field.schema)
                except ProtocolError as exc:
                    raise ProtocolError(f"{schema.name}.{field.name}: {exc}") from None
            else:
                self._room -= field.schema.weight
                if self._room < 0:
                    raise ProtocolError(f"more than {VALUES_MAX} values in one message")
                found[field.attribute] = (field.make_default or field.schema.zero)()
        assert schema.make is not None
        try:
            return schema.make(**found)
        except (TypeError, ValueError) as exc:
            raise ProtocolError(f"{schema.name} refuses this: {exc}") from None

    def _list(self, value: Any, schema: Schema) -> Any:
        assert schema.elem is not None
        assert schema.make is not None
        if value is None and schema.kind is Kind.SLICE:  # Go's nil slice
            return schema.make()
        if not isinstance(value, list | tuple):
            raise _unfit(value, schema)
        if schema.kind is Kind.ARRAY and len(value) != schema.length:
            raise ProtocolError(f"{len(value)} elements in {with_article(schema.shown)}")
        return schema.make([self.shaped(item, schema.elem) for item in value])

    def _map(self, value: Any, schema: Schema) -> Any:
        assert schema.key is not None
        assert schema.elem is not None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _unfit(value, schema)
        return {
            self._key(key, schema.key): self.shaped(item, schema.elem)
            for key, item in value.items()
        }

    def _key(self, key: Any, schema: Schema) -> Any:
        """Read a key; in JSON every one is a string."""
        if isinstance(key, str) and schema.kind in (Kind.INT, Kind.UINT):
            try:
                key = int(key)
            except ValueError:
                raise _unfit(key, schema) from None
        return self.shaped(key, schema)


def _basic(value: Any, schema: Schema) -> Any:
    kinds = _TYPES.get(schema.kind, ())
    if schema.kind is Kind.BYTES and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ProtocolError(f"{shown(value)} is no base64") from None
    if not isinstance(value, kinds) or (isinstance(value, bool) and schema.kind is not Kind.BOOL):
        raise _unfit(value, schema)
    if isinstance(value, int | float):
        if schema.kind is Kind.UINT and not 0 <= value <= _UINT64_MAX:
            raise _unfit(value, schema)
        try:
            return float(value) if schema.kind is Kind.FLOAT else value
        except OverflowError:
            raise _unfit(value, schema) from None
    return value


def _unfit(value: Any, schema: Schema) -> ProtocolError:
    return ProtocolError(f"{shown(value)} is no {schema.shown}")


def parts(value: Any) -> dict[str, Any]:
    """Return a dataclass or a namespace as the map that JSON and msgpack have for it.

    It is what their encoders ask of values that they do not know (`default=`).

    Raises:
        TypeError: it is neither.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.metadata.get("gob", field.name): getattr(value, field.name)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, SimpleNamespace):
        return vars(value)
    raise TypeError(
        "an int beyond 64 bits" if isinstance(value, int) else with_article(type(value).__name__)
    )


def text_parts(value: Any) -> dict[str, Any] | str:
    """Do the same for JSON as Go has it: bytes are base64.

    Raises:
        TypeError: it is neither.
    """
    return base64.b64encode(value).decode() if isinstance(value, bytes) else parts(value)
