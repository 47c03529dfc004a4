"""A server that is not ours: it speaks PRPC, and describes nothing unless told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from libevrpc.core.prpc import PrpcDecoder, Request, WireLimits
from libevrpc.core.prpc_encode import encode_error

Answer = Callable[[Request], bytes]


def knows_nothing(request: Request) -> bytes:
    text = f"Fail to find service={request.service}"
    return encode_error(request.correlation_id, 1001, text)


class ForeignPeer:
    """Answers each request with the frame that `answer` makes of it."""

    def __init__(self, answer: Answer = knows_nothing) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="foreign-peer")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            sock, _ = self._listening.accept()
            with sock, contextlib.suppress(ConnectionError):  # whoever leaves may leave at once
                decoder = PrpcDecoder("server", WireLimits())
                while data := sock.recv(65536):
                    if data == b"end":
                        return
                    for event in decoder.receive_data(data):
                        if isinstance(event, Request):
                            sock.sendall(self._answer(event))

    def __enter__(self) -> ForeignPeer:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.create_connection(self._listening.getsockname()) as sock:
            sock.sendall(b"end")
        self._thread.join()
        self._listening.close()
