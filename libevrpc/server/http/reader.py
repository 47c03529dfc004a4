"""HTTP on one connection of a server: one request at a time, answered in order."""

from __future__ import annotations

import logging
from typing import Any, Final

from libevrpc.core.http import HttpFault, HttpHead, HttpLimits, HttpReply, HttpRequest
from libevrpc.core.http1 import HttpConnection, probe_http
from libevrpc.core.httpcall import bearer_of, metadata_of
from libevrpc.core.prpc_events import Event
from libevrpc.core.wires import GuestRequest, Say, TurnReader, Wire, WireReader
from libevrpc.errors import Errno, RpcError
from libevrpc.server.guests import GuestContext
from libevrpc.server.http.site import HttpCall, HttpSite, error_reply, refusal
from libevrpc.server.http.writer import HttpWriter
from libevrpc.server.pages import Page, Upgrade

__all__ = ["HttpReader", "http_wire"]

log = logging.getLogger(__name__)

WAIT_BYTES_MAX: Final = 64 * 1024
"""A refused body up to this length is read to its end, so that the connection can go on."""


def http_wire(context: GuestContext) -> Wire:
    """Make the wire of one server.

    Raises:
        ImportError: h11 is not installed.
    """
    site = HttpSite(context)
    limits = HttpLimits(context.limits.header_bytes_max, context.limits.body_bytes_max)
    inflated_bytes_max = context.limits.inflated_bytes_max
    return Wire("http", False, probe_http, lambda: HttpReader(site, limits, inflated_bytes_max))


class HttpReader:
    """Reads requests of one connection; a `TurnReader`. Its loop's thread.

    After CONNECT to another wire it passes everything on to that wire's reader.
    """

    __slots__ = ("_connection", "_held", "_owed", "_site", "_target", "_upgraded", "_writer")

    def __init__(self, site: HttpSite, limits: HttpLimits, inflated_bytes_max: int) -> None:
        self._site = site
        self._connection = HttpConnection(limits)
        self._writer = HttpWriter(self._connection, site, limits, inflated_bytes_max)
        self._target: HttpReply | Page | HttpCall | Upgrade | None = None  # of what is being read
        self._owed = False
        self._held: list[bytes] = []  # what came while an answer was owed
        self._upgraded: WireReader | None = None

    @property
    def partial(self) -> bool:
        """True in the middle of a request."""
        if self._upgraded is not None:
            return self._upgraded.partial
        return not self._connection.whole

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of the request that is not whole yet."""
        if self._upgraded is not None:
            return self._upgraded.buffered_bytes
        return self._connection.buffered_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for the answer of the last request."""
        if self._upgraded is not None:
            return self._upgraded.held_bytes if isinstance(self._upgraded, TurnReader) else 0
        if not self._owed:
            return 0
        return self._connection.buffered_bytes + sum(map(len, self._held))

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        """See `WireReader.receive`."""
        if self._upgraded is not None:
            return self._upgraded.receive(data)[0], None
        if self._connection.closing:
            return [], None
        if self._owed:
            self._held.append(data)
            return [], None
        events: list[Event] = []
        self._connection.receive(data)
        while (item := self._connection.next()) is not None:
            if isinstance(item, HttpHead):
                self._target = self._site.target(item)
                if not self._refused_early(item, events):
                    continue
            elif isinstance(item, HttpFault):
                reply = refusal(Errno.BAD_REQUEST, item.text, status=item.status)
                events.append(self._say(reply, close=True))
            elif self._take(item, events):
                break
            return events, self._rest()
        return events, None

    def answered(self) -> tuple[list[Event], bytes | None]:
        """See `TurnReader.answered`."""
        if self._upgraded is not None:
            if isinstance(self._upgraded, TurnReader):
                return self._upgraded.answered()[0], None
            return [], None
        self._owed = False
        held, self._held = b"".join(self._held), []
        rest = self._rest()
        return [], None if rest is None else rest + held

    def _rest(self) -> bytes | None:
        """Return what came behind the request that was answered; None: the end comes next."""
        return None if self._connection.closing else self._connection.rest()

    def notice(self) -> bytes:
        """Return what the wire behind an upgrade says when the server goes away."""
        words = getattr(self._upgraded, "notice", None)
        told: bytes = words() if words is not None else b""
        return told

    def farewell(self) -> bytes:
        """Return what a client is told that was too slow; nothing between requests."""
        if self._upgraded is not None or self._connection.whole:
            return b""
        text = "the request took too long to arrive"
        reply = refusal(Errno.TIMED_OUT, text, status=408)
        return self._connection.respond(reply, close=True)

    def _refused_early(self, head: HttpHead, events: list[Event]) -> bool:
        """Answer before the body where it would be read for nothing; else let it come."""
        target = self._target
        refused = target if isinstance(target, HttpReply) else None
        if isinstance(target, HttpCall):
            refused = self._site.unknown(head)
        long = int(head.headers.get("content-length", "0")) > WAIT_BYTES_MAX
        if refused is not None and (head.waits or long or "transfer-encoding" in head.headers):
            events.append(self._say(refused))
            return True
        if head.waits:
            events.append(Say(self._connection.go_on()))
        return False

    def _take(self, request: HttpRequest, events: list[Event]) -> bool:
        """Do what a whole request asks for; True: what follows it has to wait."""
        target = self._target
        assert target is not None
        if isinstance(target, HttpReply):
            events.append(self._say(target))
        elif isinstance(target, HttpCall):
            self._owed = True
            events.append(self._guest(request, target))
            return True
        elif isinstance(target, Upgrade):
            self._upgraded = target.open(bearer_of(request.head.headers) or b"")
            events.append(Say(target.greeting))
            rest = self._connection.rest()
            if rest:
                events += self._upgraded.receive(rest)[0]
            return True
        else:
            events.append(self._say(_shown(target, request)))
        return False

    def _guest(self, request: HttpRequest, call: HttpCall) -> GuestRequest:
        headers = request.head.headers
        guest = GuestRequest(
            self._writer,
            call.service,
            call.method,
            request.body,
            content_type=call.content_type,
            timeout_ms=call.timeout_ms,
            user_fields=metadata_of(headers),
            token=bearer_of(headers) or b"",
            extra=(call, request),
        )
        guest.compress_type = call.compression
        return guest

    def _say(self, reply: HttpReply, *, close: bool = False) -> Say:
        data = self._connection.respond(reply, close=close or self._site.stopping)
        return Say(data, self._connection.closing)


def _shown(page: Page, request: HttpRequest) -> HttpReply:
    """Ask a page; one that fails is the server's fault, and nobody else's."""
    try:
        reply: Any = page(request)
        if isinstance(reply, HttpReply):
            return reply
        raise TypeError(f"a page returns an HttpReply, not {type(reply).__name__}")
    except Exception as exc:
        log.exception("page failed path=%s", request.head.path)
        return error_reply(
            RpcError.from_errno(Errno.INTERNAL, f"page failed: {type(exc).__name__}")
        )
