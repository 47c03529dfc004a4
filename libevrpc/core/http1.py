"""HTTP/1.1 on one connection, message by message: the only file that knows h11.

A server reads with `HttpConnection`, one message at a time: what follows a request is not
looked at before the answer. A caller that speaks to an HTTP server once uses `HttpAnswerReader`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import h11

from libevrpc.core.http import (
    HttpAnswer,
    HttpFault,
    HttpHead,
    HttpLimits,
    HttpReply,
    HttpRequest,
)
from libevrpc.core.wires import PROBE_BYTES_MAX, Probe
from libevrpc.errors import ProtocolError

__all__ = ["HttpAnswerReader", "HttpConnection", "probe_http"]

METHOD_CHARS_MAX: Final = 20
"""Longer first words are no HTTP method."""
BLANK_BYTES_MAX: Final = PROBE_BYTES_MAX
"""Most bytes of empty lines before a request."""
HEADERS_MAX: Final = 256
"""Most header lines of one message."""
CHUNKS_FREE: Final = 1024
"""Chunks that may be of any length; when there are more, they are counted against their bytes."""
CHUNK_BYTES_MIN: Final = 32
"""Mean length of the chunks of a body with many of them. Else a few MiB cost seconds."""
_METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE")
)
_MESSAGE_HEADERS = frozenset({"content-length", "transfer-encoding", "host"})
"""Headers that must not differ between two readers of one message."""
_BARE = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
"""Statuses that have no body."""
_NOT_DONE = (h11.IDLE, h11.SEND_BODY, h11.MUST_CLOSE, h11.ERROR)
"""States of a client whose connection ends with the answer: it said so, or is not read further."""


def probe_http(head: bytes) -> Probe:
    """Tell whether a message begins like an HTTP request.

    That is a method that we know, or another word in capitals with a target behind it. Empty
    lines before it are allowed, as RFC 9112 asks; of more than there may be a client of HTTP is
    told.
    """
    word, space, target = head.lstrip(b"\r\n").partition(b" ")
    if len(word) > METHOD_CHARS_MAX or (word and not (word.isalpha() and word.isupper())):
        return Probe.NO
    if not space:
        full = head[:1] in b"\r\n" and len(head) >= PROBE_BYTES_MAX
        return Probe.YES if full else Probe.MORE
    if word in _METHODS:
        return Probe.YES
    if word and not target:
        return Probe.MORE
    return Probe.YES if word and target.startswith((b"/", b"*", b"h")) else Probe.NO


class HttpConnection:
    """The server's side of HTTP on one connection. One thread.

    Feed it with `receive` and ask `next` until it has nothing more to tell. After an
    `HttpRequest` or an `HttpFault`, or after an `HttpHead` that is refused at once, the one
    answer is `respond`; then `closing` tells whether the connection must end, else `rest` has
    what came behind the message.
    """

    __slots__ = (
        "_blank_bytes",
        "_body",
        "_body_bytes",
        "_chunks",
        "_fresh",
        "_head",
        "_limits",
        "_peer",
        "_whole",
        "closing",
    )

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self.closing = False
        self._begin()

    def _begin(self) -> None:
        """Expect a new message: one h11 machine for each, which bounds what it keeps."""
        self._peer = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self._limits.head_bytes_max
        )
        self._head: HttpHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._chunks = 0
        self._whole = False
        self._fresh = True
        self._blank_bytes = 0

    @property
    def whole(self) -> bool:
        """True once a request is whole, faulty or answered, until the next one is expected."""
        return self._whole

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept: of the body, and what was not looked at yet."""
        return self._body_bytes + len(self._peer.trailing_data[0])

    def receive(self, data: bytes) -> None:
        """Take what arrived (never empty, not after a whole request)."""
        assert not self._whole, "a request waits for its answer"
        if self._fresh:
            before = len(data)
            data = data.lstrip(b"\r\n")  # empty lines before a request mean nothing
            self._blank_bytes += before - len(data)
        if data:
            self._fresh = False
            self._peer.receive_data(data)

    def next(self) -> HttpHead | HttpRequest | HttpFault | None:
        """Return what was understood next; None: more bytes are needed."""
        if self._blank_bytes > BLANK_BYTES_MAX and not self._whole:
            return self._fault(400, f"more than {BLANK_BYTES_MAX} bytes of empty lines")
        while not self._whole:
            try:
                event = self._peer.next_event()
            except h11.RemoteProtocolError as exc:
                return self._fault(exc.error_status_hint, _plain(exc))
            if isinstance(event, h11.Request):
                return self._begun(event)
            if isinstance(event, h11.Data):
                if fault := self._more(event):
                    return fault
            elif isinstance(event, h11.EndOfMessage):
                assert self._head is not None
                self._whole = True
                return HttpRequest(self._head, b"".join(self._body))
            else:
                return None
        return None

    def _begun(self, event: h11.Request) -> HttpHead | HttpFault:
        version = event.http_version.decode()
        if not version.startswith("1."):
            return self._fault(505, f"HTTP/{version} is not spoken here; use HTTP/1.1")
        size = sum(len(name) + len(value) + 4 for name, value in event.headers)
        size += len(event.method) + len(event.target) + 12
        if size > self._limits.head_bytes_max or len(event.headers) > HEADERS_MAX:
            text = f"limits are {self._limits.head_bytes_max} bytes and {HEADERS_MAX} lines"
            return self._fault(431, f"request line and headers are too long: {text}")
        headers = _headers(event.headers)
        if ambiguous := _ambiguous(headers, version):
            return self._fault(400, ambiguous)
        length = int(headers.get("content-length", "0"))
        if length > self._limits.body_bytes_max:
            return self._too_long(length)
        path, query = _target(event.target.decode("ascii"), event.method)
        waits = self._peer.they_are_waiting_for_100_continue
        follows = "content-length" in headers or "transfer-encoding" in headers
        self._head = HttpHead(
            event.method.decode("ascii"), path, query, version, headers, follows, waits
        )
        return self._head

    def _more(self, event: h11.Data) -> HttpFault | None:
        self._body.append(bytes(event.data))
        self._body_bytes += len(event.data)
        self._chunks += event.chunk_start
        if self._body_bytes > self._limits.body_bytes_max:
            return self._too_long(self._body_bytes)
        if self._chunks > CHUNKS_FREE and self._body_bytes < self._chunks * CHUNK_BYTES_MIN:
            return self._fault(400, f"{self._chunks} chunks of less than {CHUNK_BYTES_MIN} bytes")
        return None

    def _too_long(self, length: int) -> HttpFault:
        limit = self._limits.body_bytes_max
        return self._fault(413, f"body of {length} bytes or more, limit {limit}")

    def _fault(self, status: int, text: str) -> HttpFault:
        self._whole = True
        self._body.clear()
        return HttpFault(status, text)

    def go_on(self) -> bytes:
        """Return the word that a client waits for before it sends its body."""
        word = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        return bytes(self._peer.send(word) or b"")

    def respond(self, reply: HttpReply, *, close: bool = False) -> bytes:
        """Return the bytes of the one answer.

        Args:
            reply: status, headers and body; what HTTP forbids in headers is left out.
            close: end the connection though it could go on.
        """
        peer = self._peer
        self._whole = True
        headers = [
            (name, value)
            for name, value in ((_token(name), _value(value)) for name, value in reply.headers)
            if name
        ]
        bare = reply.status in _BARE
        if not bare:
            headers.append((b"Content-Length", str(len(reply.body)).encode()))
        if close or peer.their_state in _NOT_DONE:
            headers.append((b"Connection", b"close"))  # the client said so, or is not read further
        response = h11.Response(
            status_code=reply.status, headers=headers, reason=_reason(reply.status)
        )
        out = bytes(peer.send(response) or b"")
        if reply.body and not bare and not (self._head and self._head.method == "HEAD"):
            out += peer.send(h11.Data(data=reply.body)) or b""
        out += peer.send(h11.EndOfMessage()) or b""
        self.closing = peer.our_state is not h11.DONE or peer.their_state is not h11.DONE
        return out

    def rest(self) -> bytes:
        """Return what came behind the message, and expect the next one. After the answer."""
        data, _ = self._peer.trailing_data
        self._begin()
        return bytes(data)


