"""A handler's error is an answer: whatever its number, nobody executes the call again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from libevrpc import (
    Deferred,
    RpcClient,
    RpcError,
    RpcServer,
    ServerController,
    StatusCode,
)
from unit_test.fix_rpc import WAIT_S, Raw

pytestmark = pytest.mark.live
UNAVAILABLE = StatusCode.UNAVAILABLE
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED


class Refusing:
    """Counts its runs, and fails each with the error it was given."""

    def __init__(self) -> None:
        self.runs = 0
        self.error = RpcError(EXHAUSTED, "quota")

    def raises(self) -> None:
        self.runs += 1
        raise self.error

    def sets(self, controller: ServerController) -> None:
        self.runs += 1
        controller.set_failed(self.error.text, self.error.code)

    def defers(self, controller: ServerController) -> None:
        self.runs += 1
        deferred: Deferred = controller.defer()
        deferred.fail(self.error)


@pytest.fixture(params=[False, True], ids=["workers", "inline"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[str, Refusing]]:
    """Give the target of two servers that share a handler."""
    handler = Refusing()
    servers = [RpcServer("127.0.0.1:0") for _ in range(2)]
    for server in servers:
        server.add_object(handler, inline=request.param)
        server.start()
    yield "list://" + ",".join(server.address for server in servers), handler
    for server in servers:
        server.stop(0.0)


@pytest.mark.parametrize("method", ["raises", "sets", "defers"])
def test_a_call_that_its_handler_refuses_is_executed_once(
    pair: tuple[str, Refusing], method: str
) -> None:
    target, handler = pair
    with RpcClient(target) as client:
        with pytest.raises(RpcError, match="quota") as caught:
            client.call(f"Refusing.{method}", idempotent=False)
        assert (caught.value.code, caught.value.errno) == (EXHAUSTED, 4008)
        with pytest.raises(RpcError, match="quota"):
            client.future(f"Refusing.{method}").result(WAIT_S)
    assert handler.runs == 2


@pytest.mark.parametrize("errno", [2003, 1009, 1014, 1016, 1018, 2005, 104, 111])
def test_errors_of_nested_calls_are_answers_too(pair: tuple[str, Refusing], errno: int) -> None:
    target, handler = pair
    handler.error = RpcError.from_errno(errno, "of another server")
    with RpcClient(target) as client, pytest.raises(RpcError, match="of another") as caught:
        client.call("Refusing.raises", idempotent=True)
    assert (caught.value.code, caught.value.errno) == (UNAVAILABLE, 4014)
    assert handler.runs == 1


@pytest.mark.parametrize(
    ("error", "errno"),
    [
        (RpcError(StatusCode.CANCELLED, "x"), 125),
        (RpcError(UNAVAILABLE, "x", errno=125), 4014),
        (RpcError(StatusCode.NOT_FOUND, "x", errno=2004), 4005),
        (RpcError(StatusCode.DEADLINE_EXCEEDED, "x"), 1008),
        (RpcError(StatusCode.ABORTED, "x", errno=77_001), 77_001),
        (RpcError(StatusCode.OK, "x", errno=2003), 2001),
    ],
)
def test_only_such_numbers_are_replaced(
    pair: tuple[str, Refusing], error: RpcError, errno: int
) -> None:
    target, handler = pair
    handler.error = error
    with closing(Raw(target.removeprefix("list://").partition(",")[0])) as raw:
        raw.call("Refusing.raises", b"\x90", content_type=1001)
        assert raw.reply().error_code == errno
