# ruff: noqa: N802, N803 - the names of Go methods and fields
"""A TinyRPC service with every kind of argument, and a caller that speaks the bare stream."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from libevrpc.core.gob import Uint
from libevrpc.core.tinyrpc import DIALECTS, ClientStream, Dialect, Message, Option
from libevrpc.errors import RpcError, StatusCode
from unit_test.fix_rpc import WAIT_S

BODY_BYTES_MAX = 64 << 20


@dataclass
class Args:
    Num1: int = 0
    Num2: int = 0


@dataclass
class Point:
    X: float = 0.0
    Y: float = 0.0


@dataclass
class Everything:
    """What the Go program has under the same name."""

    Flag: bool = False
    Small: int = 0
    Count: Uint = 0
    Ratio: float = 0.0
    Name: str = ""
    Raw: bytes = b""
    Numbers: list[int] = field(default_factory=list)
    Names: list[str] = field(default_factory=list)
    Three: tuple[int, int, int] = (0, 0, 0)
    Ages: dict[str, int] = field(default_factory=dict)
    Where: Point = field(default_factory=Point)
    Path: list[Point] = field(default_factory=list)
    Places: dict[str, Point] = field(default_factory=dict)
    Perhaps: Point | None = None
    Deep: list[list[int]] = field(default_factory=list)


class Foo:
    """What the samples of TinyRPC serve, and more."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def Sum(self, args: Args) -> int:
        return args.Num1 + args.Num2

    def Sleep(self, args: Args) -> int:
        """Wait as long as asked, or until the test is over."""
        self.gate.wait(args.Num1)
        return args.Num1 + args.Num2

    def Fail(self, args: Args) -> int:
        raise RpcError(StatusCode.FAILED_PRECONDITION, "boom")

    def Crash(self, args: Args) -> int:
        raise KeyError("oops")

    def Mirror(self, everything: Everything) -> Everything:
        return everything

    def Squares(self, upto: int) -> dict[int, int]:
        return {number: number * number for number in range(upto)}

    def Words(self, text: str) -> list[str]:
        return text.split()

    def Total(self, numbers: list[int]) -> int:
        return sum(numbers)

    def Apart(self, Num1: int, Num2: int = 5, controller: object = None) -> int:
        assert controller is not None
        return Num1 - Num2

    def Nothing(self) -> None:
        """Take nothing and return nothing."""

    def Wrong(self, args: Args) -> int:
        return "not a number"  # type: ignore[return-value]

    def Odd(self, args):  # type: ignore[no-untyped-def]
        return args

    def Long(self, size: int) -> bytes:
        return bytes(size)


class Caller:
    """One connection; sends and receives when told to."""

    def __init__(
        self,
        address: str,
        option: Option | None = None,
        dialect: Dialect = "tinyrpc",
    ) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), WAIT_S)
        self.stream = ClientStream(dialect, option or Option(), BODY_BYTES_MAX)
        self._seq = 0
        self.dialect: Dialect = dialect

    def open(self) -> None:
        """Send the option and wait until calls may be made."""
        self.sock.sendall(self.stream.hello())
        while not self.stream.ready:
            self.stream.feed(self.read())

    def connect(self, headers: str = "") -> None:
        """Begin with CONNECT, before `open`."""
        told = DIALECTS[self.dialect]
        self.sock.sendall(f"CONNECT {told.connect_path} HTTP/1.0\n{headers}\n".encode())
        wanted = f"HTTP/1.0 {told.connected}\n\n".encode()
        got = b""
        while len(got) < len(wanted):
            got += self.sock.recv(len(wanted) - len(got))
        assert got == wanted

    def read(self) -> bytes:
        data = self.sock.recv(1 << 16)
        assert data, "closed"
        return data

    def request(self, method: str, value: Any) -> bytes:
        self._seq += 1
        return self.stream.request(method, self._seq, self.stream.encode_body(value))

    def send(self, method: str, value: Any) -> int:
        self.sock.sendall(self.request(method, value))
        return self._seq

    def receive(self) -> Message:
        while (message := self.stream.next_message()) is None:
            self.stream.feed(self.read())
        return message

    def call(self, method: str, value: Any, hint: Any = None) -> Any:
        """Call and return the result, or the error as text."""
        seq = self.send(method, value)
        message = self.receive()
        assert message.header.Seq == seq
        assert message.header.ServiceMethod == method
        return message.header.Error or message.body.decode(hint)

    def closed(self) -> bool:
        """Wait for the end; False if something else comes."""
        try:
            return self.sock.recv(1 << 16) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
