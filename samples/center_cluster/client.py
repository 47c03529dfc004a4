"""Call the nodes of server.py, wherever they are.

python samples/center_cluster/client.py TARGET [--state-dir DIR]
"""

from __future__ import annotations

import argparse
import collections
import sys
from typing import NoReturn

from libevrpc import ConfigError, RpcClient, RpcError, StatusCode

CALLS = 300


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"client.py: {message}\n")


def main() -> int:
    parser = Parser(description="call Place")
    parser.add_argument("target", help="such as center://127.0.0.1:8899,127.0.0.2:8899")
    parser.add_argument("--state-dir", metavar="DIR", help="where the last map is kept")
    given = parser.parse_args()
    kept = {} if given.state_dir is None else {"state_dir": given.state_dir}
    try:
        with RpcClient(given.target, timeout_s=5.0, **kept) as client:
            # One key, one node, as long as the map gives it that one: good for caches.
            keyed = {client.call("Place.whoami", key="order 7")["node"] for _ in range(CALLS)}
            print(f"calls for one key were answered by {len(keyed)} node(s)")
            nodes = collections.Counter(client.call("Place.whoami")["node"] for _ in range(CALLS))
            print(f"calls without a key were answered by nodes {sorted(nodes)}")
            found = client.call("Place.cluster")
            print(f"center {found['leader']} leads in epoch {found['epoch']}")
            try:
                client.call("Place.whoami", "too much")
            except RpcError as exc:
                if exc.code is not StatusCode.INVALID_ARGUMENT:
                    raise
                print(f"wrong call: {exc.code.name} ({exc.errno}): {exc.text}")
    except ConfigError as exc:
        print(f"client.py: {exc}", file=sys.stderr)
        return 2
    except RpcError as exc:
        print(f"client.py: {exc}", file=sys.stderr)
        return 3 if exc.code is StatusCode.UNAVAILABLE else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
