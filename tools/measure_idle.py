"""Measure what idle connections cost a server, and what a slow loris does to the others.

python tools/measure_idle.py [--connections N] [--calls N] [--json]

Opens N idle connections to an echo server of its own and divides the growth of its
resident memory; then half of them send one byte of a request every so often while one
client's latencies are compared with those before.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples" / "echo"))

import echo_pb2

from libevrpc import RpcClient
from libevrpc.core.prpc_encode import RequestEncoder

SERVICE = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
SERVER = Path(__file__).resolve().parent / "bench" / "ours.py"
DRIP_S = 1.0
"""How long a slow connection takes from one byte to the next."""


def percentiles(echo: Any, calls: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of `calls` calls, microseconds."""
    request = echo_pb2.EchoRequest(request="x" * 32)
    for _ in range(min(calls, 200)):
        echo(request)
    latencies = []
    for _ in range(calls):
        before = time.perf_counter()
        echo(request)
        latencies.append(time.perf_counter() - before)
    latencies.sort()
    return latencies[calls // 2] * 1e6, latencies[calls * 99 // 100] * 1e6


def drip(connections: list[socket.socket], stopping: threading.Event) -> None:
    """Send a request on every connection, one byte a round, evenly spread over the round."""
    request = echo_pb2.EchoRequest(request="x" * 32).SerializeToString()
    frame = RequestEncoder("echo.EchoService", "Echo").encode(1, request, timeout_ms=60_000)
    position = 0
    while True:
        for sock in connections:
            sock.send(frame[position : position + 1])
            if stopping.wait(DRIP_S / len(connections)):
                return
        position = (position + 1) % (len(frame) - 1)


def main() -> int:
    """Measure and print; returns 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=5000, help="calls per latency figure")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    command = [sys.executable, str(SERVER), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            target = server.stdout.readline().split()[-1]
            host, _, port = target.rpartition(":")
            with RpcClient(target) as client:
                echo = client.stub(SERVICE).Echo
                percentiles(echo, 500)
                usage = psutil.Process(server.pid)
                before = usage.memory_info().rss
                idle = [
                    socket.create_connection((host, int(port)))
                    for _ in range(arguments.connections)
                ]
                quiet = percentiles(echo, arguments.calls)
                each = (usage.memory_info().rss - before) / arguments.connections
                stopping = threading.Event()
                loris = threading.Thread(
                    target=drip, args=(idle[: len(idle) // 2], stopping), daemon=True
                )
                loris.start()
                dripping = percentiles(echo, arguments.calls)
                stopping.set()
                loris.join()
                for sock in idle:
                    sock.close()
        finally:
            server.terminate()
    figures = {
        "connections": arguments.connections,
        "bytes_per_idle_connection": round(each),
        "p50_us_quiet": round(quiet[0]),
        "p99_us_quiet": round(quiet[1]),
        "p50_us_loris": round(dripping[0]),
        "p99_us_loris": round(dripping[1]),
        "p99_us_allowed": round(quiet[1] * 1.25 + 100),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<28}{value:>10}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
