"""What a plain object's methods take and give, as their annotations say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

from libevrpc.errors import Errno, ProtocolError, RpcError, UsageError

if TYPE_CHECKING:
    from libevrpc.core.gob import Schema

__all__ = ["ObjectShape", "decoder_of", "shape_of"]


@dataclass(frozen=True, slots=True)
class ObjectShape:
    """The signature of one method; the controller's parameter does not count.

    Attributes:
        names: its positional parameters.
        single: it takes one value and nothing else.
        argument: the schema of that value, None if nothing is known of it.
        result: the schema of what it returns, None if nothing is known.
    """

    names: tuple[str, ...]
    single: bool = False
    argument: Schema | None = None
    result: Schema | None = None

    @property
    def takes_nothing(self) -> bool:
        """True for a method without parameters."""
        return not self.names and not self.single


def shape_of(function: Callable[..., Any]) -> ObjectShape:
    """Read a method's signature; hints that gob has no type for count as none.

    Raises:
        UsageError: the annotation of its only parameter names what is not there: a dict would
            come where a dataclass was meant.
    """
    parameters = [
        each for each in inspect.signature(function).parameters.values()
        if each.name != "controller"
    ]  # fmt: skip
    names = tuple(
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )
    single = len(names) == len(parameters) == 1
    argument = None
    if single:
        hint, wrong = _hint(function, names[0])
        if wrong:
            raise UsageError(
                f"parameter {names[0]}: its annotation cannot be read: {wrong}; import it where the"
                " program runs, not for a type checker alone, or leave the annotation out"
            )
        argument = _schema(hint)
    takes = names if len(names) == len(parameters) else (*names, "*")
    return ObjectShape(takes, single, argument, _schema(_hint(function, "return")[0]))


def _hint(function: Callable[..., Any], name: str) -> tuple[Any, str]:
    """Return the type hint of a parameter, or of the result, and what is wrong with it."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    try:
        annotations = getattr(function, "__annotations__", {})
        if name not in annotations:
            return None, ""
        alone = SimpleNamespace(__annotations__={name: annotations[name]})
        known = getattr(function, "__globals__", {})
        return get_type_hints(alone, known, include_extras=True)[name], ""
    except (NameError, AttributeError, TypeError, SyntaxError) as exc:
        return None, str(exc)


def _schema(hint: Any) -> Schema | None:
    if hint in (None, type(None)):
        return None
    from libevrpc.core.gob import schema_of  # who annotates nothing pays nothing

    try:
        return schema_of(hint)
    except (UsageError, TypeError):
        return None


def decoder_of(shape: ObjectShape) -> Callable[[bytes, int], tuple[list[Any], dict[str, Any]]]:
    """Return what decodes the arguments of a plain call in msgpack or JSON.

    Where the one parameter is a dataclass, a map becomes it, and so do keywords that are
    the names of its fields.
    """
    from libevrpc.core.objects import decode_arguments

    schema = shape.argument
    if schema is None or not schema.is_struct:
        return decode_arguments
    from libevrpc.core.shapes import shaped

    [name] = shape.names

    def decode(payload: bytes, content_type: int) -> tuple[list[Any], dict[str, Any]]:
        positional, keywords = decode_arguments(payload, content_type)
        if not positional and keywords:
            positional = [keywords.pop(name) if keywords.keys() == {name} else dict(keywords)]
            keywords = {}
        if len(positional) == 1 and not keywords:
            try:
                positional = [shaped(positional[0], schema)]
            except ProtocolError as exc:
                raise RpcError.from_errno(Errno.BAD_REQUEST, f"argument {name}: {exc}") from None
        return positional, keywords

    return decode
