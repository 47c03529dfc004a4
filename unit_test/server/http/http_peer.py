"""A peer that speaks raw bytes of HTTP and reads answers."""

from __future__ import annotations

import json
import socket
from typing import Any

from libevrpc.core.http import HttpAnswer, HttpLimits
from libevrpc.core.http1 import HttpAnswerReader
from unit_test.fix_rpc import WAIT_S

ECHO_PATH = "/echo.EchoService/Echo"
JSON = "Content-Type: application/json\r\n"


class HttpPeer:
    """One connection; bytes behind an answer are kept for the next one."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), WAIT_S)
        self.data = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def post(self, path: str, body: bytes | str, headers: str = JSON, method: str = "POST") -> None:
        self.send(post(path, body, headers, method))

    def answer(self, method: str = "POST") -> HttpAnswer:
        """Wait for the next answer; its length must be told."""
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, _, rest = self.data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"Content-Length" and method != "HEAD":
                length = int(value)
        while len(rest) < length:
            self._more()
            rest = self.data.partition(b"\r\n\r\n")[2]
        whole = head + b"\r\n\r\n" + rest[:length]
        self.data = rest[length:]
        answer = HttpAnswerReader(method, HttpLimits()).receive(whole)
        assert answer is not None
        return answer

    def ask(
        self, path: str, body: bytes | str = b"", headers: str = JSON, method: str = "POST"
    ) -> HttpAnswer:
        self.post(path, body, headers, method)
        return self.answer(method)

    def get(self, path: str, headers: str = "", method: str = "GET") -> HttpAnswer:
        self.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
        return self.answer(method)

    def echo(self, text: str, headers: str = JSON) -> str:
        answer = self.ask(ECHO_PATH, json.dumps({"request": text}), headers)
        assert answer.status == 200, answer
        found: str = json.loads(answer.body)["response"]
        return found

    def to_end(self) -> bytes:
        """Read until the server closes."""
        while True:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return self.data
            if not data:
                return self.data
            self.data += data

    def _more(self) -> None:
        data = self.sock.recv(65536)
        assert data, f"the server closed the connection behind {self.data!r}"
        self.data += data

    def close(self) -> None:
        self.sock.close()


def post(path: str, body: bytes | str, headers: str = JSON, method: str = "POST") -> bytes:
    """Return the bytes of a request with a body."""
    encoded = body.encode() if isinstance(body, str) else body
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len(encoded)}\r\n\r\n"
    return head.encode() + encoded


def error_of(answer: HttpAnswer) -> dict[str, Any]:
    """Return what an error's body says."""
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert set(error) >= {"code", "errno", "text"}
    return error
