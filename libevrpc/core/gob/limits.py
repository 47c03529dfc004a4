"""What a gob stream may ask for, the one error that says it asked for more, and type ids."""

from __future__ import annotations

from typing import Final

from libevrpc.core.values import VALUES_MAX
from libevrpc.errors import ProtocolError

__all__ = [
    "BOOL",
    "BYTES",
    "COMPLEX",
    "DEFINITIONS_BYTES_MAX",
    "DEFINITIONS_MAX",
    "DEPTH_MAX",
    "FIRST_USER_ID",
    "FLOAT",
    "INT",
    "INTERFACE",
    "MESSAGE_BYTES_MAX",
    "NAME_BYTES_MAX",
    "OPEN_BYTES_MAX",
    "STRING",
    "TYPES_MAX",
    "UINT",
    "VALUES_MAX",
    "GobError",
    "GobTooLongError",
]

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Longest message: a definition or a value."""
DEFINITIONS_MAX: Final = 1000
"""Types that one stream may define."""
DEFINITIONS_BYTES_MAX: Final = 1024 * 1024
"""Bytes of all definitions of one stream."""
DEPTH_MAX: Final = 100
"""Values inside values, pointers not counted."""
NAME_BYTES_MAX: Final = 1024
"""Longest name of an interface's type; Go has the same limit."""
OPEN_BYTES_MAX: Final = 4 * 1024 * 1024
"""Longest value that may hold interface values: it is gone through where the stream is read, on a
server's loop, in pieces as it arrives; about a second in all at worst."""
TYPES_MAX: Final = 10_000
"""Types that this process may define for all its streams."""

BOOL: Final = 1
INT: Final = 2
UINT: Final = 3
FLOAT: Final = 4
BYTES: Final = 5
STRING: Final = 6
COMPLEX: Final = 7
INTERFACE: Final = 8
FIRST_USER_ID: Final = 64
"""Ids below are gob's own."""


class GobError(ProtocolError):
    """These bytes are no gob, or break a limit; or a value is not what its type says."""


class GobTooLongError(GobError):
    """A message is longer than whoever reads it allows."""
