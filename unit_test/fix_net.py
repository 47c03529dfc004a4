"""Ports that are free, socket pairs, and byte pipes in memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from compare.node import free_ports

__all__ = ["MemoryPipe", "free_port", "free_ports", "socket_pair"]


def free_port(host: str = "127.0.0.1") -> int:
    """Return one TCP port that nobody listened on a moment ago.

    For programs that must be told their port; whoever can listen on port 0 should.
    """
    return free_ports(1, host)[0]


@pytest.fixture
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give two connected non-blocking sockets, closed after the test."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


class MemoryPipe:
    """One direction of a connection, without a kernel: bytes in, the same bytes out.

    `capacity_bytes` bounds what is under way, as a socket buffer does; `cut_bytes` bounds
    what one `receive` returns, so that a test sees every frame in pieces.
    """

    def __init__(self, capacity_bytes: int = 65536, cut_bytes: int = 65536) -> None:
        self.capacity_bytes = capacity_bytes
        self.cut_bytes = cut_bytes
        self.closed = False
        self._under_way = bytearray()

    def send(self, data: bytes) -> int:
        """Take as much of `data` as fits; return how many bytes that was.

        Raises:
            BrokenPipeError: the pipe is closed.
        """
        if self.closed:
            raise BrokenPipeError("the pipe is closed")
        taken = data[: self.capacity_bytes - len(self._under_way)]
        self._under_way += taken
        return len(taken)

    def receive(self) -> bytes:
        """Return what has arrived, at most `cut_bytes`; b"" once closed and drained.

        Raises:
            BlockingIOError: nothing has arrived yet.
        """
        if not self._under_way and not self.closed:
            raise BlockingIOError("nothing has arrived")
        arrived = bytes(self._under_way[: self.cut_bytes])
        del self._under_way[: self.cut_bytes]
        return arrived

    def close(self) -> None:
        """Let the reader drain what is under way, then see the end."""
        self.closed = True
