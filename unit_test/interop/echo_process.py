"""A server as a process: `echo_process.py LISTEN TARGET STATE_DIR`. Serves a plain Echo."""

from __future__ import annotations

import logging
import os
import sys

from libevrpc import RpcServer


class Echo:
    """Echoes, and says which process it is."""

    def echo(self, text: str) -> str:
        return text

    def pid(self) -> int:
        return os.getpid()


def main() -> None:
    listen, target, state_dir = sys.argv[1:]
    logging.basicConfig(level="INFO", stream=sys.stderr)
    server = RpcServer(listen, registry=target, state_dir=state_dir, threads=1)
    server.add_object(Echo())
    server.start()
    sys.stdout.write(f"listening on {server.address}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
