"""Connections that are left: by their server, by the registry, by their client, by Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError, StatusCode
from libevrpc.channel import dial as dial_module
from libevrpc.channel.call import CallFailure, ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.connection import Connection
from libevrpc.channel.dial import DialTimes, dial, dial_in_background
from libevrpc.channel.wire import ClientConnection
from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.core.hello import GOAWAY_FIELD, HELLO_FIELD, NOTICE_ID
from libevrpc.core.prpc import Reply
from libevrpc.core.prpc_encode import encode_reply, encode_request
from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop
from unit_test.fix_channel import LIMITS, Ends, Fake
from unit_test.fix_rpc import WAIT_S, Serving, wait_until

pytestmark = pytest.mark.live
TIMES = DialTimes(resolve_s=1.0, connect_s=1.0)


def goaway(sock: socket.socket) -> None:
    sock.sendall(encode_reply(NOTICE_ID, b"", user_fields={GOAWAY_FIELD: "stopping"}))


def test_closed_client_ends_calls_on_a_connection_that_was_said_goodbye_on(
    fake: Callable[..., Fake],
) -> None:
    server = fake(lambda sock, event: goaway(sock))  # and never answers
    with RpcClient("127.0.0.1:9", timeout_s=60.0), RpcClient(server.address) as client:
        future = client.future("Foo.x", timeout_s=60.0)
        wait_until(lambda: server.requests)
        route = client.route("Foo")[0]
        wait_until(lambda: route.pick(None, (), 0.0)[1]._left)  # type: ignore[index] # noqa: SLF001
        client.close()
        error = future.exception(WAIT_S)
    assert isinstance(error, RpcError)
    assert error.code is StatusCode.UNAVAILABLE


def test_channel_ends_with_the_connections_it_has_left(
    fake: Callable[..., Fake], loop: EventLoop
) -> None:
    server = fake(lambda sock, event: goaway(sock))
    downs: list[int] = []
    channel = Channel(parse_endpoint(server.address), loop, LIMITS, TIMES, lambda: downs.append(1))
    assert channel.ended
    done = threading.Event()
    first = channel.connection()
    call = ClientCall(first.next_id(), monotonic_s() + WAIT_S, lambda call: done.set())
    frame = encode_request("Foo", "x", call.correlation_id, b"", timeout_ms=1000)
    first.start(call, frame)
    wait_until(lambda: first.going_away)
    assert not channel.ended
    assert channel.connection() is not first
    channel.close("closed by the test")
    assert done.wait(WAIT_S)
    assert call.failure is not None
    assert call.failure.text == "closed by the test"
    assert channel.ended
    assert first.down is not None
    assert len(downs) == 2  # the goodbye, and the second connection's end


@pytest.mark.parametrize("replaced", [False, True])
def test_a_channel_that_closes_ends_what_is_just_being_left(
    fake: Callable[..., Fake], loop: EventLoop, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    said, goes_on = threading.Event(), threading.Event()
    forget = Channel._forget  # noqa: SLF001

    def late(channel: Channel, connection: ClientConnection) -> None:
        if connection.down is None:  # the goodbye was heard, and nobody has been told yet
            said.set()
            goes_on.wait(WAIT_S)
        forget(channel, connection)

    monkeypatch.setattr(Channel, "_forget", late)
    server = fake(lambda sock, event: goaway(sock))
    channel = Channel(parse_endpoint(server.address), loop, LIMITS, TIMES)
    done = threading.Event()
    first = channel.connection()
    call = ClientCall(first.next_id(), monotonic_s() + WAIT_S, lambda call: done.set())
    frame = encode_request("Foo", "x", call.correlation_id, b"", timeout_ms=1000)
    first.start(call, frame)
    assert said.wait(WAIT_S)
    if replaced:
        assert channel.connection() is not first
    assert not channel.ended
    channel.close("closed by the test")
    assert first.down is not None
    goes_on.set()
    assert done.wait(WAIT_S)
    assert call.failure is not None
    assert call.failure.text == "closed by the test"
    assert channel.ended


@pytest.mark.parametrize("way", ["deadline", "cancel"])
def test_left_connection_closes_when_its_last_call_is_given_up(ends: Ends, way: str) -> None:
    ends.connection.connected(ends.near)
    wait_until(lambda: ends.connection.open)  # from then on what is started is sent at once
    future, done = ends.future(timeout_s=0.05 if way == "deadline" else WAIT_S)
    ends.connection.start(future, b"x")
    assert ends.far.recv(10) == b"x"
    ends.connection.retire()
    if way == "cancel":
        assert ends.connection.down is None
        assert ends.connection.cancel(future)
    assert done.wait(WAIT_S)
    assert ends.far.recv(10) == b""
    assert ends.connection.down is not None


def test_call_that_meets_a_goodbye_was_not_sent(ends: Ends) -> None:
    held, _ = ends.future()
    ends.connection.start(held, b"x")
    ends.connection.connected(ends.near)
    assert ends.far.recv(10) == b"x"
    ends.connection.retire()
    late = ends.call()  # its caller was given this connection just before
    ends.connection.run(late, b"y")
    assert late.failure is not None
    assert (late.failure.errno, late.failure.sent) == (2003, False)
    assert ends.connection.down is None


@pytest.mark.parametrize("way", ["call", "future"])
def test_call_that_meets_the_end_of_idleness_takes_a_new_connection(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    client = serving.client(retries_max=0)
    assert client.call("Foo.Sum", 1) == 1
    say_at_next_launch(monkeypatch, "idle")
    if way == "call":
        assert client.call("Foo.Sum", 2) == 2
    else:
        assert client.future("Foo.Sum", 2).result(WAIT_S) == 2
    say_at_next_launch(monkeypatch, "stopping")
    with pytest.raises(RpcError, match="takes no more calls"):
        client.call("Foo.Sum", 3)


def test_call_that_meets_it_again_is_not_renewed_for_ever(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serving.client(retries_max=0)
    say_at_next_launch(monkeypatch, "idle", "idle")
    with pytest.raises(RpcError, match="takes no more calls"):
        client.call("Foo.Sum", 1)
    assert client.call("Foo.Sum", 2) == 2


def say_at_next_launch(monkeypatch: pytest.MonkeyPatch, *reasons: str) -> None:
    """Have the server's goodbye arrive just when a call was about to be sent, once for each."""
    launch, left = Connection._launch, [*reasons]  # noqa: SLF001

    def late(self: Connection, call: ClientCall, frame: bytes) -> bool:
        if left:
            fields = {GOAWAY_FIELD: left.pop()}
            self._hear(Reply(NOTICE_ID, 0, "", b"", user_fields=fields), 0.0)
        return launch(self, call, frame)

    monkeypatch.setattr(Connection, "_launch", late)


