"""What a server answers over HTTP beside its methods: a table of pages by path.

A page is a function from request to reply that runs on the loop thread and must be quick. What
may take its time, or answers later, is a method of a service, and its page says how a request
becomes the method's arguments and its result a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libevrpc.core.wires import WireReader
from libevrpc.errors import UsageError

if TYPE_CHECKING:  # a server that speaks no HTTP does without it
    from libevrpc.core.http import HttpReply, HttpRequest

__all__ = ["MethodPage", "Page", "Pages", "Route", "Upgrade"]

PAGES_MAX: Final = 1000
"""Most paths of one server."""

Page = Callable[["HttpRequest"], "HttpReply"]
"""Answers a request; on a loop thread, quickly, and without raising."""


@dataclass(frozen=True, slots=True)
class MethodPage:
    """A page that a method of this server answers.

    Attributes:
        service, method: as added to the server; a plain object's.
        arguments: makes the method's positional arguments of a request; raises RpcError.
        reply: makes the reply of the request and what the method returned.
    """

    service: str
    method: str
    arguments: Callable[[HttpRequest], list[Any]]
    reply: Callable[[HttpRequest, Any], HttpReply]


@dataclass(frozen=True, slots=True)
class Route:
    """What stands at one path.

    Attributes:
        answers: by HTTP method; GET answers HEAD too.
        public: shown without a token, where the server wants one.
    """

    answers: Mapping[str, Page | MethodPage]
    public: bool


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A wire that begins with CONNECT on a path.

    Attributes:
        greeting: the bytes that answer CONNECT, status line included.
        open: makes the reader of what follows, to the end of the connection, from the token
            that the request showed (b"": none).
    """

    greeting: bytes
    open: Callable[[bytes], WireReader]


class Pages:
    """The pages of one server. Methods: any thread; the tables are replaced, never changed.

    Attributes:
        routes: by path.
        upgrades: by path.
        stopping: tells whether new calls are refused; None where the server speaks no HTTP.
    """

    __slots__ = ("routes", "stopping", "upgrades")

    def __init__(self) -> None:
        self.stopping: Callable[[], bool] | None = None
        self.routes: Mapping[str, Route] = {}
        self.upgrades: Mapping[str, Upgrade] = {}

    def add(
        self,
        path: str,
        answers: Page | MethodPage | Mapping[str, Page | MethodPage],
        *,
        public: bool = False,
    ) -> None:
        """Answer at `path`.

        Args:
            path: begins with a slash; without query, percent signs decoded.
            answers: of GET, or by HTTP method.
            public: also without a token.

        Raises:
            UsageError: the path is no path, is taken, or there are too many.
        """
        self._check(path)
        by_method = answers if isinstance(answers, Mapping) else {"GET": answers}
        self.routes = {**self.routes, path: Route(dict(by_method), public)}

    def add_upgrade(self, path: str, upgrade: Upgrade) -> None:
        """Let CONNECT on `path` change to another wire.

        Raises:
            UsageError: the path is no path, is taken, or there are too many.
        """
        self._check(path)
        self.upgrades = {**self.upgrades, path: upgrade}

    def remove(self, paths: Iterable[str]) -> None:
        """Answer at these paths no more."""
        gone = frozenset(paths)
        self.routes = {path: each for path, each in self.routes.items() if path not in gone}

    def _check(self, path: str) -> None:
        if not path.startswith("/") or "?" in path:
            raise UsageError(f"page {path!r}: a path begins with a slash and has no query")
        if path in self.routes or path in self.upgrades:
            raise UsageError(f"page {path!r} is there already")
        if len(self.routes) + len(self.upgrades) >= PAGES_MAX:
            raise UsageError(f"page {path!r}: {PAGES_MAX} pages are there already")
