"""What tests of TinyRPC's client share: the sample's arguments, and a server of few words."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from libevrpc import RpcClient, RpcError
from libevrpc.core.tinyrpc import Message, ServerStream


@dataclass
class Args:
    Num1: int
    Num2: int


def serve(script: Callable[[ServerStream, Message], bytes]) -> Callable[[socket.socket], object]:
    """Give a peer that greets as TinyRPC does and answers each request with what `script` says."""

    def run(sock: socket.socket) -> None:
        stream = ServerStream("tinyrpc", 1 << 20)
        while data := sock.recv(65536):
            if stream.feed(data):
                sock.sendall(stream.welcome())
            while (message := stream.next_message()) is not None:
                sock.sendall(script(stream, message))

    return run


def answered(stream: ServerStream, message: Message) -> bytes:
    header = message.header
    args = message.body.decode(Args)
    total = stream.encode_body(args.Num1 + args.Num2, int)
    return stream.reply(header.ServiceMethod, header.Seq, total)


def call(address: str, **settings: Any) -> Any:
    with RpcClient(address, **{"wire": "tinyrpc", **settings}) as client:
        return client.call("Foo.Sum", Args(1, 3), result=int)


def failure(address: str, **settings: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        call(address, **{"retries_max": 0, **settings})
    return caught.value
