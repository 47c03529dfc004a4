"""Futures of calls among other futures: `concurrent.futures`, and asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures as standard
from pathlib import Path
from typing import Any

import pytest

from libevrpc import CallFuture, RpcClient, RpcError, StatusCode
from libevrpc.client.invocation import Invocation
from libevrpc.client.started import FutureInvocation
from unit_test.fix_rpc import WAIT_S, Serving, request

pytestmark = pytest.mark.live


@pytest.fixture
def start(serving: Serving) -> Callable[..., CallFuture]:
    """Give a function that starts a call: "hold" until released, "raise", or any text."""
    echo = serving.echo()
    return lambda text, **more: echo.future(request(text), timeout_s=WAIT_S, **more)


Start = Callable[..., CallFuture]


def test_all_are_waited_for_whatever_their_ends(start: Start, serving: Serving) -> None:
    held, failing, done = start("hold"), start("raise"), start("done")
    done.result(WAIT_S)
    over, under_way = standard.wait([held, failing, done], return_when=standard.FIRST_EXCEPTION)
    assert failing in over
    assert held in under_way
    assert standard.wait([held, done], 0.0) == ({done}, {held})
    serving.handler.release.set()
    assert standard.wait([held, failing, done], WAIT_S) == ({held, failing, done}, set())
    assert held.result().response == "hold"


def test_they_come_as_they_are_completed(start: Start, serving: Serving) -> None:
    held = start("hold")
    texts = []
    for future in standard.as_completed([held, *(start(str(n)) for n in range(20))], WAIT_S):
        texts.append(future.result().response)
        if len(texts) == 20:
            serving.handler.release.set()
    assert texts[-1] == "hold"
    assert sorted(texts[:-1]) == sorted(str(n) for n in range(20))


def test_a_cancelled_one_counts_as_done(start: Start, serving: Serving) -> None:
    held = start("hold")
    assert serving.handler.entered.wait(WAIT_S)
    assert held.running()
    waited: list[Any] = []
    waits = threading.Thread(target=lambda: waited.append(standard.wait([held], WAIT_S)))
    waits.start()
    assert held.cancel()
    waits.join(WAIT_S)
    assert waited == [({held}, set())]
    assert held.cancelled()
    assert not held.running()
    assert "CANCELLED" in repr(held)


def test_who_looks_while_they_end_misses_none(start: Start) -> None:
    """Many calls that end while many threads begin to wait for them."""
    rounds, failures = 30, []

    def wait_for(calls: list[CallFuture]) -> None:
        over, under_way = standard.wait(calls, WAIT_S)
        if under_way or len(over) != len(calls):
            failures.append(under_way)

    for _ in range(rounds):
        calls = [start("x") for _ in range(16)]
        threads = [threading.Thread(target=wait_for, args=(calls,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(calls)
        for thread in threads:
            thread.join()
    assert not failures


def test_waiting_has_a_limit_by_either_name(start: Start) -> None:
    held = start("hold")
    for given in ({"timeout_s": 0.01}, {"timeout": 0.01}):
        with pytest.raises(TimeoutError):
            held.result(**given)
        with pytest.raises(TimeoutError):
            held.exception(**given)
    with pytest.raises(TimeoutError):
        held.result(0.01)
    assert repr(held) == "<FutureInvocation pending>"


def test_waits_that_were_in_vain_leave_nothing(start: Start, serving: Serving) -> None:
    held = start("hold")
    held.add_done_callback(lambda _: serving.handler.entered.clear())
    for _ in range(10):
        with pytest.raises(TimeoutError):
            held.result(timeout_s=0.0)
    assert len(vars(held)["_callbacks"]) == 1
    serving.handler.release.set()
    assert held.result(WAIT_S).response == "hold"


def test_nobody_else_ends_a_call(start: Start) -> None:
    future = start("x")
    for end in (future.set_result, future.set_exception):
        with pytest.raises(standard.InvalidStateError):
            end(None)
    assert future.result(WAIT_S).response == "x"
    assert repr(future) == "<FutureInvocation finished>"


def test_coroutines_await_calls(start: Start) -> None:
    async def run() -> list[str]:
        first = await start("first")
        rest = await asyncio.gather(*(start(str(n)) for n in range(10)))
        wrapped = await asyncio.wrap_future(start("wrapped"))
        with pytest.raises(RpcError, match="as asked"):
            await start("raise")
        return [each.response for each in (first, *rest, wrapped)]

    assert asyncio.run(run()) == ["first", *(str(n) for n in range(10)), "wrapped"]


def test_a_task_that_is_cancelled_cancels_its_call(start: Start, serving: Serving) -> None:
    async def run() -> CallFuture:
        future = start("until cancelled")
        task = asyncio.ensure_future(asyncio.wrap_future(future))
        await asyncio.to_thread(serving.handler.entered.wait, WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return future

    future = asyncio.run(run())
    error = future.exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.CANCELLED
    assert serving.handler.cancelled.wait(WAIT_S)


def test_a_call_that_was_given_up_ends_who_awaits_it(start: Start, serving: Serving) -> None:
    async def run() -> None:
        future = start("hold")
        waiting = asyncio.wrap_future(future)
        await asyncio.to_thread(serving.handler.entered.wait, WAIT_S)
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())


def test_one_that_is_cancelled_while_it_starts_is_cancelled(
    start: Start, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread cancels a call whose request is just about to be sent."""
    frame_of = vars(Invocation)["_frame"]

    def framed(self: FutureInvocation, *args: Any) -> Any:
        frame = frame_of(self, *args)
        self.cancel()
        return frame

    monkeypatch.setattr(FutureInvocation, "_frame", framed)
    error = start("hold").exception(WAIT_S / 2)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.CANCELLED
    assert not serving.handler.release.is_set()


def test_one_that_is_cancelled_as_it_begins_to_wait_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another thread cancels a call that has just found that no server is known."""
    next_channel = vars(Invocation)["_next_channel"]

    def found(self: FutureInvocation) -> Any:
        channel = next_channel(self)
        assert channel is None
        self.cancel()
        return channel

    monkeypatch.setattr(FutureInvocation, "_next_channel", found)
    with RpcClient(f"file://{tmp_path}/none", state_dir=str(tmp_path)) as client:
        error = client.future("Foo.Sum", [1], timeout_s=WAIT_S).exception(WAIT_S / 2)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.CANCELLED
