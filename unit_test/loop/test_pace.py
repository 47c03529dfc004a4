"""Costly bytes are read in small pieces, so that other connections have their turn."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.pace import PACED_BYTES, SHARE_S, fewer_bytes, timed
from libevrpc.loop.transport import Transport
from unit_test.fix_rpc import WAIT_S


def _work(span_s: float) -> None:
    until_s = time.thread_time() + span_s
    while time.thread_time() < until_s:
        pass


def test_the_time_is_the_threads_own() -> None:
    taken: list[bytes] = []
    assert timed(taken.append, b"x" * 100_000) < SHARE_S
    assert taken == [b"x" * 100_000]
    assert timed(lambda data: _work(2 * SHARE_S), b"x") >= 2 * SHARE_S


def test_the_more_bytes_cost_the_fewer_are_read_next() -> None:
    assert fewer_bytes(1_000_000, 10 * SHARE_S) == 100_000
    assert fewer_bytes(PACED_BYTES, 2 * SHARE_S) == PACED_BYTES


class _Costly:
    """Takes its time for each byte, and for each piece."""

    def __init__(self, wanted: int, byte_s: float, piece_s: float = 0.0) -> None:
        self._byte_s = byte_s
        self._piece_s = piece_s
        self.first: Callable[[], object] = bool
        self.sizes: list[int] = []
        self.all = threading.Event()
        self.shut = threading.Event()
        self._left = wanted

    def on_bytes(self, data: bytes) -> None:
        if not self.sizes:
            self.first()
        self.sizes.append(len(data))
        _work(len(data) * self._byte_s + self._piece_s)
        self._left -= len(data)
        if self._left <= 0:
            self.all.set()

    def on_eof(self) -> None:
        """Nothing is left to do."""

    def on_shut(self, reason: str) -> None:
        self.shut.set()


@contextmanager
def flooded(total: int, owner: _Costly) -> Iterator[EventLoop]:
    """Let a loop read as many bytes, which wait; goes on when they were taken."""
    loop = EventLoop("pace-test")
    loop.start()
    ours, peer = socket.socketpair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * total)
    ours.setblocking(False)
    peer.settimeout(WAIT_S)
    transport = Transport(
        ours, loop, peer="test", unsent_bytes_max=1 << 20, unsent_pause_bytes=1 << 20
    )
    sender = threading.Thread(target=peer.sendall, args=(b"x" * total,))
    sender.start()
    loop.post(lambda: transport.start(owner))
    yield loop
    assert owner.all.wait(WAIT_S)
    sender.join(WAIT_S)
    assert sum(owner.sizes) == total
    transport.close("done")
    assert owner.shut.wait(WAIT_S)
    transport.release()
    peer.close()
    loop.stop(WAIT_S)


@pytest.mark.live
def test_a_connection_is_read_in_pieces_that_cost_its_share() -> None:
    owner = _Costly(400_000, 2e-6)
    with flooded(400_000, owner):
        pass
    # A share of 10 ms is 5000 bytes of these, and a piece that was filled may be followed by one
    # twice as large before the next look.
    assert max(owner.sizes) <= 2 * 5000 + PACED_BYTES


@pytest.mark.live
def test_a_connection_has_its_share_in_all_its_pieces_of_a_turn() -> None:
    owner = _Costly(400_000, 0.0, piece_s=0.6 * SHARE_S)
    read: list[int] = []
    with flooded(400_000, owner) as loop:
        # what is posted while the first piece is taken has its turn behind this connection's
        owner.first = lambda: loop.post(lambda: read.append(len(owner.sizes)))
    assert len(owner.sizes) > 10
    assert read[0] <= 2
