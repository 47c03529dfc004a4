"""One node of a cluster that needs no other process: a server, and a center beside it.

python samples/center_cluster/server.py [--id N] [--centers-list FILE] [--listen HOST:PORT]
                                        [--data-dir DIR] [--new-cluster]
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any, NoReturn

from center.embed import CenterNode
from libevrpc import ConfigError, RpcServer


class Place:
    """What can be asked of a node."""

    def __init__(self, node: CenterNode) -> None:
        self._node = node

    def whoami(self) -> dict[str, int]:
        return {"node": self._node.id}

    def cluster(self) -> dict[str, int]:
        """Who leads, since which epoch, and how many servers there are, as this node sees it."""
        status = self._node.status()
        return {"leader": status.leader, "epoch": status.epoch, "servers": len(status.servers)}


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"server.py: {message}\n")


def main() -> int:
    parser = Parser(description="serve Place, and a center")
    parser.add_argument("--id", type=int, help="the center's; may be left out on a host of its own")
    parser.add_argument("--centers-list", metavar="FILE", help="./centers_list")
    parser.add_argument("--listen", metavar="HOST:PORT", help="127.0.0.1:9998; port 0: any")
    parser.add_argument("--data-dir", metavar="DIR", help="where center and server keep state")
    parser.add_argument("--new-cluster", action="store_true", help="vote though the disk is empty")
    given = parser.parse_args()
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    state: dict[str, Any] = (
        {} if given.data_dir is None else {"state_dir": f"{given.data_dir}/server"}
    )
    kept: dict[str, Any] = (
        {} if given.data_dir is None else {"data_dir": f"{given.data_dir}/center"}
    )
    try:
        node = CenterNode(given.id, given.centers_list, new_cluster=given.new_cluster, **kept)
        server = RpcServer(given.listen, registry=node.target, **state)
        server.add_object(Place(node))
        with node:
            server.start()
            print(f"listening on {server.address}", flush=True)
            server.run()  # the server says goodbye first, then its center leaves
    except ConfigError as exc:
        print(f"server.py: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
