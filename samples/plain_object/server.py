"""Serve a plain object: its public methods, without any IDL.

python samples/plain_object/server.py [--listen HOST:PORT]
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import NoReturn

from libevrpc import ConfigError, RpcServer


class Foo:
    """Every public method can be called; arguments and results are what msgpack carries."""

    def Sum(self, *numbers: float) -> float:  # noqa: N802  # the name that callers write
        return sum(numbers)

    def greet(self, name: str, *, greeting: str = "Hello") -> dict[str, object]:
        text = f"{greeting}, {name}!"
        return {"text": text, "length": len(text)}


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"server.py: {message}\n")


def main() -> int:
    parser = Parser(description="serve Foo")
    parser.add_argument("--listen", metavar="HOST:PORT", help="127.0.0.1:9998; port 0: any")
    given = parser.parse_args()
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    try:
        server = RpcServer(given.listen)
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
