"""The types of one stream, learned from it: each is defined once, before its first value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from libevrpc.core.gob import limits
from libevrpc.core.gob.limits import GobError
from libevrpc.core.gob.octets import Cursor
from libevrpc.core.gob.schema import Kind, Schema

__all__ = ["Learned", "TypeTable"]

_WIRE_TYPE = 16
"""Id of the type of definitions, which gob defines by saying so."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One type of the stream.

    Attributes:
        kind: None: bytes that a Go type writes by itself, such as a time.
        elem, key: ids, possibly not defined yet.
        fields: name and id of each.
    """

    kind: Kind | None
    name: str = ""
    elem: int = 0
    key: int = 0
    length: int = 0
    fields: tuple[tuple[str, int], ...] = ()

    @property
    def shown(self) -> str:
        """The type as an error names it."""
        what = self.kind.name.lower() if self.kind else "opaque"
        what = "str" if what == "string" else what
        return f"{what} {self.name:.60}" if self.name else what

    @property
    def needs(self) -> tuple[int, ...]:
        """Ids of the types that this one is made of."""
        inner = tuple(part for part in (self.key, self.elem) if part)
        return inner + tuple(type_id for _, type_id in self.fields)


def _struct(name: str, *fields: tuple[str, int]) -> Learned:
    return Learned(Kind.STRUCT, name, fields=fields)


_COMMON = ("CommonType", 18)
_BUILT_IN = {
    limits.BOOL: Learned(Kind.BOOL),
    limits.INT: Learned(Kind.INT),
    limits.UINT: Learned(Kind.UINT),
    limits.FLOAT: Learned(Kind.FLOAT),
    limits.BYTES: Learned(Kind.BYTES),
    limits.STRING: Learned(Kind.STRING),
    limits.COMPLEX: Learned(Kind.COMPLEX),
    limits.INTERFACE: Learned(Kind.INTERFACE),
    _WIRE_TYPE: _struct(
        "wireType",
        ("ArrayT", 17),
        ("SliceT", 19),
        ("StructT", 20),
        ("MapT", 23),
        ("GobEncoderT", 24),
        ("BinaryMarshalerT", 24),
        ("TextMarshalerT", 24),
    ),
    17: _struct("arrayType", _COMMON, ("Elem", limits.INT), ("Len", limits.INT)),
    18: _struct("CommonType", ("Name", limits.STRING), ("Id", limits.INT)),
    19: _struct("sliceType", _COMMON, ("Elem", limits.INT)),
    20: _struct("structType", _COMMON, ("Field", 22)),
    21: _struct("fieldType", ("Name", limits.STRING), ("Id", limits.INT)),
    22: Learned(Kind.SLICE, "[]fieldType", elem=21),
    23: _struct("mapType", _COMMON, ("Key", limits.INT), ("Elem", limits.INT)),
    24: _struct("gobEncoderType", _COMMON),
}
"""How gob describes types, in its own terms; ids below 64 are the same everywhere."""


class TypeTable:
    """What one stream has defined so far.

    The thread that reads the stream defines; any thread may look a type up, and keep in
    `readers` what it made of it.
    """

    __slots__ = ("_bytes", "_count", "_open", "readers", "types")

    def __init__(self) -> None:
        self.types: dict[int, Learned] = dict(_BUILT_IN)
        self.readers: dict[tuple[int, Schema], Callable[[Cursor], Any]] = {}
        self._open: dict[int, bool] = {}
        self._count = 0
        self._bytes = 0

    def get(self, type_id: int) -> Learned:
        """Return a type.

        Raises:
            GobError: the stream has not defined it.
        """
        found = self.types.get(type_id)
        if found is None:
            raise GobError(f"type {type_id} has not been defined")
        return found

    def holds_interface(self, type_id: int) -> bool:
        """Tell whether values of a type may hold values that say their own type.

        Raises:
            GobError: the type, or one that it is made of, has not been defined.
        """
        known = self._open.get(type_id)
        if known is not None:
            return known
        waiting, seen = [type_id], {type_id}
        found = False
        while waiting:
            learned = self.get(waiting.pop())
            found = found or learned.kind is Kind.INTERFACE
            fresh = {part for part in learned.needs if part not in seen}
            seen |= fresh
            waiting.extend(fresh)
        self._open[type_id] = found
        return found

    def admit(self, size: int) -> None:
        """Count a definition of so many bytes.

        Raises:
            GobError: it is one too many.
        """
        self._count += 1
        self._bytes += size
        if self._count > limits.DEFINITIONS_MAX:
            raise GobError(f"more than {limits.DEFINITIONS_MAX} types defined in one stream")
        if self._bytes > limits.DEFINITIONS_BYTES_MAX:
            raise GobError(
                f"definitions of more than {limits.DEFINITIONS_BYTES_MAX} bytes in one stream"
            )

    def define(self, type_id: int, described: dict[str, Any]) -> None:
        """Learn a type from its WireType.

        Raises:
            GobError: the id is gob's own or taken, or this describes no type.
        """
        if type_id < limits.FIRST_USER_ID:
            raise GobError(f"type {type_id} defined: ids below {limits.FIRST_USER_ID} are gob's")
        if type_id in self.types:
            raise GobError(f"type {type_id} defined a second time")
        said = {label: part for label, part in described.items() if part is not None}
        if len(said) != 1:
            raise GobError(f"type {type_id} is {len(said)} things at once, not one")
        label, part = said.popitem()
        name = (part["CommonType"] or {}).get("Name", "")
        match label:
            case "ArrayT":
                made = Learned(Kind.ARRAY, name, part["Elem"], length=part["Len"])
            case "SliceT":
                made = Learned(Kind.SLICE, name, part["Elem"])
            case "MapT":
                made = Learned(Kind.MAP, name, part["Elem"], part["Key"])
            case "StructT":
                fields = tuple((field["Name"], field["Id"]) for field in part["Field"])
                made = Learned(Kind.STRUCT, name, fields=fields)
            case _:
                made = Learned(None, name)
        self.types[type_id] = made
