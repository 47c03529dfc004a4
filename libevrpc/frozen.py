"""Records that cannot be changed, made quickly: for classes that every program imports.

`@dataclass(frozen=True, slots=True)` compiles six functions for a class, and for the fifty classes
that come with `RpcClient` and `RpcServer` this took a third of their import. All but `__init__`
differ by the fields' names alone, so they are written once, here. To `dataclasses` they are
dataclasses still: `fields`, `replace` and `asdict` take them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

__all__ = ["frozen"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make an immutable record with slots of a class's annotated names. Any thread.

    What the class says itself of `__eq__`, `__hash__` and `__repr__` stays; `__post_init__` is
    called as that of a dataclass is.
    """
    own = vars(cls)
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    every = fields(made)
    values = _values([each.name for each in every if each.compare])
    made.__init__ = _init(made, every)
    made.__setattr__ = _setattr
    made.__delattr__ = _delattr
    made.__getstate__ = _getstate
    made.__setstate__ = _setstate
    if "__repr__" not in own:
        made.__repr__ = _repr
    if "__eq__" not in own:
        made.__eq__ = _eq(values)
    if own.get("__hash__") is None:
        made.__hash__ = lambda self: hash(values(self))
    return made  # type: ignore[no-any-return]


def _init(cls: Any, every: tuple[Field[Any], ...]) -> Callable[..., None]:
    """Compile the constructor: it names the fields and sets each slot."""
    names: dict[str, Any] = {"_missing": MISSING}
    heads, lines = ["self"], []
    for each in every:
        name, value = each.name, each.name
        if not each.init:
            continue
        if each.default is not MISSING:
            names[f"_default_{name}"] = each.default
            heads.append(f"{name}=_default_{name}")
        elif each.default_factory is not MISSING:
            names[f"_make_{name}"] = each.default_factory
            heads.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        else:
            heads.append(name)
        names[f"_set_{name}"] = getattr(cls, name).__set__
        lines.append(f" _set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(heads)}):\n" + "\n".join(lines or [" pass"]), names)
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {each.name: each.type for each in every if each.init}
    return init


def _values(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _eq(values: Callable[[Any], Any]) -> Callable[[Any, object], Any]:
    def eq(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    return eq


def _repr(self: Any) -> str:
    told = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(told)})"


def _setattr(_: Any, name: str, __: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
