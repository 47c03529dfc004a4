"""Costly bytes are read in small pieces, so that other connections have their turn."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.pace import PACED_BYTES, SHARE_S, paced
from libevrpc.loop.transport import Transport
from unit_test.fix_rpc import WAIT_S


def _work(span_s: float) -> None:
    until_s = time.thread_time() + span_s
    while time.thread_time() < until_s:
        pass


def test_bytes_that_cost_little_are_read_in_any_number() -> None:
    taken: list[bytes] = []
    assert paced(taken.append, b"x" * 100_000) == 0
    assert taken == [b"x" * 100_000]


def test_the_more_bytes_cost_the_fewer_are_read_next() -> None:
    fewer = paced(lambda data: _work(10 * SHARE_S), b"x" * 1_000_000)
    assert PACED_BYTES < fewer <= 100_000
    assert paced(lambda data: _work(2 * SHARE_S), b"x" * PACED_BYTES) == PACED_BYTES


class _Costly:
    """Takes its time for each byte."""

    def __init__(self, wanted: int) -> None:
        self.sizes: list[int] = []
        self.all = threading.Event()
        self.shut = threading.Event()
        self._left = wanted

    def on_bytes(self, data: bytes) -> None:
        self.sizes.append(len(data))
        _work(len(data) * 2e-6)
        self._left -= len(data)
        if self._left <= 0:
            self.all.set()

    def on_eof(self) -> None:
        """Nothing is left to do."""

    def on_shut(self, reason: str) -> None:
        self.shut.set()


@pytest.mark.live
def test_a_connection_is_read_in_pieces_that_cost_its_share() -> None:
    loop = EventLoop("pace-test")
    loop.start()
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.settimeout(WAIT_S)
    transport = Transport(
        ours, loop, peer="test", unsent_bytes_max=1 << 20, unsent_pause_bytes=1 << 20
    )
    total = 400_000
    owner = _Costly(total)
    loop.post(lambda: transport.start(owner))
    peer.sendall(b"x" * total)
    assert owner.all.wait(WAIT_S)
    assert sum(owner.sizes) == total
    # The first piece may be any; then a share of 10 ms is 5000 bytes of these, and a piece that
    # was filled may be followed by one twice as large before the next look.
    assert max(owner.sizes[1:]) <= 2 * 5000 + PACED_BYTES
    transport.close("done")
    assert owner.shut.wait(WAIT_S)
    transport.release()
    peer.close()
    loop.stop(WAIT_S)
