"""One connection: hearts that stop, servers that speak nonsense, dials that fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from libevrpc import ClientController, RpcClient, RpcError, StatusCode
from libevrpc.channel import dial as dial_module
from libevrpc.channel.call import CallFailure
from libevrpc.channel.channel import Channel
from libevrpc.channel.dial import DialTimes, dial
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.hello import GOAWAY_FIELD, HELLO_FIELD, NOTICE_ID
from libevrpc.core.prpc import Request
from libevrpc.core.prpc_encode import encode_error, encode_reply
from libevrpc.gen import internal_pb2
from libevrpc.loop.eventloop import EventLoop
from unit_test.fix_channel import LIMITS, Ends, Fake
from unit_test.fix_net import free_port
from unit_test.fix_peers import full_queue
from unit_test.fix_rpc import ECHO, WAIT_S, Serving, outlast_a_silent_peer, request, wait_until

pytestmark = pytest.mark.live
TIMES = DialTimes(resolve_s=1.0, connect_s=0.2)


def test_silent_server_is_found_dead_by_its_missed_heartbeats(fake: Callable[..., Fake]) -> None:
    def greet_then_freeze(sock: socket.socket, event: Request) -> None:
        if event.service == "echo.EchoService":
            fields = {HELLO_FIELD: "version=1;client_timeout_ms=150"}
            sock.sendall(encode_reply(NOTICE_ID, b"", user_fields=fields))

    server = fake(greet_then_freeze)
    with RpcClient(server.address, retries_max=0) as client:
        echo = client.stub(ECHO).Echo
        for call in (echo, lambda message, **more: echo.future(message, **more).result()):
            with pytest.raises(RpcError, match="stopped answering heartbeats") as caught:
                call(request("x"), timeout_s=WAIT_S)
            assert caught.value.code is StatusCode.UNAVAILABLE
    # it may read the last of them when we have hung up already
    wait_until(lambda: [each.service for each in server.requests].count("evrpc.Internal") >= 2)


def test_a_server_that_says_hello_late_hears_what_was_cancelled_before(
    fake: Callable[..., Fake],
) -> None:
    arrived = threading.Event()
    socks: list[socket.socket] = []

    def note(sock: socket.socket, event: Request) -> None:
        socks.append(sock)
        arrived.set()

    server = fake(note)
    with RpcClient(server.address, retries_max=0) as client:
        future = client.stub(ECHO).Echo.future(request("x"), timeout_s=WAIT_S)
        assert arrived.wait(WAIT_S)
        assert future.cancel()
        arrived.clear()
        fields = {HELLO_FIELD: "version=1;client_timeout_ms=30000"}
        socks[0].sendall(encode_reply(NOTICE_ID, b"", user_fields=fields))
        assert arrived.wait(WAIT_S)
    called, cancelled = server.requests
    assert (cancelled.service, cancelled.method) == ("evrpc.Internal", "Cancel")
    told = internal_pb2.CancelRequest.FromString(cancelled.payload)
    assert told.correlation_id == called.correlation_id


def test_heartbeats_keep_an_idle_connection_and_a_long_call(serve: Callable[..., Serving]) -> None:
    serving = serve(client_timeout_s=0.8)
    echo = serving.echo()
    assert echo(request("first")).response == "first"
    future = echo.future(request("hold"), timeout_s=WAIT_S)
    for _ in range(2):
        outlast_a_silent_peer(serving)
    serving.handler.release.set()
    assert future.result(WAIT_S).response == "hold"
    for _ in range(2):
        outlast_a_silent_peer(serving)
    assert serving.server.statistics().timed_out == 4
    assert echo(request("last")).response == "last"
    assert serving.server.statistics().accepted == 5


def test_garbage_from_a_server_fails_its_calls_by_name(fake: Callable[..., Fake]) -> None:
    server = fake(lambda sock, event: sock.sendall(b"GARBAGE!GARBAGE!"))
    with RpcClient(server.address, retries_max=0) as client:
        with pytest.raises(RpcError, match="begins with b'GARB'") as caught:
            client.call("Foo.x")
        assert caught.value.text.startswith(f"{server.address}: ")
        assert caught.value.errno == 2002


def test_unknown_and_late_replies_are_dropped(fake: Callable[..., Fake]) -> None:
    def answer(sock: socket.socket, event: Request) -> None:
        sock.sendall(
            encode_reply(987654, b"nobody's")
            + encode_reply(event.correlation_id, b"\x05", content_type=1001)
            + encode_reply(event.correlation_id, b"\x06", content_type=1001)
        )

    with RpcClient(fake(answer).address) as client:
        assert [client.call("Foo.x") for _ in range(3)] == [5, 5, 5]


def test_server_that_closes_fails_what_it_has_heard(fake: Callable[..., Fake]) -> None:
    server = fake(lambda sock, event: sock.shutdown(socket.SHUT_RDWR))
    with RpcClient(server.address) as client:
        with pytest.raises(RpcError, match="closed the connection") as caught:
            client.call("Foo.x")
        assert caught.value.errno == 1014
        with pytest.raises(RpcError):
            client.call("Foo.x", idempotent=True)
    assert len(server.requests) == 1 + 4


def test_goaway_sends_the_next_call_over_a_new_connection(fake: Callable[..., Fake]) -> None:
    def answer(sock: socket.socket, event: Request) -> None:
        sock.sendall(
            encode_reply(NOTICE_ID, b"", user_fields={GOAWAY_FIELD: "stopping"})
            + encode_reply(event.correlation_id, b"\x01", content_type=1001)
        )

    server = fake(answer)
    with RpcClient(server.address) as client:
        assert [client.call("Foo.x") for _ in range(3)] == [1, 1, 1]
    assert [each.user_fields is not None for each in server.requests] == [True, True, True]


def test_undecodable_replies_fail_their_call_alone(fake: Callable[..., Fake]) -> None:
    bodies = [b"\xff\xff", b""]

    def answer(sock: socket.socket, event: Request) -> None:
        sock.sendall(encode_reply(event.correlation_id, bodies.pop(0)))

    with RpcClient(fake(answer).address) as client:
        echo = client.stub(ECHO).Echo
        error = echo.future(request("x")).exception(WAIT_S)
        assert isinstance(error, RpcError)
        assert error.errno == 2002
        assert echo(request("x")).response == ""


def test_badly_compressed_reply_is_a_bad_response(fake: Callable[..., Fake]) -> None:
    def answer(sock: socket.socket, event: Request) -> None:
        sock.sendall(encode_reply(event.correlation_id, b"junk", compress_type=2))

    with RpcClient(fake(answer).address) as client:
        with pytest.raises(RpcError, match="not gzip") as caught:
            client.call("Foo.x")
        assert caught.value.errno == 2002


def test_error_replies_carry_their_metadata(fake: Callable[..., Fake]) -> None:
    def answer(sock: socket.socket, event: Request) -> None:
        sock.sendall(encode_error(event.correlation_id, 4005, "none", {"why": "gone"}))

    with RpcClient(fake(answer).address) as client:
        controller = ClientController()
        with pytest.raises(RpcError) as caught:
            client.call("Foo.x", controller=controller)
        assert caught.value.code is StatusCode.NOT_FOUND
        assert controller.response_metadata["why"] == "gone"


def test_calls_wait_for_the_connection_and_their_deadlines_hold() -> None:
    # nobody accepts, and the backlog is full: a black hole on loopback
    with (
        full_queue() as port,
        RpcClient(f"127.0.0.1:{port}", connect_timeout_s=0.3, retries_max=0) as client,
    ):
        future = client.future("Foo.x", timeout_s=0.05)
        error = future.exception(WAIT_S)
        assert isinstance(error, RpcError)
        assert error.code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE)
        with pytest.raises(RpcError):
            client.call("Foo.x", timeout_s=2.0)


def test_dial_says_why_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = dial(parse_endpoint(f"127.0.0.1:{free_port()}"), TIMES)
    assert isinstance(refused, CallFailure)
    assert not refused.sent
    assert "Connection refused" in refused.text
    missing = dial(parse_endpoint("unix:///no/such.sock"), TIMES)
    assert isinstance(missing, CallFailure)
    assert "No such file" in missing.text
    monkeypatch.setattr(dial_module, "_resolving", threading.BoundedSemaphore(1))
    dial_module._resolving.acquire()  # noqa: SLF001 - as if names were being resolved
    busy = dial(parse_endpoint("some-name.invalid:1"), TIMES)
    assert isinstance(busy, CallFailure)
    assert "are being resolved already" in busy.text


class Own(socket.socket):
    """One that the system gives the port that it dials, as it may where nobody listens there."""

    def connect(self, address: Any) -> None:
        self.bind(address)
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        self.bind(address)
        return super().connect_ex(address)


@pytest.mark.parametrize("wire", ["prpc", "mprpc"])
def test_a_socket_that_is_its_own_peer_has_met_nobody(
    monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setattr(socket, "socket", Own)
    with (
        RpcClient(address, wire=wire, retries_max=0) as client,
        pytest.raises(RpcError, match=f"{address}: cannot connect: Connection refused"),
    ):
        client.stub(ECHO).Echo(request("x"), timeout_s=WAIT_S)


def test_slow_resolver_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(*arguments: object, **more: object) -> object:
        if more.get("flags") == 0:
            release.wait(WAIT_S)
            raise socket.gaierror("the machine's own may take its time, too")
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    failed = dial(parse_endpoint("some-name.invalid:1"), DialTimes(resolve_s=0.05, connect_s=0.1))
    assert isinstance(failed, CallFailure)
    assert "no answer within 0.05 s" in failed.text
    release.set()


def test_idle_connection_notices_its_end(serve: Callable[..., Serving]) -> None:
    serving = serve(idle_timeout_s=0.2)
    client = serving.client()
    assert client.call("Foo.Sum", 1) == 1
    wait_until(lambda: serving.server.statistics().connections == 0)
    assert client.call("Foo.Sum", 2) == 2
    assert client.future("Foo.Sum", 3).result(WAIT_S) == 3


def test_a_call_that_is_on_its_way_at_the_end_of_idleness_is_answered(
    serve: Callable[..., Serving],
) -> None:
    serving = serve(idle_timeout_s=0.1)
    client = serving.client(retries_max=0)
    assert client.call("Foo.Sum", 1) == 1
    held = threading.Event()
    loop = client.route("Foo")[0]._loop  # noqa: SLF001
    loop.post(lambda: held.wait(WAIT_S))  # it reads nothing until then
    wait_until(lambda: serving.server.statistics().timed_out)
    future = client.future("Foo.Sum", 2)
    wait_until(lambda: serving.server.statistics().calls == 2)
    held.set()
    assert future.result(WAIT_S) == 2


def test_what_is_called_before_the_socket_is_there_waits_for_it(ends: Ends) -> None:
    future, done = ends.future()
    ends.connection.start(future, b"frame")
    late, expired = ends.future(timeout_s=0.02)
    ends.connection.start(late, b"never sent")
    assert expired.wait(WAIT_S)
    assert late.failure is not None
    refusal = ends.connection.send_oneway(b"one too many")
    assert refusal is not None
    assert refusal.errno == 1011
    ends.connection.connected(ends.near)
    assert ends.far.recv(100) == b"frame"
    ends.far.sendall(encode_reply(future.correlation_id, b"ok"))
    assert done.wait(WAIT_S)
    assert future.reply is not None


def test_more_than_the_socket_takes_is_refused(ends: Ends) -> None:
    first, first_done = ends.future()
    ends.connection.start(first, b"x" * 2000)
    ends.connection.connected(ends.near)
    assert first_done.wait(WAIT_S)
    assert first.failure is not None
    assert (first.failure.errno, first.failure.sent) == (1011, False)
    while ends.connection.send_oneway(b"x" * 900) is None:
        pass
    call = ends.call()
    ends.connection.run(call, b"x" * 900)
    assert call.failure is not None
    assert call.failure.errno == 1011


def test_calls_over_the_limit_are_refused(ends: Ends) -> None:
    for _ in range(2):
        ends.connection.start(ends.future()[0], b"x")
    assert ends.connection.in_flight == 2
    call = ends.call()
    ends.connection.run(call, b"x")
    assert call.failure is not None
    assert call.failure.errno == 2004


def test_connection_closed_while_it_is_dialled_fails_what_waits(ends: Ends) -> None:
    future, done = ends.future()
    ends.connection.start(future, b"x")
    ends.connection.close("changed my mind")
    assert done.wait(WAIT_S)
    assert future.failure is not None
    assert not future.failure.sent
    assert ends.downs == [ends.connection]
    ends.connection.connected(ends.near)
    call = ends.call()
    ends.connection.run(call, b"x")
    assert call.failure is not None
    assert not call.failure.sent
    late, _ = ends.future()
    ends.connection.start(late, b"x")
    wait_until(lambda: late.done)
    assert ends.far.recv(10) == b""


def test_retired_connection_ends_with_its_last_call(ends: Ends) -> None:
    future, done = ends.future()
    ends.connection.start(future, b"x")
    ends.connection.connected(ends.near)
    assert ends.far.recv(10) == b"x"
    ends.connection.retire()
    assert ends.connection.down is None
    ends.far.sendall(encode_reply(future.correlation_id, b""))
    assert done.wait(WAIT_S)
    assert ends.far.recv(10) == b""
    assert ends.connection.down is not None
    other = Ends(ends.connection._loop)  # noqa: SLF001 - the same loop
    other.connection.retire()
    assert other.connection.down is not None
    other.close()
    other.near.close()


def test_done_calls_cannot_be_cancelled(ends: Ends) -> None:
    future, done = ends.future()
    ends.connection.start(future, b"x")
    assert ends.connection.cancel(future)
    assert done.wait(WAIT_S)
    assert not ends.connection.cancel(future)


def test_ended_loop_still_tells_futures(ends: Ends, loop: EventLoop) -> None:
    future, done = ends.future()
    ends.connection.start(future, b"x")
    loop.stop(WAIT_S)
    ends.connection.connected(ends.near)
    assert done.wait(WAIT_S)
    assert future.failure is not None


def test_follower_is_promoted_when_the_reader_leaves(ends: Ends) -> None:
    ends.connection.connected(ends.near)
    assert ends.connection.send_oneway(b"hi") is None
    assert ends.far.recv(10) == b"hi"
    calls = [ends.call(), ends.call()]
    threads = [threading.Thread(target=ends.connection.run, args=(call, b"x")) for call in calls]
    for thread in threads:
        thread.start()
    wait_until(lambda: ends.connection.in_flight == 2)
    for call in calls:
        ends.far.sendall(encode_reply(call.correlation_id, b"r"))
    for thread in threads:
        thread.join(WAIT_S)
    assert all(call.reply is not None for call in calls)


def test_channel_dials_again_after_an_end_and_when_retired(serving: Serving) -> None:
    loop = EventLoop("channel-test")
    loop.start()
    downs: list[int] = []
    channel = Channel(parse_endpoint(serving.address), loop, LIMITS, TIMES, lambda: downs.append(1))
    first = channel.connection()
    assert channel.connection() is first
    channel.retire()
    assert first.down is not None
    second = channel.connection()
    assert second is not first
    channel.close("done")
    channel.close("twice")
    channel.retire()
    assert len(downs) == 1  # retiring is our own wish
    wait_until(lambda: serving.server.statistics().connections == 0)
    loop.stop(WAIT_S)
