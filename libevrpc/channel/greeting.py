"""How a connection of TinyRPC or gee-rpc begins, as far as the client speaks: CONNECT, option,
the awaited answer. Blocking, on the thread that dialled.

gee-rpc answers nothing, and its reader of the option takes along whatever has arrived behind it:
the first request would be lost with it, in most runs. No pause on our side can tell whether the
server has read. But Go's reader of JSON asks for 512 bytes first, so an option that is filled up
with blanks to exactly that length leaves it nothing more to take, however the bytes arrive.
"""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass

from libevrpc.channel.call import CallFailure
from libevrpc.core.tinyrpc import DIALECTS, ClientStream, Dialect, go_duration
from libevrpc.errors import Errno, ProtocolError

__all__ = ["Greeting"]

_HEAD_BYTES_MAX = 8192
"""Longest answer to CONNECT."""
_READ_BYTES = 4096


class _GreetingError(Exception):
    """The peer did not answer as it should; the text says how."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What is said before the first request. Immutable, any thread.

    Attributes:
        dialect: whose server is expected.
        http: begin with CONNECT.
        timeout_s: for all of it, in seconds.
    """

    dialect: Dialect
    http: bool
    timeout_s: float

    def timed_out(self, peer: str) -> CallFailure:
        """Return the failure of a dial, or of this, that took too long."""
        text = f"{peer}: rpc client: connect timeout: expect within {self._patience()}"
        return CallFailure(errno.ETIMEDOUT, text, sent=False)

    def say(self, sock: socket.socket, stream: ClientStream, peer: str) -> CallFailure | None:
        """Make `stream` ready for requests over `sock`; blocks for `timeout_s` at most.

        Returns why it is not; then the socket is of no use any more.
        """
        until_s = time.monotonic() + self.timeout_s
        try:
            if self.http:
                self._connect(sock, stream, until_s)
            _send(sock, stream.hello(), until_s)
            while not stream.ready:
                stream.feed(self._answer(sock, until_s))
            sock.setblocking(False)
        except TimeoutError:
            return self.timed_out(peer)
        except (_GreetingError, ProtocolError) as exc:
            return CallFailure(Errno.FAILED_SOCKET, f"{peer}: {exc}", sent=False)
        except OSError as exc:
            text = f"{peer}: cannot greet: {exc.strerror or exc}"
            return CallFailure(exc.errno or Errno.FAILED_SOCKET, text, sent=False)
        return None

    def _answer(self, sock: socket.socket, until_s: float) -> bytes:
        data = _receive(sock, until_s)
        if not data:
            raise _GreetingError(
                "closed the connection instead of answering the option: no TinyRPC server (gee-rpc"
                " servers want wire = geerpc), or one that does not know the codec"
            )
        return data

    def _connect(self, sock: socket.socket, stream: ClientStream, until_s: float) -> None:
        """Ask an HTTP server for the connection."""
        dialect = DIALECTS[self.dialect]
        _send(sock, f"CONNECT {dialect.connect_path} HTTP/1.0\n\n".encode(), until_s)
        head = b""
        while (end := _head_end(head)) is None:
            if len(head) > _HEAD_BYTES_MAX:
                raise _GreetingError(f"answered CONNECT with over {_HEAD_BYTES_MAX} bytes")
            data = _receive(sock, until_s)
            if not data:
                raise _GreetingError("closed the connection instead of answering CONNECT")
            head += data
        version, _, status = head.split(b"\n", 1)[0].strip().partition(b" ")
        if not version.startswith(b"HTTP/1.") or status.split(b" ")[0] != b"200":
            told = head.split(b"\n", 1)[0].strip().decode("latin-1")[:100]
            raise _GreetingError(f"answered CONNECT {dialect.connect_path} with {told!r}")
        if head[end:]:
            stream.feed(head[end:])

    def _patience(self) -> str:
        return go_duration(round(self.timeout_s * 1e9))


def _head_end(head: bytes) -> int | None:
    """Return where what follows an HTTP answer begins; None: it has not come."""
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := head.find(mark)) >= 0]
    return min(ends, default=None)


def _send(sock: socket.socket, data: bytes, until_s: float) -> None:
    sock.settimeout(_left(until_s))
    sock.sendall(data)


def _receive(sock: socket.socket, until_s: float) -> bytes:
    sock.settimeout(_left(until_s))
    return sock.recv(_READ_BYTES)


def _left(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0.0:
        raise TimeoutError
    return left_s
