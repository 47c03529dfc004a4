"""The private conversation between our own peers, inside user_fields.

A client says hello in the first request of a connection; a server that understands
answers with one reply frame to `NOTICE_ID`, which no call has. Foreign peers ignore both.
Only after that do the two send each other what only they know: heartbeats, cancels,
one-way marks and the notice that a server is going away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "CLIENT_HELLO",
    "GOAWAY_FIELD",
    "HELLO_FIELD",
    "IDLE",
    "INTERNAL_SERVICE",
    "NOTICE_ID",
    "ONEWAY_FIELD",
    "PING_ID",
    "Hello",
    "answer_fields",
    "is_oneway",
    "read_hello",
]

HELLO_FIELD = "evrpc-hello"
ONEWAY_FIELD = "evrpc-oneway"
GOAWAY_FIELD = "evrpc-goaway"
IDLE = "idle"
"""Why a server says goodbye to a client that it would serve on a new connection."""
INTERNAL_SERVICE = "evrpc.Internal"

NOTICE_ID = -1
"""Correlation id of a reply that answers no call but tells something."""
PING_ID = -2
"""Correlation id of heartbeats; their replies only count as traffic."""

HELLO_VERSION = 1
_CLIENT_TIMEOUT_MS_MAX = 86_400_000


@dataclass(frozen=True, slots=True)
class Hello:
    """What one side tells the other.

    Attributes:
        version: of the private conversation; a peer with another one still gets PRPC.
        client_timeout_ms: from a server: a client silent for this long is taken for
            dead, so ping three times as often. From a client: there, but without meaning;
            each server has its own.
    """

    version: int
    client_timeout_ms: int

    def field(self) -> str:
        """Spell it for user_fields."""
        return f"version={self.version};client_timeout_ms={self.client_timeout_ms}"


CLIENT_HELLO = Hello(HELLO_VERSION, 30_000)
"""What every client says."""


def read_hello(user_fields: Mapping[str, str] | None) -> Hello | None:
    """Return the hello among `user_fields`; None when there is none that makes sense.

    Unknown keys are ignored, so that later versions can add some.
    """
    text = user_fields.get(HELLO_FIELD) if user_fields else None
    if text is None:
        return None
    numbers: dict[str, int] = {}
    for part in text.split(";"):
        key, _, value = part.partition("=")
        if value.isascii() and value.isdecimal() and len(value) <= 9:
            numbers[key] = int(value)
    timeout_ms = numbers.get("client_timeout_ms", 0)
    if numbers.get("version") != HELLO_VERSION or not 0 < timeout_ms <= _CLIENT_TIMEOUT_MS_MAX:
        return None
    return Hello(HELLO_VERSION, timeout_ms)


def answer_fields(client_timeout_s: float, *, stopping: bool) -> dict[str, str]:
    """Return the user_fields of a server's answer to a hello."""
    fields = {HELLO_FIELD: Hello(HELLO_VERSION, int(client_timeout_s * 1000.0)).field()}
    if stopping:
        fields[GOAWAY_FIELD] = "stopping"
    return fields


def is_oneway(user_fields: Mapping[str, str] | None) -> bool:
    """Tell whether the sender of a request with these wants no reply."""
    return user_fields is not None and ONEWAY_FIELD in user_fields
