"""Pages beside calls, and the way to other wires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from libevrpc import UsageError
from libevrpc.core.http import HttpReply, HttpRequest
from libevrpc.core.prpc_events import Event, Say
from libevrpc.core.wires import BodyWriter, GuestRequest, Out
from libevrpc.errors import RpcError
from libevrpc.server.pages import PAGES_MAX, MethodPage, Pages, Upgrade
from unit_test.fix_rpc import Serving, body
from unit_test.server.http.http_peer import ECHO_PATH, HttpPeer, error_of

pytestmark = pytest.mark.live

Serve = Callable[..., Serving]
Peer = Callable[[Serving], HttpPeer]


def test_health_and_its_head(serve: Serve, peer: Peer) -> None:
    http = peer(serve())
    assert http.get("/health").body == b"ok"
    answer = http.get("/health", method="HEAD")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "2")
    answer = http.get("/health", method="OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    answer = http.get("/health", method="DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    answer = http.get(ECHO_PATH)
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    answer = http.get(ECHO_PATH, method="OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, "OPTIONS, POST")
    assert http.get("/no/page").status == 404
    assert http.get("/nothing").status == 404


@pytest.mark.parametrize("path", ["/debug/services", "/debug/tinyrpc", "/debug/geerpc"])
def test_services_and_calls_are_shown(serve: Serve, peer: Peer, path: str) -> None:
    serving = serve()
    http = peer(serving)
    for text in "abc":
        http.echo(text)
    raw = serving.raw()
    raw.call("echo.EchoService.Echo", body("by prpc"))
    raw.reply()
    answer = http.get(path)
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.body.decode().splitlines()
    assert lines[0] == "2 services, 4 calls, 0 in flight, 2 connections"
    assert lines[1:3] == ["", "Foo"]
    assert "  Sum(*numbers: float, scale: float = 1) -> float  0" in lines
    assert "  Echo(echo.EchoRequest) -> echo.EchoResponse  4" in lines


def test_inline_calls_are_counted_too(serve: Serve, peer: Peer) -> None:
    serving = serve(inline=True)
    raw = serving.raw()
    raw.call("echo.EchoService.Echo", body("inline"))
    raw.reply()
    http = peer(serving)
    http.echo("inline")
    assert b"EchoResponse  2\n" in http.get("/debug/services").body


@pytest.mark.parametrize(
    ("path", "greeting"),
    [
        ("/_tinyrpc_", b"HTTP/1.0 200 Connected to RPC\n\n"),
        ("/_geeprc_", b"HTTP/1.0 200 Connected to Gee RPC\n\n"),  # sic: prc, its registry is rpc
    ],
)
def test_the_originals_way_to_their_wire(
    serve: Serve, peer: Peer, path: str, greeting: bytes
) -> None:
    serving = serve()
    http = peer(serving)
    http.send(f"CONNECT {path} HTTP/1.0\n\n".encode())
    assert http.sock.recv(100) == greeting
    other = peer(serving)
    other.send(f"GET {path} HTTP/1.0\n\n".encode())
    said = other.to_end()
    assert said.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert said.endswith(b"\r\n\r\n405 must CONNECT\n")
    other = peer(serving)
    other.send(b"CONNECT /elsewhere HTTP/1.0\n\n")
    assert other.to_end().startswith(b"HTTP/1.1 404 Not Found\r\n")


class Shop:
    """Answers a page from its method."""

    def buy(self, what: str, count: int) -> str:
        return f"{count} {what}"


def _bought(request: HttpRequest, result: Any) -> HttpReply:
    return HttpReply.text(201, result, ("X-Path", request.head.path))


def test_pages_may_be_added_and_removed_while_it_serves(serve: Serve, peer: Peer) -> None:
    serving = serve()
    http = peer(serving)
    pages = serving.server.pages
    assert http.get("/hello").status == 404
    pages.add("/hello", lambda request: HttpReply.text(200, f"hello {request.head.query}"))
    pages.add("/broken", lambda request: HttpReply.text(200, 7))  # type: ignore[arg-type]
    pages.add("/silent", lambda request: None)  # type: ignore[arg-type, return-value]
    pages.add("/odd", lambda request: HttpReply(1000))
    assert http.get("/hello?you").body == b"hello you"
    for path in ("/broken", "/silent", "/odd"):
        answer = http.get(path)
        assert (answer.status, error_of(answer)["errno"]) == (500, 2001)
    pages.remove(["/hello"])
    assert http.get("/hello").status == 404


def test_a_method_may_answer_a_page(serve: Serve, peer: Peer) -> None:
    serving = serve()
    serving.server.add_object(Shop())

    def arguments(request: HttpRequest) -> list[Any]:
        if not request.body:
            raise RpcError.from_errno(1003, "what?")
        return [request.body.decode(), 2]

    serving.server.pages.add("/shop", {"POST": MethodPage("Shop", "buy", arguments, _bought)})
    http = peer(serving)
    answer = http.ask("/shop", "tea", "")
    assert (answer.status, answer.body, answer.headers["x-path"]) == (201, b"2 tea", "/shop")
    assert http.ask("/shop", "", "").status == 400


@pytest.mark.parametrize("path", ["health", "/a?b", "/health", "/taken"])
def test_a_path_must_be_one_and_free(path: str) -> None:
    pages = Pages()
    pages.add("/health", lambda request: HttpReply(200))
    pages.add_upgrade("/taken", Upgrade(b"", lambda token: Shout()))
    with pytest.raises(UsageError, match="page"):
        pages.add(path, lambda request: HttpReply(200))


def test_pages_are_bounded() -> None:
    pages = Pages()
    for number in range(PAGES_MAX):
        pages.add(f"/{number}", lambda request: HttpReply(200))
    with pytest.raises(UsageError, match="1000 pages"):
        pages.add_upgrade("/more", Upgrade(b"", lambda token: Shout()))


class Shout(BodyWriter):
    """A wire of one byte a message: says it louder, `?` asks a method, one call at a time."""

    def __init__(self, token: bytes = b"") -> None:
        self.token = token
        self.waiting: list[bytes] = []
        self.owed = False
        self.partial = False
        self.buffered_bytes = 0

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self.waiting))

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        events: list[Event] = []
        while data:
            if self.owed:
                self.waiting.append(data)
                break
            letter, data = data[:1], data[1:]
            if letter == b"?":
                self.owed = True
                events.append(
                    GuestRequest(self, "Foo", "Sum", b"[20,22]", content_type=1, token=self.token)
                )
            else:
                events.append(Say(letter.upper()))
        return events, None

    def answered(self) -> tuple[list[Event], bytes | None]:
        self.owed = False
        data, self.waiting = b"".join(self.waiting), []
        return self.receive(data)

    def reply(self, request: GuestRequest, encoded: object) -> Out:
        assert isinstance(encoded, bytes)
        return Out(encoded)

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        return Out(f"<{error.errno}>".encode())


def test_connect_leads_to_another_wire(serve: Serve, peer: Peer) -> None:
    serving = serve()
    greeting = b"HTTP/1.0 200 Connected to RPC\n\n"
    serving.server.pages.add_upgrade("/_shout_", Upgrade(greeting, Shout))
    http = peer(serving)
    http.echo("before")
    http.send(b"CONNECT /_shout_ HTTP/1.1\r\nHost: a\r\n\r\na?bc?")
    wanted = greeting + b"A42BC42"
    found = b""
    while len(found) < len(wanted):
        found += http.sock.recv(100)
    http.send(b"G?ET")
    while len(found) < len(wanted) + 5:
        found += http.sock.recv(100)
    assert found == wanted + b"G42ET"
    other = peer(serving)
    answer = other.get("/_shout_")
    assert (answer.status, answer.body) == (405, b"405 must CONNECT\n")
    assert answer.headers["allow"] == "CONNECT"
    assert other.get("/elsewhere", method="CONNECT").status == 404