def _headers(found: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in found:
        name, value = raw_name.decode("ascii"), _decoded(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _ambiguous(headers: dict[str, str], version: str) -> str:
    """Say why two readers might disagree where this message ends; empty: they cannot."""
    if "transfer-encoding" not in headers:
        return ""
    if "content-length" in headers:
        return "both Content-Length and Transfer-Encoding: send one of them"
    return "Transfer-Encoding needs HTTP/1.1" if version == "1.0" else ""


def _target(text: str, method: bytes) -> tuple[str, str]:
    """Return path and query of a request target in any of its forms."""
    if method != b"CONNECT" and not text.startswith("/"):
        _, scheme, rest = text.partition("://")
        if scheme:  # as sent to a proxy
            text = "/" + rest.partition("/")[2]
    path, _, query = text.partition("?")
    return unquote(path, errors="replace"), query


def _plain(exc: h11.RemoteProtocolError) -> str:
    """Return h11's words without the bytes that it quotes: they may be long, or secret."""
    return str(exc).partition(": ")[0] if "b'" in str(exc) or 'b"' in str(exc) else str(exc)


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def _token(name: str) -> bytes:
    """Return a header's name, empty if it cannot be one or is ours to write."""
    fit = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    ours = name.lower() in _MESSAGE_HEADERS or name.lower() == "connection"
    return name.encode("ascii") if fit and not ours else b""


def _value(value: str) -> bytes:
    """Return a header's value in one line."""
    plain = "".join(letter if letter.isprintable() else " " for letter in value)
    return plain.strip().encode(errors="replace")


class HttpAnswerReader:
    """Reads what a server answers to one request. One thread.

    Args:
        method: of the request.
        limits: longest parts of the answer.
    """

    __slots__ = ("_answer", "_body", "_body_bytes", "_limits", "_peer")

    def __init__(self, method: str, limits: HttpLimits) -> None:
        self._limits = limits
        self._peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.head_bytes_max)
        self._peer.send(h11.Request(method=method, target="/", headers=[("Host", "-")]))
        self._peer.send(h11.EndOfMessage())
        self._answer: h11.Response | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0

    def receive(self, data: bytes) -> HttpAnswer | None:
        """Take what arrived, nothing at the end of the stream; returns the answer once whole.

        Raises:
            ProtocolError: it is no HTTP answer, cut short, or over a limit.
        """
        peer = self._peer
        try:
            peer.receive_data(data)
            while (event := peer.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._answer = event
                elif isinstance(event, h11.Data):
                    self._take(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    assert self._answer is not None
                    headers = _headers(self._answer.headers)
                    return HttpAnswer(self._answer.status_code, headers, b"".join(self._body))
        except h11.RemoteProtocolError as exc:
            if not data:
                raise ProtocolError("it hung up before its answer was whole") from None
            raise ProtocolError(f"that is no HTTP answer: {_plain(exc)}") from None
        return None

    def _take(self, piece: bytes) -> None:
        self._body.append(piece)
        self._body_bytes += len(piece)
        if self._body_bytes > self._limits.body_bytes_max:
            raise ProtocolError(f"answer of over {self._limits.body_bytes_max} bytes, the limit")
