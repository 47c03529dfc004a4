"""Serve `echo.EchoService`: every request comes back as it was.

python samples/echo/server.py [--listen HOST:PORT] [--registry TARGET] [--inline]
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import NoReturn

import echo_pb2

from libevrpc import ConfigError, RpcServer

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


class EchoService:
    """One method for each of the service's, in snake_case."""

    def echo(self, request: echo_pb2.EchoRequest) -> echo_pb2.EchoResponse:
        return echo_pb2.EchoResponse(response=request.request)


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"server.py: {message}\n")


def main() -> int:
    parser = Parser(description="serve echo.EchoService")
    parser.add_argument("--listen", metavar="HOST:PORT", help="127.0.0.1:9998; port 0: any")
    parser.add_argument("--registry", metavar="TARGET", help="such as center://127.0.0.1:8899")
    parser.add_argument("--inline", action="store_true", help="answer on the loop thread")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    given = parser.parse_args()
    logging.basicConfig(level=given.log_level.upper(), stream=sys.stderr)
    try:
        server = RpcServer(given.listen, registry=given.registry)
        server.add_service(EchoService(), ECHO, inline=given.inline)
        server.start()
    except ConfigError as exc:
        print(f"server.py: {exc}", file=sys.stderr)
        return 2
    print(f"listening on {server.address}", flush=True)
    server.run()  # until SIGTERM or SIGINT; running calls are finished first
    return 0


if __name__ == "__main__":
    sys.exit(main())
