"""Words of error messages."""

from __future__ import annotations

__all__ = ["with_article"]


def with_article(name: str) -> str:
    """Return a type's name behind "a" or "an", as it is spoken. Any thread.

    A U counts as in "unit": types begin with words such as "user" or "uint".
    """
    return f"an {name}" if name[:1] in tuple("aeioAEIO") else f"a {name}"
