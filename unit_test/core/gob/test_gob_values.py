"""Values and type hints: what goes out comes back, what gob has no type for is refused by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, make_dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.gob import (
    GobError,
    GobWriter,
    Uint,
    limits,
    natural_schema,
    record_schema,
    schema_of,
)
from libevrpc.errors import UsageError
from unit_test.core.gob.gob_streams import All, Args, Inner, Node, values_of

INTS = st.integers(-(2**63), 2**63 - 1)
UINTS = st.integers(0, 2**64 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
FLOATS = st.floats(allow_nan=False)
INNERS = st.builds(Inner, INTS, TEXTS)
ALLS = st.builds(
    All, st.booleans(), INTS, INTS, UINTS, UINTS, FLOATS, FLOATS,
    st.complex_numbers(allow_nan=False), TEXTS, st.binary(max_size=6),
    st.lists(INTS, max_size=3), st.tuples(INTS, INTS, INTS),
    st.dictionaries(TEXTS, INTS, max_size=3), INNERS, st.lists(INNERS, max_size=2),
    st.dictionaries(TEXTS, INNERS, max_size=2), st.none() | INNERS,
    st.lists(st.lists(TEXTS, max_size=2), max_size=2),
)  # fmt: skip
BASIC = st.booleans() | INTS | FLOATS | TEXTS | st.binary(max_size=6)


def back(value: Any, hint: Any = None, wanted: Any = None) -> Any:
    """Return what is read of a value that was written by `hint`, read by `wanted` or `hint`."""
    [raw] = values_of(GobWriter().message(value, hint))
    return raw.decode(wanted or hint)


@settings(max_examples=200)
@given(st.lists(ALLS, max_size=3))
def test_dataclasses_come_back_and_are_defined_once(values: list[All]) -> None:
    writer = GobWriter()
    stream = b"".join(writer.message(value) for value in values)
    assert [raw.decode(All) for raw in values_of(stream)] == values
    assert stream.count(b"ByName") <= 1


@settings(max_examples=200)
@given(BASIC | st.lists(INTS) | st.lists(TEXTS) | st.dictionaries(TEXTS, FLOATS, min_size=1))
def test_values_without_a_hint_come_back_as_they_are(value: Any) -> None:
    assert back(value) == value


@settings(max_examples=200)
@given(
    st.lists(st.none() | BASIC | st.lists(INTS, min_size=1) | st.builds(complex, INTS), max_size=4)
)
def test_interface_values_come_back_as_they_are(values: list[Any]) -> None:
    assert back(values, list[Any]) == values


def test_a_lost_sign_is_found_again() -> None:
    [raw] = values_of(GobWriter().message(SimpleNamespace(F=-0.0)))
    assert math.copysign(1.0, raw.decode()["F"]) == -1.0
    assert math.isnan(back(math.nan, float))
    assert back(3, float) == 3.0


def test_hints_say_what_is_read() -> None:
    assert back([1, 2], list[int], tuple[int, ...]) == (1, 2)
    assert back((1, 2), tuple[int, int]) == (1, 2)
    assert back([1, 2], list[int], tuple[int, int]) == (1, 2)
    assert back((1, 2), tuple[int, int], list[int]) == [1, 2]
    assert back(5, int, Uint) == 5
    assert back(5, Uint, int) == 5
    assert back(5, Uint, Any) == 5
    assert back(5, int | None) == 5
    assert back(5, Annotated[int, "a note"]) == 5
    assert back(bytearray(b"ab"), bytes) == b"ab"
    assert back([Args(1, 2)], list[Args], list[Any]) == [{"Num1": 1, "Num2": 2}]
    assert back([Named(1)], list[Any], list[Named]) == [Named(1)]
    with pytest.raises(GobError, match="-5 where no number below 0 is wanted"):
        back(-5, int, Uint)


@dataclass
class Named:
    Number: int
    __gob_name__ = "main.Named"


@dataclass
class Older:
    Num1: int
    Gone: list[str]


@dataclass
class Newer:
    Num1: int = 7
    New: str = "new"
    Made: list[int] = field(default_factory=lambda: [1])
    Bare: dict[str, int] | None = None
    Unset: tuple[int, int] = field(default=(1, 2))
    hidden: int = field(default=3, init=False)


@dataclass
class Needy:
    Num1: int
    Inner: Inner
    Pair: tuple[float, float]
    Words: list[str]
    By: dict[str, int]
    Raw: bytes
    Any: Any
    Perhaps: Args | None


def test_what_the_sender_left_out_is_zero_what_it_does_not_know_has_its_default() -> None:
    [raw] = values_of(GobWriter().message(Older(0, ["skipped"])))
    assert raw.decode(Newer) == Newer(0)
    assert raw.decode(Needy) == Needy(0, Inner(0, ""), (0.0, 0.0), [], {}, b"", None, None)


def test_what_may_be_none_is_there_or_left_out() -> None:
    needy = Needy(1, Inner(1, "x"), (0.5, 1.5), ["w"], {"k": 1}, b"r", None, None)
    assert back(needy) | {"Inner": None} == vars(needy) | {"Pair": [0.5, 1.5], "Inner": None}
    assert back(needy, Needy) == needy
    needy.Any, needy.Perhaps = "any", Args(0, 0)
    assert back(needy, Needy) == needy
    assert back([Args(1, 2)], list[Args | None]) == [Args(1, 2)]
    del needy.Num1
    with pytest.raises(GobError, match="Needy.Num1: None is no int"):
        back(needy)


def test_fields_have_the_name_that_their_metadata_say() -> None:
    @dataclass
    class Spelled:
        number: int = field(metadata={"gob": "Num1"})

    assert back(Args(5, 6), Args, Spelled) == Spelled(5)
    assert back(Spelled(7)) == {"Num1": 7}


def test_everything_unknown_is_stepped_over() -> None:
    @dataclass
    class Bare:
        Text: str

    full = All(
        True, 1, 1, 1, 1, 1.0, 1.0, 1j, "kept", b"x", [1], (1, 2, 3), {"a": 1}, Inner(1, "x"),
        [Inner(1, "y")], {"z": Inner(0, "z")}, Inner(0, ""), [["a"]],
    )  # fmt: skip
    assert back(full, All, Bare) == Bare("kept")
    assert back(SimpleNamespace(V=[1, "a", None], Text="kept"), None, Bare) == Bare("kept")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ([[], [1], []], list[list[int]]),
        ([[[]], [], [["a"]]], list[list[list[str]]]),
        ([[], []], list[list[Any]]),
        ({"a": [], "b": [0.5]}, dict[str, list[float]]),
        ([{}, {"a": 1}, {}], list[dict[str, int]]),
        ([[1, "a"], [1], []], list[list[Any]]),
        ([[1], ["a"]], list[Any]),
        ([[[1]], [[]]], list[list[list[int]]]),
    ],
)
def test_what_is_empty_has_the_type_of_what_stands_beside_it(value: Any, hint: Any) -> None:
    assert natural_schema(value) is schema_of(hint)
    assert back(value) == value


def test_schemas_are_shown_as_hints() -> None:
    for hint, shown in (
        (Uint, "Uint"),
        (Args | None, "Args | None"),
        (dict[str, list[tuple[bytes, bytes]]], "dict[str, list[tuple[bytes, bytes]]]"),
        (tuple[complex, ...], "tuple[complex, ...]"),
        (list[Any], "list[Any]"),
    ):
        assert schema_of(hint).shown == shown


def test_a_namespace_is_a_struct_without_a_name() -> None:
    value = SimpleNamespace(Num1=1, Num2=2, Inner=SimpleNamespace(A=[True]), No=None)
    told = {"Num1": 1, "Num2": 2, "Inner": {"A": [True]}}
    with pytest.raises(GobError, match="gob has no type for a NoneType"):
        back(value)
    del value.No
    assert back(value) == told
    assert back(value, None, Args) == Args(1, 2)
    assert natural_schema(value) is natural_schema(value)
    record = record_schema("", [("Num1", schema_of(int))])
    assert back(SimpleNamespace(Num1=4), record) == {"Num1": 4}


@pytest.mark.parametrize(
    ("value", "hint", "named"),
    [
        ("1", int, "'1' is no int"),
        (1, str, "1 is no str"),
        (1, bool, "1 is no bool"),
        ("1", float, "'1' is no float"),
        pytest.param(10**400, float, "0+ is no float", id="large"),
        (1.0, complex, "1.0 is no complex"),
        ("x", bytes, r"'x' is no bytes"),
        ("x", Uint, "'x' is no Uint"),
        (-1, Uint, "-1 is no unsigned number of 64 bits"),
        (2**64, Uint, "is no unsigned number of 64 bits"),
        pytest.param(10**5000, int, "a long int is no signed number of 64 bits", id="long"),
        pytest.param(10**5000, float, "a long int is no float", id="too long"),
        (2**63, int, "is no signed number of 64 bits"),
        ("\ud800", str, "string cannot be written as UTF-8"),
        ("ab", list[str], r"'ab' is no list\[str\]"),
        ([1, 2], tuple[int, int, int], r"2 elements in a tuple\[int, int, int\]"),
        ([1], dict[str, int], r"\[1\] is no dict\[str, int\]"),
        ({"Num1": 1}, Args, "is no Args"),
        (Args(1, 2), record_schema("", [("Num1", schema_of(int))]), "is no SimpleNamespace"),
        (Args("x", 2), Args, "Args.Num1: 'x' is no int"),  # type: ignore[arg-type]
        (None, int | None, "None has no type of its own: an int is wanted"),
        ([None], list[int | None], "None in a list or a map of int"),
        ([Args(1, 2)], list[Any], "Args in an interface value needs the name"),
        ([SimpleNamespace()], list[Any], "a struct in an interface value needs the name"),
        ([{"a": 1}], list[Any], r"an interface value cannot hold a dict\[str, int\]"),
        ([[[1]]], list[Any], r"an interface value cannot hold a list\[list\[int\]\]"),
        ([object()], list[Any], "gob has no type for an object"),
        (object(), None, "gob has no type for an object"),
    ],
)
def test_values_that_are_not_what_they_should_be_are_refused(
    value: Any, hint: Any, named: str
) -> None:
    with pytest.raises(GobError, match=named):
        back(value, hint)


def test_nothing_is_sent_without_an_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(GobError, match="more than 100 deep"):
        GobWriter().message(endless)
    node = Node(1)
    node.Next = node
    with pytest.raises(GobError, match="more than 100 deep"):
        GobWriter().message(node)
    nested: Any = Named(1)
    for _ in range(102):
        nested = [nested]
    with pytest.raises(GobError, match="more than 100 deep|cannot hold"):
        GobWriter().message(nested, list[Any])


def test_a_refused_value_defines_nothing() -> None:
    writer = GobWriter()
    with pytest.raises(GobError):
        writer.message(Args("x", 2))  # type: ignore[arg-type]
    [raw] = values_of(writer.message(Args(1, 2)))
    assert raw.decode(Args) == Args(1, 2)


@pytest.mark.parametrize(
    ("hint", "named"),
    [
        (set[int], r"gob has no type for set\[int\]"),
        (list, "gob has no type for list without its elements' type"),
        (int | str, "a union is T | None"),
        (int | str | None, "a union is T | None"),
        (tuple[int, str], "gob has no type for tuple"),
        (tuple[()], "gob has no type for tuple"),
        (None, "gob has no type for None"),
        (memoryview, "gob has no type for memoryview"),
        ("int", "gob has no type for 'int'"),
        (make_dataclass("Loop", [("Loop", "Loop")]), "Loop"),
        (make_dataclass("Odd", [("Field", list[set[int]])]), r"Odd.Field: gob has no type for set"),
        (make_dataclass("Missing", [("Field", "Nowhere")]), "Missing: a type hint cannot be read"),
    ],
)
def test_hints_that_gob_has_no_type_for_are_refused(hint: Any, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        schema_of(hint)


@dataclass
class Endless:
    Self: Endless


@dataclass
class EndlessPair:
    Pair: tuple[EndlessPair, EndlessPair]


@pytest.mark.parametrize("hint", [Endless, EndlessPair])
def test_a_type_without_an_end_is_refused(hint: type) -> None:
    with pytest.raises(UsageError, match="holds itself: write"):
        schema_of(hint)


def test_a_process_defines_only_so_many_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TYPES_MAX", 0)
    with pytest.raises(UsageError, match="has defined 0 gob types"):
        schema_of(list[list[list[list[bool]]]])


def test_a_dataclass_that_refuses_its_fields_is_named() -> None:
    @dataclass
    class Picky:
        Num1: int

        def __post_init__(self) -> None:
            if self.Num1 < 0:
                raise ValueError("no debts")

    with pytest.raises(GobError, match="Picky refuses this: no debts"):
        back(Args(-1, 0), Args, Picky)


def test_types_that_hold_each_other_are_made_once() -> None:
    assert schema_of(Node) is schema_of(Node)
    assert schema_of(Node | None).type_id == schema_of(Node).type_id
    assert schema_of(Node | None).is_struct
    assert not schema_of(int | None).is_struct
    assert schema_of(schema_of(int)) is schema_of(int)
