"""What is tried again, what never, and what ends a call that rests between its tries."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Sequence

import pytest

from libevrpc import (
    Balancer,
    ClientController,
    Endpoint,
    EndpointState,
    RpcClient,
    RpcError,
    StatusCode,
)
from libevrpc import UsageError as Misuse
from libevrpc.channel.background import acquire_loop, release_loop
from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import EndpointSet
from libevrpc.core.prpc import Request
from libevrpc.core.prpc_encode import encode_error, encode_reply
from unit_test.fix_channel import Fake
from unit_test.fix_fork import result_in_child
from unit_test.fix_net import free_port
from unit_test.fix_rpc import WAIT_S, Serving, wait_until

pytestmark = pytest.mark.live
ONE = b"\x01"
Answer = Callable[[socket.socket, Request], None]


def refuse(errno: int) -> Answer:
    return lambda sock, event: sock.sendall(encode_error(event.correlation_id, errno, "no"))


def hang_up(sock: socket.socket, event: Request) -> None:
    sock.shutdown(socket.SHUT_RDWR)


def answer(sock: socket.socket, event: Request) -> None:
    sock.sendall(encode_reply(event.correlation_id, ONE, content_type=event.content_type))


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "future"])
@pytest.mark.parametrize(
    ("first", "idempotent", "errno"),
    [
        (refuse(2003), False, 0),  # stopping: not executed
        (refuse(2004), False, 0),  # overload: not executed
        (hang_up, True, 0),  # perhaps executed, twice does no harm
        (hang_up, False, 1014),  # perhaps executed
        (refuse(2001), True, 2001),  # an answer
        (refuse(1008), True, 1008),  # no time is left
        (refuse(4005), True, 4005),  # an answer
    ],
)
def test_the_table_of_retries(
    fake: Callable[..., Fake], waiting: bool, first: Answer, idempotent: bool, errno: int
) -> None:
    second = fake(answer)
    asked = fake(first)

    class Ordered(Balancer):
        """Takes the failing server first."""

        def choose(self, ready: Sequence[EndpointState], now_s: float) -> EndpointState:
            first_ones = [each for each in ready if each.endpoint.address == asked.address]
            return first_ones[0] if first_ones else ready[0]

    controller = ClientController()
    target = f"list://{asked.address},{second.address}"
    with RpcClient(target, balancer=Ordered) as client:
        outcome = 0
        try:
            if waiting:
                client.call("Foo.x", idempotent=idempotent, controller=controller)
            else:
                client.future("Foo.x", idempotent=idempotent, controller=controller).result(WAIT_S)
        except RpcError as exc:
            outcome = exc.errno
    assert outcome == errno
    # beside calls there may be probes, where the second server takes long
    assert [each.service for each in asked.requests].count("Foo") == 1
    assert [each.service for each in second.requests].count("Foo") == (0 if errno else 1)
    assert controller.retries == (0 if errno else 1)


@pytest.mark.parametrize(
    ("percent", "floor"),
    [(0.0, 0), (0.001, 100)],  # ten a second for ten seconds
)
def test_budget_bounds_repeated_work(fake: Callable[..., Fake], percent: float, floor: int) -> None:
    busy = fake(refuse(2004))
    started_s = monotonic_s()
    with RpcClient(busy.address, retries_max=1, retry_budget_percent=percent) as client:
        for _ in range(150):
            with pytest.raises(RpcError):
                client.call("Foo.x")
    windows = 1 + int((monotonic_s() - started_s) / 9.0)  # more than one on a very busy machine
    repeated = len(busy.requests) - 150
    assert bool(floor) == bool(repeated)
    assert repeated <= floor * windows


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "future"])
def test_time_that_is_over_sends_nothing(serving: Serving, waiting: bool) -> None:
    client = serving.client()
    controller = ClientController()

    def call(timeout_s: float) -> object:
        if waiting:
            return client.call("Foo.Sum", timeout_s=timeout_s, controller=controller)
        future = client.future("Foo.Sum", timeout_s=timeout_s, controller=controller)
        return future.result(WAIT_S)

    for timeout_s in (0.0, -3.0):
        with pytest.raises(RpcError) as caught:
            call(timeout_s)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        assert controller.error_code() == 1008
    for endless in (float("inf"), float("nan"), 1e9):
        with pytest.raises(Misuse, match="a finite time"):
            call(endless)
    assert serving.server.statistics().calls == 0


def test_requests_that_are_too_long_fail_their_future(serving: Serving) -> None:
    client = serving.client(body_bytes_max=8192)
    error = client.future("Foo.Sum", "x" * 9000).exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.errno == 1003


class Broken(Balancer):
    """Fails where a user's own balancer might."""

    def finished(self, endpoint: Endpoint, now_s: float, latency_s: float, ok: bool) -> None:
        raise ZeroDivisionError("in a balancer")


