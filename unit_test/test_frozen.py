"""`frozen` makes what `@dataclass(frozen=True, slots=True)` makes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, ClassVar

import pytest

from libevrpc.frozen import frozen


@frozen
class Point:
    """A point."""

    UNIT: ClassVar[str] = "mm"

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)
    hidden: str = field(default="secret", repr=False)
    total: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.x + self.y)


@dataclass(frozen=True, slots=True)
class Reference:
    """A point as the standard library makes it."""

    UNIT: ClassVar[str] = "mm"

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)
    hidden: str = field(default="secret", repr=False)
    total: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.x + self.y)


@frozen
class Place(Point):
    """One that inherits, with a hash of its own."""

    label: str = ""

    def __hash__(self) -> int:
        return hash(self.label)


@frozen
class Named:
    """One that spells and compares itself."""

    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name.lower() == self.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())

    def __repr__(self) -> str:
        return self.name


@frozen
class Mark:
    """One without any field."""


@frozen
class Pair:
    """One that can be hashed."""

    left: int
    right: int


def both(*positional: Any, **keywords: Any) -> tuple[Point, Reference]:
    return Point(*positional, **keywords), Reference(*positional, **keywords)


def test_it_is_what_the_standard_library_makes() -> None:
    for point, reference in (both(1), both(1, y=5, hidden="h"), both(1, 2, ["a"])):
        assert repr(point) == repr(reference).replace("Reference", "Point")
        assert dataclasses.asdict(point) == dataclasses.asdict(reference)
        assert not hasattr(point, "__dict__")
        assert dataclasses.replace(point, x=9).total == dataclasses.replace(reference, x=9).total
    assert [each.name for each in dataclasses.fields(Point)] == [
        each.name for each in dataclasses.fields(Reference)
    ]
    assert list(inspect.signature(Point).parameters) == list(
        inspect.signature(Reference).parameters
    )
    assert Point(1).names is not Point(1).names
    assert Point.__match_args__ == ("x", "y", "names", "hidden")


def test_the_fields_that_count_make_it_equal() -> None:
    point = Point(1, 2, ["a"])
    assert point == Point(1, 2, ["a"])
    assert point != Point(1, 2, ["b"])
    other: object = Reference(1, 2, ["a"])
    assert point != other
    assert point != Place(1, 2, ["a"])
    assert Mark() == Mark()
    assert hash(Mark()) == hash(Mark())
    assert hash(Pair(1, 2)) == hash(Pair(1, 2)) != hash(Pair(2, 1))
    assert {Pair(1, 2): "there"}[Pair(1, 2)] == "there"
    with pytest.raises(TypeError, match="unhashable"):
        hash(point)


def test_what_a_class_says_itself_stays() -> None:
    assert repr(Named("N")) == "N"
    assert Named("N") == Named("n")
    assert hash(Named("N")) == hash(Named("n"))
    place = Place(1, label="here")
    assert hash(place) == hash("here")
    assert repr(place) == "Place(x=1, y=2, names=[], total=3, label='here')"


def test_nothing_in_it_changes() -> None:
    point = Point(1)
    for change in ("x", "total", "stranger"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{change}'"):
            setattr(point, change, 2)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{change}'"):
            delattr(point, change)
    assert point == Point(1)


def test_it_is_copied_whole() -> None:
    place = Place(1, 5, ["a"], label="here")
    for other in (copy.copy(place), copy.deepcopy(place)):
        assert other is not place
        assert other == place
        assert other.total == 6


@pytest.mark.parametrize(
    ("positional", "keywords", "text"),
    [
        ((), {}, r"Point.__init__\(\) missing 1 required positional argument: 'x'"),
        ((1,), {"z": 1}, "unexpected keyword argument 'z'"),
        ((1,), {"total": 1}, "unexpected keyword argument 'total'"),
        ((1,), {"x": 1}, "multiple values for argument 'x'"),
    ],
)
def test_wrong_arguments_are_named(
    positional: tuple[Any, ...], keywords: dict[str, Any], text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        Point(*positional, **keywords)
