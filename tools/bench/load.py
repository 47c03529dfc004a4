"""The load both peers are measured with: closed loops over an `Echo` that can be called
and started, whoever made it."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Peer", "arguments_of", "measure"]

WARM_UP_S = 0.3
CALL_TIMEOUT_S = 5.0
PAYLOAD_CHARS = 32

Peer = tuple[Callable[[], object], Callable[..., Any], Callable[..., Any]]
"""One connection: how to close it, a call that waits, a call that returns a future."""


class Chain:
    """Calls one after the other, each started by the end of the one before."""

    def __init__(self, start: Callable[..., Any], request: Any, latencies: list[float]) -> None:
        self._start = start
        self._request = request
        self._latencies = latencies
        self._before = 0.0
        self.stopping = False
        self.done = threading.Event()

    def begin(self) -> None:
        """Start the next call."""
        self._before = time.perf_counter()
        self._start(self._request).add_done_callback(self._next)

    def _next(self, future: Any) -> None:
        future.result()
        self._latencies.append(time.perf_counter() - self._before)
        if self.stopping:
            self.done.set()
        else:
            self.begin()


def serial(peer: Peer, seconds: float, request: Any) -> tuple[float, list[float]]:
    """One call at a time, in this thread."""
    _, call, _ = peer
    latencies: list[float] = []
    warm_until = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < warm_until:
        call(request)
    began = before = time.perf_counter()
    until = began + seconds
    while before < until:
        call(request)
        after = time.perf_counter()
        latencies.append(after - before)
        before = after
    return before - began, latencies


def chained(
    peers: list[Peer], seconds: float, request: Any, depth: int
) -> tuple[float, list[float]]:
    """`depth` calls in flight on each connection."""
    latencies: list[float] = []
    chains = [Chain(start, request, latencies) for _, _, start in peers for _ in range(depth)]
    for chain in chains:
        chain.begin()
    pause = threading.Event()
    pause.wait(WARM_UP_S)
    first, began = len(latencies), time.perf_counter()
    pause.wait(seconds)
    last, ended = len(latencies), time.perf_counter()
    for chain in chains:
        chain.stopping = True
    for chain in chains:
        chain.done.wait(CALL_TIMEOUT_S)
    return ended - began, latencies[first:last]


def arguments_of() -> argparse.Namespace:
    """Parse what the driver asks of a peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("serve", "measure"))
    parser.add_argument("--inline", action="store_true")
    parser.add_argument("--target")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--depth", type=int, default=1)
    return parser.parse_args()


def measure(arguments: argparse.Namespace, connect: Callable[[str], Peer], request: Any) -> None:
    """Measure one cell and print it as one line of JSON."""
    peers = [connect(arguments.target) for _ in range(arguments.connections)]
    if arguments.connections == arguments.depth == 1:
        span_s, latencies = serial(peers[0], arguments.seconds, request)
    else:
        span_s, latencies = chained(peers, arguments.seconds, request, arguments.depth)
    for close, _, _ in peers:
        close()
    latencies.sort()
    result = {
        "calls": len(latencies),
        "calls_per_s": len(latencies) / span_s,
        "p50_us": latencies[len(latencies) // 2] * 1e6,
        "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
    }
    print(json.dumps(result))
