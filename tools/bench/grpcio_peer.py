"""The peer of the comparison: grpcio with generic handlers over the same messages."""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "samples" / "echo"))

import echo_pb2
import grpc
from load import CALL_TIMEOUT_S, PAYLOAD_CHARS, Peer, arguments_of, measure

WORKERS = 8


def serve() -> None:
    """Serve until SIGTERM."""

    def echo(request: Any, context: Any) -> Any:
        return echo_pb2.EchoResponse(response=request.request)

    server = grpc.server(ThreadPoolExecutor(max_workers=WORKERS))
    handler = grpc.unary_unary_rpc_method_handler(
        echo,
        request_deserializer=echo_pb2.EchoRequest.FromString,
        response_serializer=echo_pb2.EchoResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("echo.EchoService", {"Echo": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    stopped.wait()
    server.stop(None)


def connect(target: str) -> Peer:
    """Open one connection: channels would share one otherwise."""
    channel = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
    echo = channel.unary_unary(
        "/echo.EchoService/Echo",
        request_serializer=echo_pb2.EchoRequest.SerializeToString,
        response_deserializer=echo_pb2.EchoResponse.FromString,
    )
    return (
        channel.close,
        lambda request: echo(request, timeout=CALL_TIMEOUT_S),
        lambda request: echo.future(request, timeout=CALL_TIMEOUT_S),
    )


if __name__ == "__main__":
    arguments = arguments_of()
    if arguments.role == "serve":
        serve()
    else:
        measure(arguments, connect, echo_pb2.EchoRequest(request="x" * PAYLOAD_CHARS))
