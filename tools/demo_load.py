"""One client at steady load: it calls the echo servers by virtual node and counts.

python tools/demo_load.py TARGET [--rate N] [--callers N] [--key-seed N]

Prints one line of JSON each 100 ms; stops when standard input ends, and prints a last one.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples" / "echo"))

import echo_pb2

from libevrpc import ClientController, EvrpcError, RpcClient

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
REPORT_S = 0.1
BEHIND_MAX_S = 0.5
"""A caller that is further behind its rate than this does not try to catch up."""
FAILURES_KEPT_MAX = 20


class Caller(threading.Thread):
    """One thread that calls at its share of the rate. Its counters are read by others."""

    def __init__(self, number: int, echo: Any, interval_s: float, rng: Random) -> None:
        super().__init__(name=f"caller-{number}", daemon=True)
        self._number = number
        self._echo = echo
        self._interval_s = interval_s
        self._rng = rng
        self.stopping = False
        self.started = 0
        self.returned = 0
        self.failures: list[str] = []
        self.failed = 0
        self.peers: dict[str, int] = {}
        self.slowest_s = 0.0

    def run(self) -> None:
        """Call until told to stop."""
        due_s = time.monotonic() + self._rng.random() * self._interval_s
        controller = ClientController()
        while not self.stopping:
            now_s = time.monotonic()
            if now_s < due_s:
                time.sleep(due_s - now_s)
            due_s = max(due_s + self._interval_s, now_s - BEHIND_MAX_S)
            self._call(controller)

    def _call(self, controller: ClientController) -> None:
        text = f"caller {self._number} call {self.started}"
        key = f"user-{self._rng.randrange(100_000)}"
        self.started += 1
        try:
            request = echo_pb2.EchoRequest(request=text)
            answer = self._echo(request, key=key, controller=controller).response
            if answer != text:
                self._fail(f"sent {text!r}, got {answer!r} from {controller.peer}")
        except EvrpcError as exc:
            self._fail(f"{text}: {exc} after {controller.retries} retries")
        self.returned += 1
        self.slowest_s = max(self.slowest_s, controller.latency_s)
        self.peers[controller.peer] = self.peers.get(controller.peer, 0) + 1

    def _fail(self, text: str) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT_MAX:
            self.failures.append(text)


def report(callers: list[Caller]) -> None:
    """Print what has been counted so far."""
    peers: dict[str, int] = {}
    slowest_s = 0.0
    for caller in callers:
        slowest_s = max(slowest_s, caller.slowest_s)
        caller.slowest_s = 0.0
        for peer, count in list(caller.peers.items()):
            peers[peer] = peers.get(peer, 0) + count
    counted = {
        "returned": sum(caller.returned for caller in callers),  # first: it is never ahead
        "started": sum(caller.started for caller in callers),
        "failed": sum(caller.failed for caller in callers),
        "failures": [text for caller in callers for text in caller.failures][:FAILURES_KEPT_MAX],
        "slowest_ms": round(slowest_s * 1000.0, 3),
        "peers": peers,
        "at_s": time.monotonic(),
    }
    print(json.dumps(counted), flush=True)


def main() -> int:
    """Call until standard input ends; returns 0 whatever came back."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target")
    parser.add_argument("--rate", type=float, default=1500.0, help="calls a second in all")
    parser.add_argument("--callers", type=int, default=8, help="threads")
    parser.add_argument("--key-seed", type=int, default=1, help="chooses the keys")
    given = parser.parse_args()
    ended = threading.Event()

    def await_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=await_end, daemon=True).start()
    with RpcClient(given.target, balancer="vnode") as client:
        echo = client.stub(ECHO).Echo
        interval_s = given.callers / given.rate
        callers = [
            Caller(number, echo, interval_s, Random(given.key_seed * 1000 + number))
            for number in range(given.callers)
        ]
        for caller in callers:
            caller.start()
        while not ended.wait(REPORT_S):
            report(callers)
        for caller in callers:
            caller.stopping = True
        for caller in callers:
            caller.join()
        report(callers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
