"""Calls as their callers see them: results, errors, deadlines, futures, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

import pytest

from libevrpc import (
    Balancer,
    CallFuture,
    ClientController,
    ConfigError,
    RpcClient,
    RpcError,
    ServerController,
    StatusCode,
    UsageError,
)
from libevrpc.core.balancers import RandomBalancer
from unit_test.fix_fork import result_in_child
from unit_test.fix_net import free_port
from unit_test.fix_rpc import ECHO, WAIT_S, Foo, Serving, request, wait_until

pytestmark = pytest.mark.live


def code_of(call: Callable[[], object]) -> tuple[StatusCode, int]:
    with pytest.raises(RpcError) as caught:
        call()
    return caught.value.code, caught.value.errno


def test_stub_calls_by_proto_name(serving: Serving) -> None:
    stub = serving.client().stub(ECHO)
    assert stub.Echo(request("hi")).response == "hi"
    with pytest.raises(AttributeError, match="no method 'Ech'; methods: Echo"):
        _ = stub.Ech
    with pytest.raises(UsageError, match=r"takes an echo.EchoRequest, not a str"):
        stub.Echo("hi")


def test_errors_carry_status_number_and_text(serving: Serving) -> None:
    client = serving.client()
    echo = client.stub(ECHO).Echo
    assert code_of(lambda: echo(request("raise"))) == (StatusCode.UNKNOWN, 2001)
    assert code_of(lambda: client.call("Foo.nope")) == (StatusCode.UNIMPLEMENTED, 1002)
    assert code_of(lambda: client.call("Nope.x")) == (StatusCode.UNIMPLEMENTED, 1001)
    assert code_of(lambda: client.call("Foo.who", 1)) == (StatusCode.INVALID_ARGUMENT, 1003)
    assert code_of(lambda: client.call("Foo.Sum", {1, 2})) == (StatusCode.INVALID_ARGUMENT, 1003)
    with pytest.raises(UsageError, match="write pkg.Service/Method"):
        client.call("Foo")


def test_plain_objects_by_position_and_keyword(serving: Serving) -> None:
    client = serving.client()
    assert client.call("Foo.Sum", 1, 2) == 3
    assert client.call("Foo/Sum", 1, 2, scale=2) == 6
    assert client.call("Foo.Sum", content_type=1) == 0
    assert client.future("Foo.Sum", 4).result(WAIT_S) == 4
    client.oneway("Foo.Sum", 1)


def test_deadline_ends_the_call_and_cancels_the_handler(serving: Serving) -> None:
    echo = serving.echo()
    while not serving.handler.entered.is_set():  # its time may be over before a worker has it
        outcome = code_of(lambda: echo(request("until cancelled"), timeout_s=0.05))
        assert outcome == (StatusCode.DEADLINE_EXCEEDED, 1008)
    assert serving.handler.cancelled.wait(WAIT_S)
    future = echo.future(request("until cancelled"), timeout_s=0.05)
    error = future.exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.DEADLINE_EXCEEDED


def test_followers_keep_their_deadlines_and_their_replies(serving: Serving) -> None:
    echo = serving.echo()
    results: list[object] = []

    def call(text: str, timeout_s: float) -> None:
        try:
            results.append(echo(request(text), timeout_s=timeout_s).response)
        except RpcError as exc:
            results.append(exc.code)

    leader = threading.Thread(target=call, args=("hold", WAIT_S))
    leader.start()
    assert serving.handler.entered.wait(WAIT_S)
    short = threading.Thread(target=call, args=("until cancelled", 0.05))
    short.start()
    short.join(WAIT_S)
    assert echo(request("beside")).response == "beside"
    serving.handler.release.set()
    leader.join(WAIT_S)
    assert results == [StatusCode.DEADLINE_EXCEEDED, "hold"]


def test_futures_report_once_and_run_callbacks(serving: Serving) -> None:
    echo = serving.echo()
    seen: list[CallFuture] = []
    futures = [echo.future(request(str(number))) for number in range(200)]
    for future in futures:
        future.add_done_callback(seen.append)
    assert [future.result(WAIT_S).response for future in futures] == [str(n) for n in range(200)]
    wait_until(lambda: len(seen) == 200)
    futures[0].add_done_callback(seen.append)
    assert len(seen) == 201
    assert futures[0].done()
    assert not futures[0].cancel()
    assert not futures[0].cancelled()


def test_callback_that_raises_is_logged(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    def bad(future: CallFuture) -> None:
        done.set()
        raise ValueError("in a callback")

    serving.echo().future(request("x")).add_done_callback(bad)
    assert done.wait(WAIT_S)
    wait_until(lambda: "in a callback" in caplog.text)


def test_callbacks_may_call_on_but_not_wait(serving: Serving) -> None:
    echo = serving.echo()
    outcomes: list[object] = []
    done = threading.Event()

    def then(future: CallFuture) -> None:
        for wait in (lambda: echo(request("x")), lambda: echo.future(request("y")).result()):
            try:
                wait()
            except UsageError as exc:
                outcomes.append(str(exc))
        echo.future(request("on")).add_done_callback(
            lambda next_one: (outcomes.append(next_one.result().response), done.set())
        )

    future = echo.future(request("hold"))
    future.add_done_callback(then)
    serving.handler.release.set()
    assert done.wait(WAIT_S)
    assert "use .future" in str(outcomes[0])
    assert "add_done_callback" in str(outcomes[1])
    assert outcomes[2] == "on"


def test_cancel_ends_the_future_and_tells_the_server(serving: Serving) -> None:
    echo = serving.echo()
    echo(request("greet first"))
    future = echo.future(request("until cancelled"))
    assert serving.handler.entered.wait(WAIT_S)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    assert future.cancel()
    error = future.exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.CANCELLED
    assert future.cancelled()
    assert serving.handler.cancelled.wait(WAIT_S)


def test_controller_sends_and_tells(serving: Serving) -> None:
    echo = serving.echo()
    controller = ClientController()
    controller.metadata = {"who": "me"}
    controller.attachment = b"raw"
    controller.log_id = 7
    controller.compress_type = 2
    assert echo(request("x" * 1000), controller=controller).response == "x" * 1000
    assert not controller.failed()
    assert (controller.error_code(), controller.error_text()) == (0, "")
    assert controller.code() is StatusCode.OK
    assert controller.peer == serving.address
    assert controller.latency_s > 0
    with pytest.raises(RpcError):
        echo(request("raise"), controller=controller)
    assert controller.failed()
    assert controller.error_code() == 2001
    assert controller.error_text() == "ValueError: as asked"
    assert controller.response_metadata["grpc-status"] == "2"
    assert controller.code() is StatusCode.UNKNOWN


@pytest.mark.parametrize(
    "settings", [{"compress": "gzip"}, {"compress": "zlib"}, {"checksum": True}]
)
def test_every_request_may_be_compressed_or_checked(
    serving: Serving, settings: dict[str, object]
) -> None:
    assert serving.echo(**settings)(request("x" * 100)).response == "x" * 100


def test_requests_that_are_too_long_are_refused_before_they_are_sent(serving: Serving) -> None:
    echo = serving.echo(body_bytes_max=8192)
    assert code_of(lambda: echo(request("x" * 9000))) == (StatusCode.INVALID_ARGUMENT, 1003)
    assert serving.handler.calls == []


def test_calls_over_the_connection_limit_fail_at_once(serving: Serving) -> None:
    echo = serving.echo(calls_per_connection_max=1, retries_max=0)
    held = echo.future(request("hold"))
    assert serving.handler.entered.wait(WAIT_S)
    assert code_of(lambda: echo(request("x")))[1] == 2004
    error = echo.future(request("x")).exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.errno == 2004
    serving.handler.release.set()
    assert held.result(WAIT_S).response == "hold"


def test_unreachable_server_is_an_error_with_its_reason() -> None:
    with RpcClient(f"127.0.0.1:{free_port()}", timeout_s=2.0) as client:
        with pytest.raises(RpcError, match="Connection refused"):
            client.call("Foo.Sum")
        client.oneway("Foo.Sum")  # nobody learns what becomes of it
        assert isinstance(client.future("Foo.Sum").exception(WAIT_S), RpcError)
    with (
        RpcClient("no-such-host.invalid:1", timeout_s=3 * WAIT_S) as client,
        pytest.raises(RpcError, match="cannot resolve"),
    ):
        client.call("Foo.Sum")


def test_names_resolve_and_every_address_is_tried(serving: Serving) -> None:
    port = serving.address.rpartition(":")[2]
    # localhost may mean ::1 too, where nobody listens
    assert serving.client(f"localhost:{port}").call("Foo.Sum", 1) == 1


def test_restarted_server_is_found_again(serve: Callable[..., Serving]) -> None:
    from libevrpc import RpcServer

    first = serve(listen=f"127.0.0.1:{free_port()}")  # nobody else is given it meanwhile
    client = first.client()
    assert client.call("Foo.Sum", 1) == 1
    first.server.stop()
    second = RpcServer(first.address)
    second.add_object(Foo())
    with second:
        assert client.call("Foo.Sum", 2) == 2
        assert client.future("Foo.Sum", 3).result(WAIT_S) == 3


def test_killed_connection_fails_what_is_not_idempotent(serving: Serving) -> None:
    echo = serving.echo()
    results: list[object] = []

    def call() -> None:
        try:
            results.append(echo(request("hold"), idempotent=False))
        except RpcError as exc:
            results.append(exc.code)

    caller = threading.Thread(target=call)
    caller.start()
    assert serving.handler.entered.wait(WAIT_S)
    for shard in serving.server._shards:  # noqa: SLF001 - a cut as the network would make it
        for session in list(shard.sessions):
            session.close("cut by the test")
    caller.join(WAIT_S)
    assert results == [StatusCode.UNAVAILABLE]


def test_closed_client_fails_its_calls_and_refuses_new_ones(serving: Serving) -> None:
    client = serving.client()
    echo = client.stub(ECHO).Echo
    future = echo.future(request("hold"))
    assert serving.handler.entered.wait(WAIT_S)
    client.close()
    client.close()
    assert isinstance(future.exception(WAIT_S), RpcError)
    with pytest.raises(UsageError, match="closed"):
        echo(request("x"))


def test_many_threads_share_one_client(serving: Serving) -> None:
    echo = serving.echo()
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(200):
            text = f"{name}-{number}"
            if echo(request(text)).response != text:
                wrong.append(text)
            if number % 10 == 0 and echo.future(request(text)).result(WAIT_S).response != text:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_forked_child_calls_on_connections_of_its_own(serving: Serving) -> None:
    client = serving.client()
    assert client.call("Foo.Sum", 1) == 1
    assert result_in_child(lambda: client.call("Foo.Sum", 1, 1)) == 2
    assert client.call("Foo.Sum", 3) == 3


@pytest.mark.parametrize(
    ("target", "settings", "text"),
    [
        ("", {}, "empty"),
        ("host", {}, "no port"),
        ("ftp://a:1", {}, "ftp"),
        ("a:1", {"balancer": "fair"}, "fair"),
        ("a:1", {"balancer": RandomBalancer(Random())}, "object of RandomBalancer: .*a subclass"),
        ("a:1", {"balancer": 5}, "an object of int: must be one of p2c, "),
        ("a:1", {"balancer": int}, "the class int: must be one of p2c, "),
        ("a:1", {"timeout_s": -1.0}, "timeout_s"),
        ("a:1", {"timeouts": 1}, "no such setting"),
        ("a:1", {"client_timeout_s": 9.0}, "no such setting"),  # each server has its own
    ],
)
def test_bad_targets_and_settings_are_one_clear_line(
    target: str, settings: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        RpcClient(target, **settings)  # type: ignore[arg-type]


def test_own_balancer_may_be_given(serving: Serving) -> None:
    class Mine(Balancer):
        """Chooses as the base does."""

    assert serving.client(balancer=Mine).call("Foo.Sum", 1) == 1


def test_oneway_calls_before_a_close_arrive(serve: Callable[..., Serving]) -> None:
    serving = serve()
    for number in range(10):
        with RpcClient(serving.address) as client:
            client.stub(ECHO).Echo.oneway(request(str(number)))
    wait_until(lambda: len(serving.handler.calls) == 10)


def test_long_compressed_replies_reach_futures_inflated(serve: Callable[..., Serving]) -> None:
    class Zeros:
        def many(self, controller: ServerController) -> bytes:
            controller.compress_type = 2
            return bytes(8 << 20)

    serving = serve()
    serving.server.add_object(Zeros())
    client = serving.client()
    futures = [client.future("Zeros.many", timeout_s=WAIT_S) for _ in range(3)]
    assert [len(each.result(WAIT_S)) for each in futures] == [8 << 20] * 3
    tight = serving.client(inflated_bytes_max=1 << 20)
    with pytest.raises(RpcError, match="inflate") as caught:
        tight.future("Zeros.many").result(WAIT_S)
    assert caught.value.errno == 2002
