"""Serve Foo to TinyRPC's clients, and to all others that the port speaks with;
announce it.

python samples/tinyrpc_http/server.py [--listen HOST:PORT] [--registry TARGET]
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from typing import NoReturn

from libevrpc import ConfigError, RpcServer, ServerController

REGISTRY = "http://127.0.0.1:9999/_tinyrpc_/registry"


@dataclass
class Args:
    """Go's `struct { Num1, Num2 int }`: the names are those of the wire."""

    Num1: int
    Num2: int


class Foo:
    """Arguments and results are what the annotations say; gob needs them."""

    def Sum(self, args: Args) -> int:  # noqa: N802  # the name that callers write
        return args.Num1 + args.Num2

    def Sleep(self, args: Args, controller: ServerController) -> int:  # noqa: N802  # the same
        controller.wait_cancelled(args.Num1)
        return args.Num1 + args.Num2


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"server.py: {message}\n")


def main() -> int:
    parser = Parser(description="serve Foo")
    parser.add_argument("--listen", metavar="HOST:PORT", help="127.0.0.1:9998; port 0: any")
    parser.add_argument(
        "--registry",
        metavar="TARGET",
        default=REGISTRY,
        help=f"{REGISTRY}; none: no registry",
    )
    given = parser.parse_args()
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    try:
        server = RpcServer(
            given.listen, registry=None if given.registry == "none" else given.registry
        )
        server.add_object(Foo(), name="Foo")
        server.start()
    except ConfigError as exc:
        print(f"server.py: {exc}", file=sys.stderr)
        return 2
    print(f"listening on {server.address}", flush=True)
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
