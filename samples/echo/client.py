"""Call `echo.EchoService` in each of the ways there are.

python samples/echo/client.py TARGET [--message TEXT] [--count N]
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

import echo_pb2

from libevrpc import ConfigError, RpcClient, RpcError, StatusCode

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


class EchoClient(RpcClient):
    """A client of one service: what can be asked are its methods."""

    def __init__(self, target: str) -> None:
        super().__init__(target, timeout_s=2.0)
        self._call_echo = self.stub(ECHO).Echo

    def echo(self, text: str) -> str:
        response: echo_pb2.EchoResponse = self._call_echo(echo_pb2.EchoRequest(request=text))
        return response.response


def by_subclass(target: str, message: str, count: int) -> None:
    with EchoClient(target) as client:
        for _ in range(count):
            print(f"by subclass: {client.echo(message)}")


def by_stub(target: str, message: str, count: int) -> None:
    with RpcClient(target) as client:
        stub = client.stub(ECHO)
        request = echo_pb2.EchoRequest(request=message)
        for _ in range(count):
            print(f"by stub: {stub.Echo(request, timeout_s=2.0).response}")
        # All of these are on their way at once; each future is one call's result.
        futures = [stub.Echo.future(request) for _ in range(count)]
        for future in futures:
            print(f"by future: {future.result().response}")


def wrong_call(target: str) -> None:
    """Ask for a method that nobody has: status, number and text say what was wrong."""
    with RpcClient(target) as client:
        try:
            client.call("echo.EchoService.Shout", "hello")
        except RpcError as exc:
            if exc.code is not StatusCode.UNIMPLEMENTED:
                raise
            print(f"wrong call: {exc.code.name} ({exc.errno}): {exc.text}")


def count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"client.py: {message}\n")


def main() -> int:
    parser = Parser(description="call echo.EchoService")
    parser.add_argument("target", help="such as 127.0.0.1:9998 or center://127.0.0.1:8899")
    parser.add_argument("--message", default="Hello! test")
    parser.add_argument("--count", type=count, default=1, help="calls of each kind (1)")
    given = parser.parse_args()
    try:
        by_subclass(given.target, given.message, given.count)
        by_stub(given.target, given.message, given.count)
        wrong_call(given.target)
    except ConfigError as exc:
        print(f"client.py: {exc}", file=sys.stderr)
        return 2
    except RpcError as exc:
        print(f"client.py: {exc}", file=sys.stderr)
        return 3 if exc.code is StatusCode.UNAVAILABLE else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
