"""What HTTP requests and answers are to the rest of the library; `http1.py` makes them of bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "HttpAnswer",
    "HttpFault",
    "HttpHead",
    "HttpLimits",
    "HttpReply",
    "HttpRequest",
]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Longest parts of one message, in bytes.

    Attributes:
        head_bytes_max: request line and headers.
        body_bytes_max: the body without its chunks' heads.
    """

    head_bytes_max: int = 64 * 1024
    body_bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpHead:
    """A request without its body. Immutable.

    Attributes:
        method: in capitals, as sent.
        path: percent signs decoded, without the query; ``*`` stays as it is.
        query: what follows the question mark, as sent.
        version: ``1.0`` or ``1.1``.
        headers: by lower-case name; repeated ones joined by a comma.
        body_follows: a body was announced, possibly an empty one.
        waits: the client sends its body only after a word from us (100 Continue).
    """

    method: str
    path: str
    query: str
    version: str
    headers: dict[str, str]
    body_follows: bool
    waits: bool


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request: its head and its body."""

    head: HttpHead
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpFault:
    """A request that is not read any further: answer with `status`, then close."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a request is answered with.

    Attributes:
        status: 200..599.
        body: whole; a HEAD request gets its length alone.
        headers: beside Content-Length and Connection, which are not the page's business.

    Raises:
        ValueError: it cannot be sent: another status, a body that is no bytes, a header that
            is no text.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        body: Any = self.body  # pages are not typed everywhere
        texts = all(isinstance(each, str) for header in self.headers for each in header)
        if not (200 <= self.status <= 599 and isinstance(body, bytes) and texts):
            raise ValueError(f"no HTTP reply: status {self.status!r}, headers {self.headers!r}")

    @staticmethod
    def text(status: int, text: str, *headers: tuple[str, str]) -> HttpReply:
        """Return a plain text."""
        kind = ("Content-Type", "text/plain; charset=utf-8")
        return HttpReply(status, text.encode(errors="replace"), (kind, *headers))

    @staticmethod
    def json(status: int, value: Any, *headers: tuple[str, str]) -> HttpReply:
        """Return a value as JSON and a line end, since people read it too."""
        import json  # which pages of JSON alone need

        body = json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"
        kind = ("Content-Type", "application/json")
        return HttpReply(status, body.encode(errors="replace"), (kind, *headers))


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server said: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
