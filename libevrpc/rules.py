"""What a setting may be: its purpose, range and choices, as fields of a dataclass carry them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from libevrpc.errors import ConfigError

__all__ = [
    "BODY_BYTES_LEAST",
    "CENTER_SPAN_MAX_S",
    "FRAME_BYTES_MAX",
    "KIB",
    "MIB",
    "SPAN_MAX_S",
    "MisfitError",
    "Rule",
    "center_span",
    "count",
    "log_level",
    "require",
    "security",
    "setting",
    "size",
    "span",
    "token_file",
]

KIB = 1024
MIB = 1024 * KIB
FRAME_BYTES_MAX = 2**31 - 1
"""No limit on a body may be set above this: lengths travel in 32 bits."""

BODY_BYTES_LEAST = 8 * KIB
"""No body may be limited to less: beside the payload it has to hold what is said about it."""

SPAN_MAX_S = 7 * 86400.0
"""No span of time may be set above this."""

CENTER_SPAN_MAX_S = 3600.0
"""No span of a center may be set above this."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one setting is for, which values it may have; `instead` ends what is said of others."""

    about: str
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    instead: str = ""

    def complaint(self, value: object) -> str | None:
        """Say what would be right where `value` is not; None where it is."""
        if self.choices and value not in self.choices:
            return f"must be one of: {', '.join(self.choices)}"
        if isinstance(value, int | float):
            if self.at_least is not None and value < self.at_least:
                return f"must be at least {self.at_least:g}{self.instead}"
            if self.at_most is not None and value > self.at_most:
                return f"must be at most {self.at_most:g}{self.instead}"
        return None


def setting(
    default: Any,
    about: str,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    instead: str = "",
) -> Any:
    """Return the field of a setting."""
    rule = Rule(about, at_least, at_most, choices, instead)
    return dataclasses.field(default=default, metadata={"rule": rule})


def count(
    default: int, about: str, at_least: int = 1, at_most: int = 1_000_000, instead: str = ""
) -> Any:
    """Return the field of a whole number."""
    return setting(default, about, at_least, at_most, instead=instead)


def span(default: float, about: str, at_least: float = 0.001) -> Any:
    """Return the field of a span of time, in seconds."""
    return setting(default, about, at_least, SPAN_MAX_S)


def center_span(default: float, about: str, at_least: float = 0.001) -> Any:
    """Return the field of a span of a center, in seconds."""
    return setting(default, about, at_least, CENTER_SPAN_MAX_S)


def size(default: int, about: str, at_least: int = KIB) -> Any:
    """Return the field of a number of bytes."""
    return setting(default, about, at_least, FRAME_BYTES_MAX)


def security(about: str) -> Any:
    """Return the field that says whether a port may be unguarded."""
    return setting("loopback", about, choices=("loopback", "none"))


def token_file(about: str) -> Any:
    """Return the field that names the file with the token."""
    return setting("", f"file with the cluster's token, {about}; empty: none")


def log_level() -> Any:
    """Return the field of the least level that is logged."""
    levels = ("debug", "info", "warning", "error")
    return setting("info", "what goes to standard error", choices=levels)


class MisfitError(ConfigError):
    """A complaint that knows the settings it is about."""

    def __init__(self, text: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.names = names


def require(holds: bool, text: str, *names: str) -> None:
    """Raise MisfitError with `text`, about the settings `names`, unless `holds`."""
    if not holds:
        raise MisfitError(text, names)
