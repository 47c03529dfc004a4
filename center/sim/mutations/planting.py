"""How a bug is planted: one attribute of production code is replaced while it is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["MUTATIONS", "Mutation", "applied", "planted"]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One thing taken away.

    Attributes:
        name: short.
        what: the effect, in one line.
        target: class or module.
        attribute: of the target.
        instead: made from what is there.
    """

    name: str
    what: str
    target: Any
    attribute: str
    instead: Callable[[Any], Any]


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """Play with `mutation` in this process."""
    before = mutation.target.__dict__[mutation.attribute]
    setattr(mutation.target, mutation.attribute, mutation.instead(before))
    try:
        yield
    finally:
        setattr(mutation.target, mutation.attribute, before)


MUTATIONS: list[Mutation] = []
"""All of them, in the order of the protocol."""


def planted(
    what: str, target: Any, attribute: str
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Enter the decorated function as a bug; what it returns takes the place of `attribute`."""

    def enter(instead: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = instead.__name__.replace("_", " ")
        MUTATIONS.append(Mutation(name, what, target, attribute, instead))
        return instead

    return enter
