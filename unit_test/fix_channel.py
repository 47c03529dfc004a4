"""A server that a test scripts, and a connection whose other end the test holds."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from libevrpc.channel.call import ClientCall
from libevrpc.channel.connection import Connection, ConnectionOptions
from libevrpc.core.prpc import PrpcDecoder, Request, WireLimits
from libevrpc.loop.eventloop import EventLoop
from unit_test.fix_rpc import WAIT_S


class Fake:
    """A server that does what the test says with each request."""

    def __init__(self, answer: Callable[[socket.socket, Request], object]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Request] = []
        self._socks: list[socket.socket] = []
        self._closing = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._socks.append(sock)
            if self._closing:  # it may have looked before this one was there
                _shut(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        decoder = PrpcDecoder("server", WireLimits())
        while True:
            try:
                data = sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            for event in decoder.receive_data(data):
                if isinstance(event, Request):
                    self.requests.append(event)
                    try:
                        self._answer(sock, event)
                    except (BrokenPipeError, ConnectionResetError):  # nobody waits any more
                        return

    def close(self) -> None:
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._socks):
            _shut(sock)
        for thread in self._threads:
            thread.join(WAIT_S)
        for sock in self._socks:
            sock.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def fake() -> Iterator[Callable[..., Fake]]:
    made: list[Fake] = []

    def build(answer: Callable[[socket.socket, Request], object]) -> Fake:
        made.append(Fake(answer))
        return made[-1]

    yield build
    for each in made:
        each.close()


LIMITS = ConnectionOptions(WireLimits(), calls_max=2, unsent_bytes_max=1000)


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    started = EventLoop("connection-test")
    started.start()
    yield started
    started.stop(WAIT_S)


class Ends:
    """A connection over a socket pair, whose other end the test holds."""

    def __init__(self, loop: EventLoop) -> None:
        self.downs: list[Connection] = []
        self.connection = Connection("peer", loop, LIMITS, self.downs.append)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.settimeout(WAIT_S)

    def call(self, timeout_s: float = WAIT_S) -> ClientCall:
        return ClientCall(self.connection.next_id(), time.monotonic() + timeout_s)

    def future(self, timeout_s: float = WAIT_S) -> tuple[ClientCall, threading.Event]:
        done = threading.Event()
        deadline_s = time.monotonic() + timeout_s
        return ClientCall(self.connection.next_id(), deadline_s, lambda call: done.set()), done

    def close(self) -> None:
        self.connection.close("end of test")
        self.far.close()


@pytest.fixture
def ends(loop: EventLoop) -> Iterator[Ends]:
    made = Ends(loop)
    yield made
    made.close()
    made.near.close()
