"""A server with every kind of handler, clients of it, and a peer that speaks raw bytes."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from libevrpc import RpcClient, RpcServer, ServerController
from libevrpc.core.hello import HELLO_FIELD, NOTICE_ID
from libevrpc.core.prpc import Event, PrpcDecoder, Reply, WireLimits
from libevrpc.core.prpc_encode import encode_request

WAIT_S = 10.0
"""Longest a test waits for what must happen."""


def _sample_messages() -> ModuleType:
    """Import the echo sample's messages from their file: samples are no package."""
    path = Path(__file__).resolve().parent.parent / "samples" / "echo" / "echo_pb2.py"
    spec = importlib.util.spec_from_file_location("echo_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.get("echo_pb2") or importlib.util.module_from_spec(spec)
    if "echo_pb2" not in sys.modules:
        sys.modules["echo_pb2"] = module
        spec.loader.exec_module(module)
    return module


echo_pb2: Any = _sample_messages()
ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


def wait_until(holds: Callable[[], object], within_s: float = WAIT_S) -> None:
    """Look every few milliseconds until `holds`; fail after `within_s`."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.005)):
        if holds():
            return
        pause.wait(0.005)
    pytest.fail(f"did not happen within {within_s:g} s")


class EchoHandler:
    """Echoes; some texts do more than that."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.cancelled = threading.Event()
        self.calls: list[str] = []

    def echo(self, request: Any, controller: ServerController) -> Any:
        text = request.request
        self.calls.append(text)
        if text.startswith("hold"):
            self.entered.set()
            self.release.wait(WAIT_S)
        elif text == "until cancelled":
            self.entered.set()
            if controller.wait_cancelled(WAIT_S):
                self.cancelled.set()
        elif text == "raise":
            raise ValueError("as asked")
        elif text == "exit":
            sys.exit(3)
        elif text == "unprintable":
            raise UnprintableError
        elif text == "wrong type":
            return "a string"
        elif text == "peer":
            text = controller.peer
        return echo_pb2.EchoResponse(response=text)


class UnprintableError(Exception):
    """Even its text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Foo:
    """A plain object."""

    limit = 3

    def add(self, *numbers: float, scale: float = 1) -> float:
        return sum(numbers) * scale

    Sum = add

    def who(self, controller: ServerController) -> str:
        return controller.method

    def _hidden(self) -> None:
        raise AssertionError("not served")


class Raw:
    """A peer that speaks bytes and understands replies."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), WAIT_S)
        self._decoder = PrpcDecoder("client", WireLimits())
        self._events: list[Event] = []

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def call(self, method: str, body: bytes, call_id: int = 1, **more: Any) -> None:
        service, _, name = method.rpartition(".")
        more.setdefault("timeout_ms", 5000)
        self.send(encode_request(service, name, call_id, body, **more))

    def reply(self) -> Reply:
        """Wait for the next reply that is no notice."""
        while (reply := self.word()).correlation_id == NOTICE_ID:
            pass
        return reply

    def word(self) -> Reply:
        """Wait for the next reply or notice."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, Reply):
                    return event
            data = self.sock.recv(65536)
            assert data, "the server closed the connection"
            self._events += self._decoder.receive_data(data)

    def closed(self) -> bool:
        """Wait for the server to close; whatever it says before is dropped."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        self.sock.close()


def request(text: str) -> Any:
    return echo_pb2.EchoRequest(request=text)


def body(text: str) -> bytes:
    encoded: bytes = request(text).SerializeToString()
    return encoded


class Serving:
    """A running server, its handler, and what a test opens beside it."""

    def __init__(self, inline: bool = False, listen: str = "127.0.0.1:0", **settings: Any) -> None:
        self.handler = EchoHandler()
        self.server = RpcServer(listen, **settings)
        self.server.add_service(self.handler, ECHO, inline=inline)
        self.server.add_object(Foo())
        self.server.start()
        self.address = self.server.address
        self._clients: list[RpcClient] = []
        self._raws: list[Raw] = []

    def client(self, target: str | None = None, **settings: Any) -> RpcClient:
        client = RpcClient(target or self.address, **settings)
        self._clients.append(client)
        return client

    def echo(self, **settings: Any) -> Any:
        return self.client(**settings).stub(ECHO).Echo

    def raw(self) -> Raw:
        raw = Raw(self.address)
        self._raws.append(raw)
        return raw

    def close(self) -> None:
        self.handler.release.set()
        for client in self._clients:
            client.close()
        for raw in self._raws:
            raw.close()
        self.server.stop(0.0)


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    """Give a function that starts servers; all end with the test."""
    started: list[Serving] = []

    def start(**settings: Any) -> Serving:
        started.append(Serving(**settings))
        return started[-1]

    yield start
    for serving in started:
        serving.close()


@pytest.fixture
def serving(serve: Callable[..., Serving]) -> Serving:
    """Give a server with the usual settings."""
    return serve()


def outlast_a_silent_peer(serving: Serving) -> None:
    """Let `client_timeout_s` pass: until a peer that promised heartbeats has been cut off."""
    raw = serving.raw()
    raw.call(
        "Foo.who",
        b"[]",
        content_type=1,
        user_fields={HELLO_FIELD: "version=1;client_timeout_ms=1000"},
    )
    assert raw.closed()
