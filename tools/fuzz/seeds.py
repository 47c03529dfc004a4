"""What valid peers send, per wire: where the fuzzer begins. A new wire is one more function."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from libevrpc.core.mprpc import encode_request as encode_mprpc
from libevrpc.core.objects import encode_arguments
from libevrpc.core.prpc_encode import encode_request as encode_prpc
from libevrpc.core.tinyrpc import ClientStream, Dialect, Option
from libevrpc.core.tinyrpc_codecs import CODECS, GOB

__all__ = ["BODY", "SEEDS"]

SERVICE = "echo.EchoService"
BODY = b"\x0a\x05hello"
"""An EchoRequest."""
_JSON = b'{"request": "hello"}'
_ADD = {"numbers": 2}
_NESTED = SimpleNamespace(
    Num1=-1,
    Names=["a", ""],
    Shares={"x": 0.5},
    Raw=b"\0\xff",
    Inner=SimpleNamespace(Flag=True, Deep=[[1], [2]]),
    Mixed=[1, "a", None, [2]],
)
"""What gob has types for."""


def _prpc() -> list[bytes]:
    calls: list[dict[str, Any]] = [
        {},
        {"attachment": b"raw" * 9, "log_id": 7},
        {"user_fields": {"key": "value", "evrpc-hello": "version=1;client_timeout_ms=30000"}},
        {"user_fields": {"evrpc-oneway": "1"}},
        {"compress_type": 2},
        {"content_type": 2},
    ]
    echoes = [
        encode_prpc(SERVICE, "Echo", number, BODY, timeout_ms=500, **more)
        for number, more in enumerate(calls)
    ]
    for kind in (1, 1001):
        body = encode_arguments((1, 2.5), {"scale": 3}, kind)
        echoes.append(encode_prpc("Foo", "add", 9, body, timeout_ms=500, content_type=kind))
    for method in ("Ping", "Cancel", "Describe"):
        echoes.append(encode_prpc("evrpc.Internal", method, 4, b"", timeout_ms=500))
    return [*echoes, b"STRM\0\0\0\x08\0\0\0\0\0\0\0\0"]


def _mprpc() -> list[bytes]:
    return [
        encode_mprpc("EchoService", "Echo", BODY),
        encode_mprpc("EchoService", "Other", BODY),
        encode_mprpc("EchoService", "Echo", b""),
    ]


def _mprpc_be() -> list[bytes]:
    return [encode_mprpc("EchoService", "Echo", BODY, "big")]


def _http() -> list[bytes]:
    post = b"POST /echo.EchoService/Echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    chunks = b"5\r\n" + _JSON[:5] + b"\r\n%x;x=y\r\n" % (len(_JSON) - 5) + _JSON[5:] + b"\r\n0\r\n"
    proto = post.replace(b"application/json", b"application/x-protobuf")
    return [
        post + b"Content-Length: %d\r\n\r\n" % len(_JSON) + _JSON,
        post + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"X-Trailer: 1\r\n\r\n",
        proto + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        post + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(_JSON) + _JSON,
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /debug/services HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /Foo/add HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"grpc-timeout: 100m\r\nContent-Length: 5\r\n\r\n[1,2]",
        b"CONNECT /_tinyrpc_ HTTP/1.0\n\n" + _tiny("tinyrpc", GOB),
    ]


def _tiny(dialect: Dialect, codec: str) -> bytes:
    option = Option(codec, handle_timeout_ns=500_000_000)
    stream = ClientStream(dialect, option, 1 << 20)
    said = stream.hello()
    if not stream.ready:
        stream.feed(option.encode())  # as if the server had answered
    for seq, (method, argument) in enumerate(
        (
            ("Foo.add", 3),
            ("Foo.Sum", _ADD),
            ("Foo.none", "text"),
            ("Nobody.Echo", [1, 2]),
            ("Foo.Sum", _NESTED),
            ("Foo.same", _NESTED),
        ),
        1,
    ):
        said += stream.request(method, seq, stream.encode_body(argument))
    return said


def _tinyrpc() -> list[bytes]:
    dialects: tuple[Dialect, ...] = ("tinyrpc", "geerpc")
    return [_tiny(dialect, codec) for dialect in dialects for codec in CODECS]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "prpc": _prpc,
    "mprpc": _mprpc,
    "mprpc-be": _mprpc_be,
    "http": _http,
    "tinyrpc": _tinyrpc,
}
"""Wire -> streams of its clients, each as the beginning of a connection."""
