"""Several servers in one process: `flock.py HOST TARGET STATE_DIR COUNT SERVICE`.

Each serves a plain object of that name on a port of its own and reports for itself; frozen,
they all fall silent at once. Prints their addresses in one line.
"""

from __future__ import annotations

import sys

from libevrpc import RpcServer


class Echo:
    """Echoes."""

    def echo(self, text: str) -> str:
        return text


def main() -> None:
    host, target, state_dir, count, service = sys.argv[1:]
    servers = [
        RpcServer(f"{host}:0", registry=target, state_dir=state_dir, threads=1, workers=2)
        for _ in range(int(count))
    ]
    for server in servers:
        server.add_object(Echo(), name=service)
        server.start()
    sys.stdout.write("listening on " + " ".join(server.address for server in servers) + "\n")
    sys.stdout.flush()
    servers[0].run()
    for server in servers[1:]:
        server.stop(1.0)


if __name__ == "__main__":
    main()
