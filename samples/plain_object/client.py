"""Call the plain object of server.py.

python samples/plain_object/client.py TARGET
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from libevrpc import ConfigError, RpcClient, RpcError, StatusCode


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"client.py: {message}\n")


def main() -> int:
    parser = Parser(description="call Foo")
    parser.add_argument("target", help="such as 127.0.0.1:9998")
    given = parser.parse_args()
    try:
        with RpcClient(given.target, timeout_s=2.0) as client:
            print("Foo.Sum(1, 2, 3.5):", client.call("Foo.Sum", 1, 2, 3.5))
            print("Foo.greet:", client.call("Foo.greet", "world", greeting="Good morning"))
            futures = [client.future("Foo.Sum", n, n) for n in range(3)]
            print("three at once:", [future.result() for future in futures])
            try:
                client.call("Foo.Sum", 1, "two")
            except RpcError as exc:
                if exc.code is not StatusCode.UNKNOWN:
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