def test_balancer_that_raises_fails_its_calls_alone(serve: Callable[..., Serving]) -> None:
    target = f"list://{serve().address},{serve().address}"
    with RpcClient(target, balancer=Broken) as client:
        futures = [client.future("Foo.Sum", number) for number in range(20)]
        for future in futures:
            error = future.exception(WAIT_S)
            assert isinstance(error, RpcError)
            assert error.text == "failed in the client: ZeroDivisionError: in a balancer"


class Nobody(Balancer):
    """Finds nobody good enough."""

    def pick(
        self, now_s: float, key: bytes | None = None, tried: Collection[Endpoint] = ()
    ) -> Endpoint | None:
        return None


def test_balancer_that_finds_nobody_ends_at_the_deadline(serve: Callable[..., Serving]) -> None:
    target = f"list://{serve().address},{serve().address}"
    with (
        RpcClient(target, balancer=Nobody) as client,
        pytest.raises(RpcError, match="no server of Foo is known"),
    ):
        client.call("Foo.Sum", timeout_s=0.05)


def test_future_that_rests_between_its_tries_can_be_cancelled(fake: Callable[..., Fake]) -> None:
    busy = fake(refuse(2004))
    with RpcClient(busy.address, retries_max=100, timeout_s=60.0) as client:
        future = client.future("Foo.x")
        wait_until(lambda: future._resting)  # type: ignore[attr-defined] # noqa: SLF001
        wait_until(future.cancel)
        assert isinstance(future.exception(WAIT_S), RpcError)
        assert future.cancelled()
        assert not future.cancel()


def test_closed_client_probes_no_more(fake: Callable[..., Fake]) -> None:
    dead = f"127.0.0.1:{free_port()}"
    acquire_loop()  # another client keeps the loop
    try:
        client = RpcClient(f"list://{fake(answer).address},{dead}", balancer="round_robin")
        for _ in range(4):
            client.call("Foo.x")
        router = client.route("Foo")[0]
        wait_until(lambda: router._probe_at_s < float("inf"))  # noqa: SLF001
        client.close()
        router.update(EndpointSet((Endpoint("127.0.0.1", 1),)))  # a registry that is late
        assert router.endpoints() == ()
        router._probe()  # noqa: SLF001 - as its timer would
        assert router._probe_at_s == float("inf")  # noqa: SLF001
        assert not router._channels  # noqa: SLF001
    finally:
        release_loop()


def test_child_made_while_others_call_has_a_channel_of_its_own(serving: Serving) -> None:
    client = serving.client()
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            client.call("Foo.Sum", 1)
            client.future("Foo.Sum", 2).result(WAIT_S)

    def in_child() -> int:
        results: list[int] = []
        inner = threading.Thread(target=lambda: results.append(client.call("Foo.Sum", 3)))
        inner.start()
        inner.join(WAIT_S)
        return sum(results) + int(client.future("Foo.Sum", 4).result(WAIT_S))

    callers = [threading.Thread(target=load) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(3):
        before = serving.server.statistics().calls
        wait_until(lambda before=before: serving.server.statistics().calls > before + 20)
        assert result_in_child(in_child) == 7
    ended.set()
    for caller in callers:
        caller.join(WAIT_S)
        assert not caller.is_alive()
