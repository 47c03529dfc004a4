"""A scenario as text: who said what to whom, when, and what came of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["Trace", "brief"]

LINES_MAX = 200_000
"""Longest trace; the oldest tenth is dropped when it is full."""


def brief(value: Any) -> str:
    """Return a value on one short line."""
    match value:
        case Enum():
            return value.name
        case float():
            return f"{value:.3f}"
        case bytes():
            return f"<{len(value)} B>"
        case tuple():
            return f"({','.join(brief(each) for each in value)})"
        case _ if is_dataclass(value):
            shown = (f"{field.name}={brief(getattr(value, field.name))}" for field in fields(value))
            return f"{type(value).__name__}({' '.join(shown)})"
        case _:
            return str(value)


class Trace:
    """Lines of text, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, now_s: float, who: str, text: str) -> None:
        """Add a line."""
        if len(self.lines) >= LINES_MAX:
            del self.lines[: LINES_MAX // 10]
        self.lines.append(f"{now_s:9.4f}  {who:<12} {text}")
