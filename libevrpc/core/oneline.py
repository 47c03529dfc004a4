"""Text of somebody else's for one line of a log."""

from __future__ import annotations

__all__ = ["one_line"]

CHARS_MAX = 1024
"""Longest text that is written whole."""


def one_line(text: str) -> str:
    r"""Return `text` so that it stays on its line and shows what it is. Any thread.

    What is not printable, such as a line end, is spelled as in source code (``\n``): nobody writes
    lines of his own into our log. What is longer than CHARS_MAX is cut.
    """
    if len(text) > CHARS_MAX:
        text = f"{text[:CHARS_MAX]}..."
    return text if text.isprintable() else repr(text)[1:-1]
