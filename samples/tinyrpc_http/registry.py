"""TinyRPC's registry: servers POST their address, clients GET the list.

python samples/tinyrpc_http/registry.py [--listen HOST:PORT]
"""

from __future__ import annotations

import argparse
import logging
import sys

from libevrpc import HttpRegistry, RpcServer, UsageError


def main() -> int:
    parser = argparse.ArgumentParser(description="keep the list of servers")
    parser.add_argument("--listen", default="127.0.0.1:9999", metavar="HOST:PORT")
    given = parser.parse_args()
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    try:
        server = RpcServer(given.listen)
        registry = HttpRegistry(server, expiry_s=300.0)
        server.start()
    except UsageError as exc:
        print(f"registry.py: {exc}", file=sys.stderr)
        return 2
    print(f"listening on {server.address}", flush=True)
    server.run()
    registry.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
