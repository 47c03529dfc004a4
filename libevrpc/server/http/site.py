"""What a server says to which HTTP request, as far as the head tells it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from libevrpc.core.http import HttpHead, HttpReply
from libevrpc.core.httpcall import (
    bearer_of,
    compression_of,
    content_type_of,
    error_body,
    status_of_error,
    timeout_ms_of,
)
from libevrpc.errors import Errno, RpcError
from libevrpc.server.guests import GuestContext
from libevrpc.server.http.pages import health_page, services_page
from libevrpc.server.methods import MethodEntry
from libevrpc.server.pages import MethodPage, Page, Upgrade

__all__ = ["HttpCall", "HttpSite", "error_reply", "refusal"]

DEBUG_PATHS: Final = ("/debug/services", "/debug/tinyrpc", "/debug/geerpc")
"""Ours, and where TinyRPC and gee-rpc have theirs."""
_JSON_HINT = "send Content-Type: application/json"


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A call as the head of its request describes it.

    Attributes:
        service, method: as in the path.
        content_type: of the body, and of the reply.
        compression: of the body.
        timeout_ms: 0: the caller did not say.
        page: whose request it is, if it is no plain call.
    """

    service: str
    method: str
    content_type: int = 0
    compression: int = 0
    timeout_ms: int = 0
    page: MethodPage | None = None


class HttpSite:
    """The HTTP side of one server. Loop threads; it holds nothing that changes."""

    __slots__ = ("_context",)

    def __init__(self, context: GuestContext) -> None:
        self._context = context
        pages = context.pages
        pages.stopping = context.stopping
        pages.add("/health", health_page(context.stopping), public=True)
        services = services_page(context)
        for path in DEBUG_PATHS:
            pages.add(path, services)

    @property
    def stopping(self) -> bool:
        """True once new calls are refused."""
        return self._context.stopping()

    def target(self, head: HttpHead) -> HttpReply | Page | HttpCall | Upgrade:
        """Return what a request asks for, or the reply that refuses it."""
        pages = self._context.pages
        upgrade = pages.upgrades.get(head.path)
        if upgrade is not None and head.method != "CONNECT":
            return HttpReply.text(405, "405 must CONNECT\n", ("Allow", "CONNECT"))
        if upgrade is not None or head.method == "CONNECT":
            return upgrade or HttpReply.text(404, f"no wire to change to at {head.path}\n")
        route = pages.routes.get(head.path)
        if route is None:
            return self._call(head)
        if head.method == "OPTIONS":
            return _options(route.answers)
        found = route.answers.get("GET" if head.method == "HEAD" else head.method)
        if found is None:
            return _not_allowed(head.method, route.answers)
        if not route.public and (refused := self.unknown(head)):
            return refused
        if isinstance(found, MethodPage):
            return HttpCall(found.service, found.method, page=found)
        return found

    def unknown(self, head: HttpHead) -> HttpReply | None:
        """Return the refusal of who shows no token of ours; None: it may go on."""
        token = bearer_of(head.headers)
        if self._context.token_fits(token or b""):
            return None
        text = "the token is not one of this server's" if token else "show Authorization: Bearer"
        return refusal(Errno.UNAUTHENTICATED, text)

    def _call(self, head: HttpHead) -> HttpReply | HttpCall:
        """Return the call of a path ``/pkg.Service/Method``."""
        service, _, method = head.path[1:].rpartition("/")
        if not service or not method or "/" in service:
            text = f"no page {head.path} here; calls are POST /package.Service/Method"
            return refusal(Errno.NO_SERVICE, text)
        if head.method != "POST":
            return self._other_method(head, service, method)
        call = _call_of(head, service, method)
        if isinstance(call, HttpReply):  # what is not here needs no right Content-Type either
            return self._missing(head, service, method) or call
        return call

    def _missing(self, head: HttpHead, service: str, method: str) -> HttpReply | None:
        """Return the refusal of a method that is not here; None: it is.

        What is here only those learn who show a token, where the server wants one.
        """
        if (refused := self.unknown(head)) is not None:
            return refused
        entry = self._context.methods().find(service, method)
        return None if isinstance(entry, MethodEntry) else refusal(entry.errno, entry.text)

    def _other_method(self, head: HttpHead, service: str, method: str) -> HttpReply:
        missing = self._missing(head, service, method)
        if missing is not None:
            return missing
        if head.method == "OPTIONS":
            return _options(("POST",))
        return _not_allowed(head.method, ("POST",))


def _call_of(head: HttpHead, service: str, method: str) -> HttpCall | HttpReply:
    """Return the call that a POST describes, or its refusal."""
    content_type = content_type_of(head.headers.get("content-type"))
    if content_type is None:
        told = head.headers.get("content-type", "no Content-Type")
        reply = refusal(Errno.BAD_REQUEST, f"{told}: {_JSON_HINT}", status=415)
        return _with(reply, "Accept-Post", "application/json, application/x-protobuf")
    compression = compression_of(head.headers.get("content-encoding"))
    if compression is None:
        told = head.headers["content-encoding"]
        reply = refusal(Errno.BAD_REQUEST, f"Content-Encoding {told}: send gzip", status=415)
        return _with(reply, "Accept-Encoding", "gzip, deflate")
    timeout_ms = timeout_ms_of(head.headers)
    if timeout_ms is None:
        return refusal(Errno.BAD_REQUEST, "no time-out: write X-Timeout-Ms: 1500 (1 or more)")
    return HttpCall(service, method, content_type, compression, timeout_ms)


def _options(answers: Collection[str]) -> HttpReply:
    return HttpReply(204, b"", (("Allow", _allowed(answers)),))


def _not_allowed(method: str, answers: Collection[str]) -> HttpReply:
    allowed = _allowed(answers)
    reply = refusal(Errno.BAD_REQUEST, f"{method} is not for this path: {allowed}", status=405)
    return _with(reply, "Allow", allowed)


def _allowed(answers: Collection[str]) -> str:
    heads = ("HEAD",) if "GET" in answers else ()
    return ", ".join(sorted({*answers, *heads, "OPTIONS"}))


def _with(reply: HttpReply, name: str, value: str) -> HttpReply:
    return replace(reply, headers=(*reply.headers, (name, value)))


def refusal(errno: int, text: str, *, status: int | None = None) -> HttpReply:
    """Return the reply of a request that was not let in."""
    return error_reply(RpcError.from_errno(errno, text), status=status)


def error_reply(error: RpcError, *, status: int | None = None) -> HttpReply:
    """Return an error as a reply, with the status that fits if none is given."""
    number = status_of_error(error.errno, error.code) if status is None else status
    reply = HttpReply.json(number, error_body(error.errno, error.code, error.text, error.details))
    if number == 401:
        return _with(reply, "WWW-Authenticate", "Bearer")
    return _with(reply, "Retry-After", "1") if number in (429, 503) else reply
