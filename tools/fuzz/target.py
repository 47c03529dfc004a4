"""The server that is fuzzed: every wire, a protobuf service and a plain object."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "samples" / "echo"))

import echo_pb2

from libevrpc import RpcError, RpcServer, StatusCode

__all__ = ["ECHO", "echo_pb2", "server_of"]

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


class Echo:
    """Answers what was asked."""

    def echo(self, request: Any) -> Any:
        return echo_pb2.EchoResponse(response=request.request)


@dataclass
class Pair:
    """A typed argument, with what such may hold."""

    Num1: int = 0
    Num2: int = 0
    Names: list[str] = field(default_factory=list)
    Shares: dict[str, float] = field(default_factory=dict)


class Foo:
    """A plain object with typed and untyped arguments."""

    def add(self, *numbers: float, scale: float = 1) -> float:
        try:
            return sum(numbers) * scale
        except TypeError as exc:  # a well-formed call of other values than numbers
            raise RpcError(StatusCode.INVALID_ARGUMENT, f"no numbers: {exc}") from None

    def Sum(self, pair: Pair) -> int:  # noqa: N802  # the name that Go peers call
        return pair.Num1 + pair.Num2

    def same(self, value: Any) -> Any:
        return value


def server_of(settings: dict[str, Any]) -> RpcServer:
    """Return a server that has not started."""
    server = RpcServer("127.0.0.1:0", **settings)
    server.add_service(Echo(), ECHO)
    server.add_object(Foo())
    return server


def main() -> None:
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    spans = {"handshake_timeout_s": 2.0, "half_request_timeout_s": 2.0, "drain_s": 1.0}
    server = server_of({"wires": tuple(sys.argv[1:]), "body_bytes_max": 1 << 20, **spans})
    server.start()
    print(f"listening on {server.address}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
