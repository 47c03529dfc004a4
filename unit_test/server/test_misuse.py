"""What cannot be served or called is refused at once, in words that say what to write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest

from libevrpc import ConfigError, RpcClient, RpcError, RpcServer, UsageError
from unit_test.fix_rpc import ECHO, Foo, Serving, echo_pb2

pytestmark = pytest.mark.live


class Async:
    async def answer(self) -> int:
        return 1


class Stream:
    async def answers(self) -> AsyncIterator[int]:
        yield 1


class Lazy:
    def answers(self) -> Iterator[int]:
        yield 1


class Moody:
    """Has a property that raises, which nobody may look at."""

    @property
    def mood(self) -> str:
        raise RuntimeError("bad")

    def answer(self) -> int:
        return 42


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (Foo, r"Foo is a class: serve an object of it, Foo\(\)"),
        (Async(), r"Async.answer is async: write a plain method"),
        (Stream(), r"Stream.answers is async"),
        (Lazy(), r"Lazy.answers is a generator: return a list"),
    ],
)
def test_objects_that_cannot_work_are_refused(target: object, wanted: str) -> None:
    server = RpcServer("127.0.0.1:0")
    with pytest.raises(UsageError, match=wanted):
        server.add_object(target)


def test_an_async_protobuf_handler_is_refused() -> None:
    async def echo(request: object) -> object:
        return request

    server = RpcServer("127.0.0.1:0")
    with pytest.raises(UsageError, match="Echo is async"):
        server.add_service({"echo": echo}, ECHO)
    with pytest.raises(UsageError, match="needs the service's descriptor"):
        server.add_service({"echo": echo}, cast(Any, echo_pb2))


def test_a_class_is_no_protobuf_handler() -> None:
    class Handler:
        def echo(self, request: object) -> object:
            return request

    server = RpcServer("127.0.0.1:0")
    with pytest.raises(UsageError, match=r"Handler is a class: serve an object of it, Handler\(\)"):
        server.add_service(Handler, ECHO)


def test_properties_are_left_alone() -> None:
    server = RpcServer("127.0.0.1:0")
    server.add_object(Moody())
    with server, RpcClient(server.address) as client:
        assert client.call("Moody.answer") == 42


def test_wrong_words_of_a_client_are_refused(serve: Callable[..., Serving]) -> None:
    with pytest.raises(ConfigError, match="target is a tuple: write it as text"):
        RpcClient(cast(Any, ("127.0.0.1", 9998)))
    client = serve().client()
    with pytest.raises(UsageError, match="service descriptor, not a str"):
        client.stub(cast(Any, "echo.EchoService"))
    with pytest.raises(RpcError, match=r"has no method 'Sun'; it has .*Sum"):
        client.call("Foo.Sun")
    with pytest.raises(RpcError, match=r"From Python: client.stub"):
        client.call("echo.EchoService/Echo", "x")
