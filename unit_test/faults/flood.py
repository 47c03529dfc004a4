"""Junk for both ports of a center, as a process: `flood.py PEER CLIENT MESSAGES_PER_S SECONDS`.

So many messages a second to each port, from two threads: nonsense of every kind, heartbeats of
ZeroMQ, and at every turn of a cycle a reset of the connection. Where a port takes them slower, it
gets as many, for longer. At the end it prints how many it sent to each port.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
from collections.abc import Callable

from center.core import codec
from center.core.messages import Inquiry
from libevrpc.clock import monotonic_s
from libevrpc.core.prpc_encode import encode_request
from libevrpc.gen import center_pb2

TICK_S = 0.01
TICKS_PER_CONNECTION = 50
LONGER_MAX = 10
"""After so many times its span a flood ends, whatever it has sent."""
RESET = (1).to_bytes(4, sys.byteorder) + bytes(4)
"""Linger for zero seconds: the close is a reset."""
Make = Callable[[random.Random], bytes]


def frame(body: bytes) -> bytes:
    """Return one ZMTP message."""
    return bytes([2]) + len(body).to_bytes(8, "big") + body


def peer_junk(rng: random.Random) -> bytes:
    """Return one message that no center of ours would send, or a heartbeat."""
    kind = rng.randrange(8)
    if kind == 0:
        return bytes([4, 7]) + b"\x04PING" + bytes(2)
    if kind == 1:  # of a center that is not in the list
        return frame(codec.encode(99, rng.getrandbits(60), Inquiry(7, "digest", 1)))
    if kind == 2:
        good = codec.encode(99, 1, Inquiry(7, "digest", 1))
        return frame(good[: rng.randrange(len(good))])
    if kind == 3:  # a message of two parts, one empty
        return bytes([1, 4]) + b"junk" + bytes(2)
    return frame(rng.randbytes(rng.randrange(64)))


def client_junk(rng: random.Random) -> bytes:
    """Return one request that cannot be served."""
    kind = rng.randrange(5)
    number = rng.randrange(1, 1 << 30)
    if kind == 0:
        return encode_request("evrpc.Center", "Nothing", number, b"", timeout_ms=100)
    if kind == 1:
        return encode_request("no.Such", "Thing", number, rng.randbytes(20), timeout_ms=100)
    if kind == 2:
        return encode_request("evrpc.Center", "Pull", number, b"\xff\xff\xff", timeout_ms=100)
    address = rng.choice(["", "nonsense", "192.0.2.1:99999", "[::1", "host:0"])
    if kind == 3:
        report = center_pb2.ReportRequest(address=address, weight=-1.0, load=rng.random())
        return encode_request(
            "evrpc.Center", "Report", number, report.SerializeToString(), timeout_ms=100
        )
    goodbye = center_pb2.GoodbyeRequest(address=address, session=str(number))
    return encode_request(
        "evrpc.Center", "Goodbye", number, goodbye.SerializeToString(), timeout_ms=100
    )


def greeting() -> bytes:
    """Return what a ZeroMQ DEALER says first."""
    parts = ((b"Socket-Type", b"DEALER"), (b"Identity", b""))
    body = b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in parts
    )
    ready = b"\x05READY" + body
    hello = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    return hello + bytes([4, len(ready)]) + ready


class Flood(threading.Thread):
    """Floods one port."""

    def __init__(self, address: str, hello: bytes, make: Make, rate: int, span_s: float) -> None:
        super().__init__(name=f"flood-{address}")
        host, _, port = address.rpartition(":")
        rng = random.Random(address)
        self.sent = 0
        self.address = (host, int(port))
        self._hello = hello
        self._batch = int(rate * TICK_S)
        self._junk = [make(rng) for _ in range(self._batch * 8)]
        self._count = int(rate * span_s)
        self._until_s = monotonic_s() + LONGER_MAX * span_s
        self._pause = threading.Event()

    def run(self) -> None:
        due_s = monotonic_s()
        while self.sent < self._count and monotonic_s() < self._until_s:
            try:
                with socket.create_connection(self.address, 1.0) as sock:
                    sock.sendall(self._hello)
                    for _ in range(TICKS_PER_CONNECTION):
                        if self.sent >= self._count:
                            break
                        self._send(sock)
                        due_s += TICK_S
                        self._pause.wait(max(0.0, due_s - monotonic_s()))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            except OSError:  # hung up on, as it deserves
                due_s = max(due_s, monotonic_s() - TICK_S)
                self._pause.wait(TICK_S)

    def _send(self, sock: socket.socket) -> None:
        sock.settimeout(1.0)
        start = random.randrange(len(self._junk) - self._batch)
        sock.sendall(b"".join(self._junk[start : start + self._batch]))
        self.sent += self._batch
        sock.settimeout(0.0)
        try:
            while sock.recv(1 << 16):
                continue
        except BlockingIOError:
            return


def main() -> None:
    peer, client, rate, seconds = sys.argv[1:]
    floods = [
        Flood(peer, greeting(), peer_junk, int(rate), float(seconds)),
        Flood(client, b"", client_junk, int(rate), float(seconds)),
    ]
    sys.stdout.write("flooding\n")
    sys.stdout.flush()
    with socket.create_connection(floods[0].address) as raw:
        raw.sendall(os.urandom(4096))
    for flood in floods:
        flood.start()
    for flood in floods:
        flood.join()
    sys.stdout.write(" ".join(str(flood.sent) for flood in floods) + "\n")


if __name__ == "__main__":
    main()
