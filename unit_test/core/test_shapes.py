"""JSON and msgpack values in the shape of type hints, and dataclasses as maps."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from libevrpc.core import shapes
from libevrpc.core.gob import Uint, schema_of
from libevrpc.core.shapes import parts, shaped, text_parts
from libevrpc.errors import ProtocolError


@dataclass
class Inner:
    A: int = 5
    B: str = ""


@dataclass
class Outer:
    number: int = field(metadata={"gob": "Number"})
    Inners: list[Inner]
    By: dict[int, Inner]
    Pair: tuple[float, float] = (0.5, 0.5)
    Perhaps: Inner | None = None
    Raw: bytes = b""
    Any: Any = None
    Flag: bool = True


@pytest.mark.parametrize(
    ("value", "hint", "wanted"),
    [
        (5, int, 5),
        (5, Uint, 5),
        (5, float, 5.0),
        (0.5, float, 0.5),
        (True, bool, True),
        ("x", str, "x"),
        (b"x", bytes, b"x"),
        ("AP8=", bytes, b"\x00\xff"),
        ([1, 2], list[int], [1, 2]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ((1, 2), tuple[int, int], (1, 2)),
        (None, list[int], []),
        (None, dict[str, int], {}),
        ({"1": 2}, dict[int, int], {1: 2}),
        ({1: 2}, dict[int, int], {1: 2}),
        ({"1": 2}, dict[str, int], {"1": 2}),
        (None, Inner | None, None),
        ({}, Inner | None, Inner(5, "")),
        ({"A": 1, "More": 2}, Inner, Inner(1, "")),
        ({"anything": [1]}, Any, {"anything": [1]}),
        (
            {"Number": 1, "Inners": [{"B": "b"}], "By": {"7": {}}, "Pair": [1, 2], "Any": "any"},
            Outer,
            Outer(1, [Inner(5, "b")], {7: Inner()}, (1.0, 2.0), None, b"", "any", True),
        ),
        ({}, Outer, Outer(0, [], {})),
    ],
)
def test_values_take_the_shape_of_their_hint(value: Any, hint: Any, wanted: Any) -> None:
    found = shaped(value, schema_of(hint))
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("value", "hint", "named"),
    [
        ("5", int, "'5' is no int"),
        (True, int, "True is no int"),
        (1, bool, "1 is no bool"),
        (0.5, int, "0.5 is no int"),
        (-1, Uint, "-1 is no Uint"),
        (True, float, "True is no float"),
        (1, str, "1 is no str"),
        ("?", bytes, "'?' is no base64"),
        ("ü", bytes, "'ü' is no base64"),
        (1, bytes, "1 is no bytes"),
        (1, complex, "1 is no complex"),
        (5, list[int], "5 is no list[int]"),
        ([1], tuple[int, int], "1 elements in a tuple[int, int]"),
        (None, tuple[int, int], "None is no tuple[int, int]"),
        ([1], dict[str, int], "[1] is no dict[str, int]"),
        ({"x": 1}, dict[int, int], "'x' is no int"),
        ([1], Inner, "[1] is no Inner"),
        ({"A": "x"}, Inner, "Inner.A: 'x' is no int"),
        ({"Inners": [{"A": "x"}]}, Outer, "Outer.Inners: Inner.A: 'x' is no int"),
    ],
)
def test_values_of_another_shape_are_refused_by_name(value: Any, hint: Any, named: str) -> None:
    with pytest.raises(ProtocolError) as told:
        shaped(value, schema_of(hint))
    assert str(told.value) == named


def test_an_int_too_large_for_a_float_is_none() -> None:
    with pytest.raises(ProtocolError, match=r"^1000.* is no float"):
        shaped(10**400, schema_of(float))


@dataclass
class Node:
    Next: Node | None = None


def test_values_lie_in_each_other_only_so_deep() -> None:
    value: Any = {}
    for _ in range(sys.getrecursionlimit()):
        value = {"Next": value}
    with pytest.raises(ProtocolError, match="a Node whose parts lie too deep"):
        shaped(value, schema_of(Node))
    assert shaped({"Next": {"Next": {}}}, schema_of(Node)) == Node(Node(Node()))


def test_fields_that_were_not_sent_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Nine:
        Outers: tuple[Inner, Inner]
        First: int
        Second: Inner

    # two of them: the pair, its parts and theirs are seven, then come one, and three
    monkeypatch.setattr(shapes, "VALUES_MAX", 22)
    schema = schema_of(list[Nine])
    assert len(shaped([{}, {}], schema)) == 2
    monkeypatch.setattr(shapes, "VALUES_MAX", 21)
    with pytest.raises(ProtocolError, match="more than 21 values in one message"):
        shaped([{}, {}], schema)
    assert len(shaped([{"First": 1}, {}], schema)) == 2


def test_a_dataclass_may_refuse_its_fields() -> None:
    @dataclass
    class Picky:
        A: int

        def __post_init__(self) -> None:
            raise ValueError("never")

    with pytest.raises(ProtocolError, match="Picky refuses this: never"):
        shaped({"A": 1}, schema_of(Picky))


def test_dataclasses_and_namespaces_are_maps_for_encoders() -> None:
    outer = Outer(1, [], {})
    assert parts(outer)["Number"] == 1
    assert "number" not in parts(outer)
    assert parts(SimpleNamespace(A=1)) == {"A": 1}
    assert text_parts(Inner(1, "b")) == {"A": 1, "B": "b"}
    assert text_parts(b"\x00\xff") == "AP8="
    for value, named in ((Inner, "a type"), (object(), "an object"), ({1}, "a set")):
        with pytest.raises(TypeError, match=f"^{named}$"):  # behind "value cannot be sent: "
            parts(value)
