"""A client at steady load, as a process: `caller.py FILE NAME TARGET CALLS_PER_S [STATE_DIR]`.

It calls `Echo.echo` with keys, from a few threads, and writes down each call with the map
that it then held. Ends with SIGTERM, when the calls under way have returned.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

from libevrpc import EvrpcError, RpcClient
from libevrpc.clock import monotonic_s
from unit_test.faults.history import Call, Stamp, Writer

CALLERS = 4
TIMEOUT_S = 5.0


class MapWatch(logging.Handler):
    """Knows the newest map that the client told of, by its log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.stamp: Stamp = (0, 0)

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("map epoch=") and isinstance(record.args, tuple):
            epoch, version = record.args[:2]
            assert isinstance(epoch, int)
            assert isinstance(version, int)
            self.stamp = (epoch, version)


class Caller(threading.Thread):
    """Calls at its share of the rate."""

    def __init__(
        self, number: int, client: RpcClient, held: MapWatch, writer: Writer, every_s: float
    ) -> None:
        super().__init__(name=f"caller-{number}", daemon=True)
        self._number = number
        self._client = client
        self._held = held
        self._writer = writer
        self._every_s = every_s
        self.ending = threading.Event()

    def run(self) -> None:
        count = 0
        while not self.ending.is_set():
            count += 1
            text = f"{self._number}-{count}"
            call_s = monotonic_s()
            failure = ""
            try:
                got = self._client.call(
                    "Echo.echo", text, key=text, timeout_s=TIMEOUT_S, idempotent=True
                )
                if got != text:
                    failure = f"said {text!r}, got {got!r}"
            except EvrpcError as exc:
                failure = f"{type(exc).__name__}: {exc}"
            held = self._held.stamp
            self._writer.write(Call(sys.argv[2], call_s, monotonic_s(), *held, failure))
            self.ending.wait(max(0.0, call_s + self._every_s - monotonic_s()))


def main() -> None:
    path, _, target, rate, state_dir = sys.argv[1:]
    held = MapWatch()
    watched = logging.getLogger("libevrpc.registry.center")
    watched.setLevel(logging.DEBUG)
    watched.addHandler(held)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    with (
        closing(Writer(Path(path))) as writer,
        RpcClient(target, state_dir=state_dir) as client,
    ):
        every_s = CALLERS / float(rate)
        callers = [Caller(each, client, held, writer, every_s) for each in range(CALLERS)]
        for caller in callers:
            caller.start()
        sys.stdout.write("calling\n")
        sys.stdout.flush()
        ending.wait()
        for caller in callers:
            caller.ending.set()
        for caller in callers:
            caller.join()


if __name__ == "__main__":
    main()