def test_hello_is_said_by_another_call_if_the_first_was_never_sent(ends: Ends) -> None:
    ends.connection.greet = False  # the first call carries it
    first, expired = ends.future(timeout_s=0.02)
    ends.connection.start(first, b"hello")
    assert expired.wait(WAIT_S)
    ends.connection.connected(ends.near)
    wait_until(lambda: ends.connection.greet)
    fields = {HELLO_FIELD: "version=1;client_timeout_ms=5000"}
    ends.far.sendall(encode_reply(NOTICE_ID, b"", user_fields=fields))
    wait_until(lambda: ends.connection._upkeep.greeted)  # noqa: SLF001
    ends.connection.greet = False
    ends.connection.close("end")
    ends.connection.run(ends.call(), b"x")
    assert not ends.connection.greet


@pytest.fixture
def interrupt() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Give a function that interrupts this thread, as Ctrl-C does, once something holds."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    threads: list[threading.Thread] = []
    main = threading.main_thread()

    def asleep() -> bool:
        frame = sys._current_frames()[main.ident or 0]  # noqa: SLF001 - no public way
        status = Path(f"/proc/self/task/{main.native_id}/stat").read_text()
        waits = status.rpartition(")")[2].split()[0] == "S"
        return waits and frame.f_code.co_name in ("_follow", "_lead")

    def when(holds: Callable[[], object]) -> None:
        def work() -> None:
            wait_until(holds)
            wait_until(asleep)
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield when
    for thread in threads:
        thread.join(WAIT_S)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("place", ["follower", "promoted follower", "leader"])
