"""An unmodified TinyRPC (or gee-rpc) registry: what Go's net/http makes of its handler, bytes too.

It knows its two headers, GET and POST, and nothing else: no goodbye, no records, no waiting. What
silent servers it has forgotten shows on GET alone. It can be told to misbehave.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from typing import Any

from libevrpc.clock import monotonic_s
from libevrpc.core.httpregistry import DIALECTS

GO_HEAD = "HTTP/1.1 {}\r\n{}Date: Sat, 21 Nov 2026 13:00:00 GMT\r\nContent-Length: 0\r\n{}\r\n"


class FakeRegistry:
    """Listens from its making to `close`.

    Attributes:
        posts: the headers of every POST, as they came.
        bodies: their bodies.
        answer: answers instead, if set: raw bytes to a raw request; b"" hangs up.
    """

    def __init__(self, dialect: str = "tinyrpc", expiry_s: float = 300.0, port: int = 0) -> None:
        self.dialect = DIALECTS[dialect]
        self.expiry_s = expiry_s
        self.servers: dict[str, float] = {}
        self.posts: list[dict[str, str]] = []
        self.methods: list[str] = []
        self.bodies: list[bytes] = []
        self.answer: Callable[[bytes], bytes] | None = None
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = self.rfile.readline()
                    if not line:
                        return
                    head += line
                self.wfile.write(fake.respond(head, self.rfile))

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @property
    def target(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.dialect.path}"

    def respond(self, head: bytes, rest: Any) -> bytes:
        line, *lines = head.decode().split("\r\n")
        headers = dict(each.split(": ", 1) for each in lines if each)
        if self.answer is not None:
            return self.answer(head)
        method, path, _ = line.split(" ")
        body = rest.read(int(headers.get("Content-Length", "0")))
        self.methods.append(method)
        if path.partition("?")[0] != self.dialect.path:
            return self._said("404 Not Found")
        if method == "GET":
            now_s = monotonic_s()
            servers = list(self.servers.items())  # whole, whatever others put in or take out
            alive = sorted(each for each, s in servers if s + self.expiry_s > now_s)
            return self._said("200 OK", f"{self.dialect.servers_header}: {','.join(alive)}\r\n")
        if method != "POST":
            return self._said("405 Method Not Allowed")
        self.posts.append(headers)
        self.bodies.append(body)
        address = headers.get(self.dialect.server_header, "")
        if not address:
            return self._said("500 Internal Server Error")
        self.servers[address] = monotonic_s()
        return self._said("200 OK")

    def _said(self, status: str, header: str = "") -> bytes:
        return GO_HEAD.format(status, header, "Connection: close\r\n").encode()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
