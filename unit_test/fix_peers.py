"""A listener that does with each connection what a test says, byte for byte."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

from unit_test.fix_rpc import WAIT_S

Script = Callable[[socket.socket], object]


class Peers:
    """Accepts connections and runs `script` on each, on a thread of its own.

    The socket is closed when the script returns; whatever is still open at the end is shut.
    Where the test says nothing of a host, the address is one of 127.0.0.1.

    Attributes:
        accepted: how many connections there were.
        failures: what scripts raised, except that the client hung up.
    """

    def __init__(self, script: Script, listener: socket.socket | None = None) -> None:
        self._script = script
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        name = self._listener.getsockname()
        self.address = f"unix://{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"
        self.port = 0 if isinstance(name, str) else name[1]
        self.accepted = 0
        self.failures: list[BaseException] = []
        self._open: dict[socket.socket, None] = {}
        self._closing = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(WAIT_S)
            self.accepted += 1
            self._open[sock] = None
            if self._closing:  # it may have looked before this one was there
                _shut(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            self._script(sock)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except BaseException as exc:  # noqa: BLE001 - raised again where the test ends
            self.failures.append(exc)
        finally:
            self._open.pop(sock, None)
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self.failures:
            raise self.failures[0]

    def close(self) -> None:
        """Accept no more, shut what is open, wait for the scripts."""
        self._closing = True
        _shut(self._listener)
        self._listener.close()
        for sock in list(self._open):
            _shut(sock)
        for thread in self._threads:
            thread.join(WAIT_S)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def full_queue() -> Iterator[int]:
    """Give the port of a listener that takes no more: who connects there waits."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname(), WAIT_S):
            # who has connected is queued a moment later: until then another one would be let in
            assert select.select([full], [], [], WAIT_S)[0]
            yield full.getsockname()[1]


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """Read `count` bytes; fewer where the stream ends before."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def read_to_end(sock: socket.socket) -> bytes:
    """Read until the peer hangs up."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Break the connection off, as a process does that dies with bytes unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
