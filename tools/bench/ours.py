"""Our side of the comparison: an echo server, and a client that measures one cell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "samples" / "echo"))

import echo_pb2
from load import PAYLOAD_CHARS, Peer, arguments_of, measure

from libevrpc import RpcClient, RpcServer

SERVICE = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


class Echo:
    """The handler: the same work as the peer's."""

    def echo(self, request: Any) -> Any:
        """Answer with what was asked."""
        return echo_pb2.EchoResponse(response=request.request)


def serve(inline: bool) -> None:
    """Serve until SIGTERM."""
    server = RpcServer("127.0.0.1:0")
    server.add_service(Echo(), SERVICE, inline=inline)
    server.start()
    print(f"listening on {server.address}", flush=True)
    server.run()


def connect(target: str) -> Peer:
    """Open one connection."""
    client = RpcClient(target)
    echo = client.stub(SERVICE).Echo
    return client.close, echo, echo.future


if __name__ == "__main__":
    arguments = arguments_of()
    if arguments.role == "serve":
        serve(arguments.inline)
    else:
        measure(arguments, connect, echo_pb2.EchoRequest(request="x" * PAYLOAD_CHARS))
