"""Call Foo as TinyRPC's sample does: five calls, five broadcasts, five that sleep.

python samples/tinyrpc_http/client.py TARGET

TARGET: the registry, http://HOST:9999/_tinyrpc_/registry; a server, HOST:PORT, will do.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from libevrpc import ConfigError, RpcClient, RpcError, StatusCode


@dataclass
class Args:
    """Go's `struct { Num1, Num2 int }`."""

    Num1: int
    Num2: int


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"client.py: {message}\n")


def call(client: RpcClient) -> None:
    """Call five times at once; each goes to one server."""
    futures = [client.future("Foo.Sum", Args(i, i * i), result=int) for i in range(5)]
    for i, future in enumerate(futures):
        print(f"call Foo.Sum: {i} + {i * i} = {future.result()}")


def broadcast(client: RpcClient) -> None:
    """Call all servers, five times at once; then make them sleep for longer and longer."""

    def all_of(method: str, i: int, timeout_s: float) -> str:
        try:
            told = client.broadcast(method, Args(i, i * i), timeout_s=timeout_s, result=int)
        except RpcError as exc:
            if exc.code is not StatusCode.DEADLINE_EXCEEDED:
                raise
            return f"broadcast {method}: no answer from all within {timeout_s:g} s"
        return f"broadcast {method}: {i} + {i * i} = {sorted(told.values())}"

    with ThreadPoolExecutor(10) as pool:
        sums = [pool.submit(all_of, "Foo.Sum", i, 5.0) for i in range(5)]
        sleeps = [pool.submit(all_of, "Foo.Sleep", i, 2.0) for i in range(5)]
        for future in (*sums, *sleeps):
            print(future.result())


def main() -> int:
    parser = Parser(description="call Foo")
    parser.add_argument("target", help="such as http://127.0.0.1:9999/_tinyrpc_/registry")
    given = parser.parse_args()
    try:
        with RpcClient(given.target, wire="tinyrpc", balancer="round_robin") as client:
            call(client)
            broadcast(client)
            try:
                client.call("Foo.Mul", Args(2, 3))
            except RpcError as exc:
                print(f"wrong call: {exc.text}")
    except ConfigError as exc:
        print(f"client.py: {exc}", file=sys.stderr)
        return 2
    except RpcError as exc:
        print(f"client.py: {exc}", file=sys.stderr)
        return 3 if exc.code is StatusCode.UNAVAILABLE else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
