"""What the demo's verdict rests on: calls, returns, echoes, epochs and versions.

The observer knows nothing of the demo's faults but when they happened. It calls like any
client, asks centers like any client, and compares.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "samples" / "echo"))

import echo_pb2

from libevrpc import RpcClient, RpcError
from libevrpc.gen import center_pb2

__all__ = ["Caller", "Watcher"]

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]
POLL_S = 0.005
KEYS = 64
FAILURES_KEPT = 20


class Caller:
    """Calls at a steady rate from several threads, each call with a key of its own.

    Args:
        target: where the servers are found.
        state_dir: the client's own state folder.
        threads: callers.
        pause_s: of each caller, between two calls.
    """

    def __init__(self, target: str, state_dir: str, threads: int, pause_s: float) -> None:
        self.calls = 0
        self.failed = 0
        self.failures: list[str] = []
        self.peers: dict[str, int] = {}
        self._client = RpcClient(target, state_dir=state_dir)
        self._echo = self._client.stub(ECHO).Echo
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._counts = [0] * threads
        self._threads = [
            threading.Thread(target=self._call, args=(number,), name=f"caller-{number}")
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to call."""
        for thread in self._threads:
            thread.start()

    def total(self) -> int:
        """Return the calls that have returned so far, well or not."""
        return sum(self._counts)

    def stop(self) -> None:
        """Let every caller return, then count."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        self.calls = sum(self._counts)

    def _call(self, number: int) -> None:
        echo, counts = self._echo, self._counts
        position = 0
        while not self._stopping.is_set():
            position += 1
            text = f"{number}/{position}"
            try:
                response = echo(
                    echo_pb2.EchoRequest(request=text), key=f"{number}-{position % KEYS}"
                )
                if response.response != text:
                    self._note(f"sent {text!r}, got {response.response!r}")
            except RpcError as exc:
                self._note(f"{text}: {exc}")
            counts[number] += 1
            if self._pause_s:
                self._stopping.wait(self._pause_s)

    def _note(self, text: str) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(text)


class Watcher:
    """Asks centers for their status, over and over, one connection to each.

    Args:
        centers: client addresses by id.
    """

    def __init__(self, centers: dict[int, str]) -> None:
        self._clients = {each: RpcClient(address) for each, address in centers.items()}
        self._status = {each: client.stub(CENTER).Status for each, client in self._clients.items()}
        self.newest: dict[int, tuple[int, int]] = {}
        self.went_back: list[str] = []

    def ask(self, center: int, timeout_s: float = 0.25) -> Any:
        """Return a center's status, None if it does not answer. Notes a map that goes back."""
        try:
            told = self._status[center](center_pb2.StatusRequest(), timeout_s=timeout_s)
        except RpcError:
            return None
        stamp = (told.map_epoch, told.version)
        before = self.newest.get(center, (0, 0))
        if stamp < before:
            self.went_back.append(f"center {center}: {before} -> {stamp}")
        self.newest[center] = max(stamp, before)
        return told

    def until(
        self, holds: Callable[[Any], bool], centers: list[int], within_s: float
    ) -> tuple[float, Any] | None:
        """Poll `centers` until the status of one `holds`; returns the seconds and the status."""
        began_s = time.perf_counter()
        pause = threading.Event()
        while time.perf_counter() - began_s < within_s:
            for center in centers:
                told = self.ask(center)
                if told is not None and holds(told):
                    return time.perf_counter() - began_s, told
            pause.wait(POLL_S)
        return None

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()
