"""What handlers do wrong costs their own call, never a thread, a timer or another call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from libevrpc import Deferred, RpcClient, RpcError, RpcServer, ServerController, StatusCode
from libevrpc.core.prpc_encode import encode_reply, encode_request
from unit_test.fix_rpc import ECHO, WAIT_S, Raw, Serving, echo_pb2, wait_until

pytestmark = pytest.mark.live
NOTHING = b"\x90"
"""No arguments, in msgpack."""


class Clumsy:
    """Fails in ways that are easily overlooked."""

    def __init__(self) -> None:
        self.hooks_run: list[str] = []
        self.hooked_calls = 0
        self.entered = threading.Event()
        self.deferred: list[Deferred] = []

    def cancelled_task(self) -> None:
        raise asyncio.CancelledError

    def interrupted(self) -> None:
        raise KeyboardInterrupt

    def half_a_character(self) -> None:
        raise ValueError("no such file: \udcff")

    def details(self) -> None:
        raise RpcError(StatusCode.NOT_FOUND, "nothing", details={"why": 5})  # type: ignore[dict-item]

    def no_error(self) -> None:
        raise RpcError(StatusCode.OK, "nothing")

    def fields(self, controller: ServerController) -> int:
        controller.response_fields["why"] = 5  # type: ignore[assignment]
        return 1

    def deferred_nonsense(self, controller: ServerController) -> None:
        reply = controller.defer()
        assert reply.reply(object())
        assert not reply.reply(1)

    def hooked(self, controller: ServerController) -> None:
        def bad() -> None:
            self.hooks_run.append("bad")
            raise ValueError("hook failed as asked")

        controller.on_cancel(lambda: self.hooks_run.append("first set"))
        controller.on_cancel(bad)
        controller.on_disconnect("bad", bad)
        controller.on_disconnect("good", lambda: self.hooks_run.append("gone"))
        controller.defer()
        self.hooked_calls += 1
        self.entered.set()

    def ok(self) -> str:
        return "ok"


@pytest.fixture(params=[False, True], ids=["workers", "inline"])
def clumsy(request: pytest.FixtureRequest) -> Iterator[tuple[RpcServer, Clumsy]]:
    server = RpcServer("127.0.0.1:0", threads=1, workers=1)
    handler = Clumsy()
    server.add_object(handler, inline=request.param)
    with server:
        yield server, handler


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        ("cancelled_task", StatusCode.UNKNOWN, "CancelledError"),
        ("interrupted", StatusCode.UNKNOWN, "KeyboardInterrupt"),
        ("half_a_character", StatusCode.UNKNOWN, "no such file: ?"),
        ("details", StatusCode.NOT_FOUND, "nothing"),
        ("no_error", StatusCode.INTERNAL, "nothing"),
        ("fields", StatusCode.INTERNAL, "cannot be sent"),
        ("deferred_nonsense", StatusCode.INTERNAL, "object"),
    ],
)
def test_every_caller_is_answered_and_threads_go_on(
    clumsy: tuple[RpcServer, Clumsy], method: str, code: StatusCode, text: str
) -> None:
    server, _ = clumsy
    with RpcClient(server.address) as client:
        with pytest.raises(RpcError) as caught:
            client.call(f"Clumsy.{method}")
        assert caught.value.code is code
        assert text in caught.value.text
        assert client.call("Clumsy.ok") == "ok"
    assert server.statistics().failed == 1


@pytest.mark.parametrize("end", ["deadline", "disconnect"])
def test_hooks_that_raise_stop_neither_deadlines_nor_the_end(
    clumsy: tuple[RpcServer, Clumsy], end: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, handler = clumsy
    raw = Raw(server.address)
    if end == "deadline":
        while handler.hooked_calls < 2:  # the time of one may be over before a worker has it
            raw.call("Clumsy.hooked", NOTHING, 1, content_type=1001, timeout_ms=50)
            assert raw.reply().error_code == 1008
    else:
        raw.call("Clumsy.hooked", NOTHING, 1, content_type=1001, timeout_ms=0)
        assert handler.entered.wait(WAIT_S)
    raw.close()
    wait_until(lambda: not server.statistics().connections)
    wait_until(lambda: "gone" in handler.hooks_run)
    wait_until(lambda: handler.hooks_run.count("first set") == handler.hooked_calls)
    assert "hook failed as asked" in caplog.text
    assert server.statistics().in_flight == 0


def test_replies_held_back_by_us_are_no_fault_of_the_peer(serving: Serving) -> None:
    raw = serving.raw()
    raw.call("Foo.Sum", NOTHING, 1, content_type=1001)
    assert raw.reply().error_code == 0
    looked = threading.Event()

    def look() -> None:
        for shard in serving.server._shards:  # noqa: SLF001 - holding lasts a millisecond
            for session in shard.sessions:
                session._transport.hold(encode_reply(-1, b"", user_fields={"a": "b"}))  # noqa: SLF001
                session._check_timers()  # noqa: SLF001
                session._transport.flush()  # noqa: SLF001
                looked.set()

    for shard in serving.server._shards:  # noqa: SLF001
        shard.loop.post(look)
    assert looked.wait(WAIT_S)
    raw.call("Foo.Sum", NOTHING, 2, content_type=1001)
    assert raw.reply().error_code == 0
    assert serving.server.statistics().timed_out == 0


def test_first_inline_replies_leave_while_later_calls_run() -> None:
    heard = threading.Event()

    class Slow:
        """Waits in the middle of a batch."""

        calls = 0

        def echo(self, message: Any) -> Any:
            self.calls += 1
            assert self.calls != 30 or heard.wait(WAIT_S)
            return echo_pb2.EchoResponse()

    server = RpcServer("127.0.0.1:0", threads=1)
    server.add_service(Slow(), ECHO, inline=True)
    with server:
        raw = Raw(server.address)
        raw.send(
            b"".join(
                encode_request("echo.EchoService", "Echo", number, b"", timeout_ms=5000)
                for number in range(1, 41)
            )
        )
        first = [raw.reply().correlation_id for _ in range(16)]
        heard.set()
        assert first + [raw.reply().correlation_id for _ in range(24)] == list(range(1, 41))
        raw.close()


def test_amplified_inline_replies_are_bounded() -> None:
    go = threading.Event()

    class Loud:
        """Answers much, when all has arrived."""

        def echo(self, message: Any) -> Any:
            assert go.wait(WAIT_S)
            return echo_pb2.EchoResponse(response="x" * 100_000)

    server = RpcServer("127.0.0.1:0", threads=1, body_bytes_max=1 << 20, unsent_bytes_max=4 << 20)
    server.add_service(Loud(), ECHO, inline=True)
    with server:
        raw = Raw(server.address)
        frames = b"".join(
            encode_request("echo.EchoService", "Echo", number, b"", timeout_ms=5000)
            for number in range(1, 500)
        )
        # 50 MB of replies to 30 KB of requests, and nobody reads; one read gets all but the
        # first: of requests that trickle in, the server leaves unread what it cannot answer
        raw.send(frames)
        go.set()
        wait_until(lambda: server.statistics().accepted and not server.statistics().connections)
        assert raw.closed()
        raw.close()