def test_interrupted_caller_is_handed_no_baton(
    ends: Ends, interrupt: Callable[..., None], place: str
) -> None:
    connection = ends.connection
    connection.connected(ends.near)
    assert connection.send_oneway(b"hi") is None
    assert ends.far.recv(10) == b"hi"
    other = ends.call()
    reader = threading.Thread(target=connection.run, args=(other, b"1"))
    if place != "leader":
        reader.start()
        wait_until(lambda: connection.in_flight == 1)
    call = ends.call()
    waits_for = 1 if place == "leader" else 2

    def ready() -> bool:
        if connection.in_flight != waits_for:
            return False
        if place == "promoted follower" and not other.done:
            ends.far.sendall(encode_reply(other.correlation_id, b""))  # its reader leaves
            wait_until(lambda: connection._reader is call)  # noqa: SLF001
        return True

    interrupt(ready)
    with pytest.raises(KeyboardInterrupt):
        connection.run(call, b"2")
    if place == "leader":
        reader.start()
    wait_until(lambda: connection.in_flight == (0 if place == "promoted follower" else 1))
    ends.far.sendall(encode_reply(call.correlation_id, b"nobody waits"))
    ends.far.sendall(encode_reply(other.correlation_id, b"heard"))
    reader.join(WAIT_S)
    assert other.reply is not None
    last = ends.call()

    def answer() -> None:
        wait_until(lambda: connection.in_flight == 1)
        ends.far.sendall(encode_reply(last.correlation_id, b""))

    answering = threading.Thread(target=answer)
    answering.start()
    connection.run(last, b"3")
    answering.join()
    assert last.reply is not None


def test_system_without_threads_fails_the_dial_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[object] = []

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    dial_in_background(parse_endpoint("127.0.0.1:9"), TIMES, outcomes.append)
    assert isinstance(outcomes[0], CallFailure)
    assert "can't start new thread" in outcomes[0].text
    assert not outcomes[0].sent
    for _ in range(dial_module._RESOLVERS_MAX + 1):  # noqa: SLF001 - none is kept
        failed = dial(parse_endpoint("some-name.invalid:1"), TIMES)
        assert isinstance(failed, CallFailure)
        assert "can't start new thread" in failed.text


STORM = """
import contextlib, signal, sys, threading
from libevrpc import RpcClient, RpcError

class Interrupt(BaseException):
    pass

def raise_it(number, frame):
    if armed:
        armed.clear()
        raise Interrupt

def beside():
    while not ended.is_set():
        with contextlib.suppress(RpcError):  # its connection ended with an interrupted caller
            client.call("Foo.Sum", 1, timeout_s=1.0)

armed = []
lost = 0
ended = threading.Event()
client = RpcClient(sys.argv[1])
others = [threading.Thread(target=beside, daemon=True) for _ in range(3)]
signal.signal(signal.SIGALRM, raise_it)
for other in others:
    other.start()
for _ in range(300):
    try:
        armed.append(True)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        while armed:
            with contextlib.suppress(RpcError):
                client.call("Foo.Sum", 1, timeout_s=1.0)
        lost += 1  # raised where nobody can be told, as when an object is freed
    except Interrupt:
        pass
ended.set()
for other in others:
    other.join(5.0)
assert not any(other.is_alive() for other in others)
assert lost < 30, lost
assert client.call("Foo.Sum", 1, 2) == 3
client.close()
"""


def test_callers_interrupted_anywhere_hang_nobody(serve: Callable[..., Serving]) -> None:
    # in a process without coverage, whose own locks an interrupt would leave locked
    environ = {name: each for name, each in os.environ.items() if not name.startswith("COVERAGE")}
    words = [sys.executable, "-c", STORM, serve().address]
    done = subprocess.run(
        words, env=environ, capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr


def test_call_that_races_the_end_of_its_client_dials_nobody(loop: EventLoop) -> None:
    channel = Channel(parse_endpoint("127.0.0.1:9"), loop, LIMITS, TIMES)
    channel.close("client is closed")
    connection = channel.connection()
    call = ClientCall(connection.next_id(), monotonic_s() + WAIT_S)
    connection.run(call, b"x")
    assert call.failure is not None
    assert (call.failure.errno, call.failure.sent) == (Errno.CLOSED, False)
    assert channel.ended


def test_a_dial_whose_caller_is_interrupted_is_begun_anew(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    undialled: list[Connection] = []

    def interrupted(connection: Connection, *given: object) -> None:
        undialled.append(connection)
        raise KeyboardInterrupt

    channel = Channel(parse_endpoint("127.0.0.1:9"), loop, LIMITS, TIMES)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "dial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            channel.connection()
    (first,) = undialled
    assert first.down is not None
    assert not first.down.sent
    assert channel.connection() is not first
    channel.close("done")
