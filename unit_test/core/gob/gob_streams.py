"""Bytes and types that the tests of gob share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libevrpc.core.gob import GobReader, RawValue, Uint

GOLDEN = Path(__file__).resolve().parent.parent.parent / "golden" / "gob" / "values.txt"


@dataclass
class Header:
    ServiceMethod: str
    Seq: Uint
    Error: str


@dataclass
class Args:
    Num1: int
    Num2: int


@dataclass
class Node:
    V: int
    Next: Node | None = None


@dataclass
class All:
    """Every kind of field, as the Go program has it."""

    Bool: bool
    Int: int
    Int8: int
    Uint: Uint
    Byte: Uint
    Float: float
    Float32: float
    Complex: complex
    Text: str
    Raw: bytes
    Numbers: list[int]
    Three: tuple[int, int, int]
    Map: dict[str, int]
    Inner: Inner
    Inners: list[Inner]
    ByName: dict[str, Inner]
    Pointer: Inner | None
    Deep: list[list[str]]


@dataclass
class Inner:
    A: int
    B: str


@dataclass
class Group:
    """One stream: its messages and what they stand for."""

    note: str
    pieces: list[bytes] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


def golden() -> list[Group]:
    groups: list[Group] = []
    for line in GOLDEN.read_text().splitlines()[1:]:
        key, _, value = line.partition(" ")
        match key:
            case "#":
                groups.append(Group(value))
            case "bytes:":
                groups[-1].pieces.append(bytes.fromhex(value))
            case "values:":
                groups[-1].values = eval(value, {"__builtins__": {}})
    return groups


def values_of(data: bytes) -> Iterator[RawValue]:
    """Yield what a stream holds; nothing may be left."""
    reader = GobReader()
    reader.feed(data)
    while (raw := reader.next_value()) is not None:
        yield raw
    assert not reader.buffered_bytes


def message(*content: int | bytes) -> bytes:
    """Return a message of these bytes."""
    data = b"".join(bytes([part]) if isinstance(part, int) else part for part in content)
    assert len(data) < 128
    return bytes([len(data)]) + data
