"""A server whose speed can be changed: `load_process.py TARGET STATE_DIR`. Two workers."""

from __future__ import annotations

import logging
import sys
import threading

from libevrpc import RpcServer

HANDLER_S = 0.004
"""How long a call keeps its worker, at full speed."""


class Work:
    """Keeps a worker for a while; like a handler that waits for a database."""

    def __init__(self) -> None:
        self._speed = 1.0
        self._pause = threading.Event()

    def do(self) -> None:
        self._pause.wait(HANDLER_S / self._speed)

    def slow(self, speed: float) -> None:
        self._speed = speed


def main() -> None:
    target, state_dir, *settings = sys.argv[1:]
    logging.basicConfig(level="INFO", stream=sys.stderr)
    server = RpcServer(
        "127.0.0.1:0",
        registry=target,
        state_dir=state_dir,
        threads=1,
        workers=2,
        report_s=float(settings[0]),
    )
    server.add_object(Work())
    server.start()
    sys.stdout.write(f"listening on {server.address}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
