"""One connection for each call: every way in which it begins, ends, and is given up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc.channel.call import ClientCall, OnewayCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.connection import ConnectionOptions
from libevrpc.channel.dial import DialTimes
from libevrpc.channel.shortlived import CountedConnections, ShortConnections
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.core.prpc import WireLimits
from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop
from unit_test.fix_net import free_port
from unit_test.fix_peers import Peers, full_queue, read_exactly, read_to_end, reset
from unit_test.fix_rpc import WAIT_S, wait_until

pytestmark = pytest.mark.live
TIMES = DialTimes(resolve_s=WAIT_S, connect_s=WAIT_S)
ASKED = b"request"


class Line:
    """A channel of short connections, and calls on it."""

    def __init__(self, loop: EventLoop) -> None:
        self.loop = loop
        self.channels: list[Channel] = []

    def to(
        self,
        address: str,
        *,
        calls_max: int = 4,
        times: DialTimes = TIMES,
        kind: type[ShortConnections] = ShortConnections,
    ) -> ShortConnections:
        options = ConnectionOptions(WireLimits(8192), calls_max, 8 * 1024 * 1024)
        channel = Channel(parse_endpoint(address), self.loop, options, times, wire=kind)
        self.channels.append(channel)
        connection = channel.connection()
        assert isinstance(connection, ShortConnections)
        return connection

    def close(self) -> None:
        for channel in self.channels:
            channel.close("end of test")


@pytest.fixture
def line(loop: EventLoop) -> Iterator[Line]:
    made = Line(loop)
    yield made
    made.close()


def call_of(connection: ShortConnections, timeout_s: float = WAIT_S) -> ClientCall:
    return ClientCall(connection.next_id(), time.monotonic() + timeout_s)


def run(connection: ShortConnections, timeout_s: float = WAIT_S, data: bytes = ASKED) -> ClientCall:
    call = call_of(connection, timeout_s)
    connection.run(call, data)
    assert call.done
    return call


def started(
    connection: ShortConnections, timeout_s: float = WAIT_S, kind: type[ClientCall] = ClientCall
) -> tuple[ClientCall, threading.Event]:
    done = threading.Event()
    call = kind(connection.next_id(), time.monotonic() + timeout_s, lambda _: done.set())
    if kind is OnewayCall:
        connection.start_oneway(call, ASKED)
    else:
        connection.start(call, ASKED)
    return call, done


def payload(call: ClientCall) -> bytes:
    assert call.failure is None
    assert call.reply is not None
    return call.reply.payload


def answer(data: bytes) -> object:
    def script(sock: socket.socket) -> None:
        assert read_exactly(sock, len(ASKED)) == ASKED
        sock.sendall(data)

    return script


def hold(sock: socket.socket) -> None:
    read_to_end(sock)


@pytest.mark.parametrize("closed", [False, True])
def test_a_call_that_is_quicker_than_the_dial_waits_for_it(
    line: Line, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """Its channel shows a connection to every caller before the one that made it has dialled."""
    dial = ShortConnections.dial
    calls: list[tuple[ClientCall, threading.Event]] = []

    def late(self: ShortConnections, endpoint: Endpoint, times: DialTimes) -> None:
        calls.append(started(self))
        wait_until(lambda: self._undialled)
        if closed:
            self.close("closed meanwhile")
        dial(self, endpoint, times)

    monkeypatch.setattr(ShortConnections, "dial", late)
    with Peers(answer(b"reply")) as peers:
        connection = line.to(peers.address)
        [(call, done)] = calls
        assert done.wait(WAIT_S)
        if closed:
            assert call.failure is not None
            assert call.failure.errno == Errno.CLOSED
        else:
            assert payload(call) == b"reply"
        wait_until(lambda: connection.in_flight == 0)


@pytest.mark.parametrize("size", [0, 1, 3584, 8192])
def test_a_reply_ends_where_the_server_hangs_up(line: Line, size: int) -> None:
    with Peers(answer(b"r" * size)) as peers:
        connection = line.to(peers.address)
        assert payload(run(connection)) == b"r" * size
        call, done = started(connection)
        assert done.wait(WAIT_S)
        assert payload(call) == b"r" * size
    assert peers.accepted == 2


def test_a_reply_is_put_together_from_any_pieces(line: Line) -> None:
    def trickle(sock: socket.socket) -> None:
        read_exactly(sock, len(ASKED))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(200):
            sock.sendall(bytes([number]))

    with Peers(trickle) as peers:
        assert payload(run(line.to(peers.address))) == bytes(range(200))


def test_a_large_request_is_sent_whole(line: Line) -> None:
    size = 3 * 1024 * 1024

    def count(sock: socket.socket) -> None:
        sock.sendall(str(len(read_exactly(sock, size))).encode())

    with Peers(count) as peers:
        assert payload(run(line.to(peers.address), data=b"q" * size)) == str(size).encode()


def test_a_reply_beyond_the_limit_is_refused(line: Line) -> None:
    with Peers(answer(b"r" * 8193)) as peers:
        failure = run(line.to(peers.address)).failure
    assert failure is not None
    assert (failure.errno, failure.sent) == (Errno.BAD_RESPONSE, True)
    assert "limit 8192" in failure.text


def test_a_server_that_is_not_there_took_nothing(line: Line) -> None:
    failure = run(line.to(f"127.0.0.1:{free_port()}")).failure
    assert failure is not None
    assert not failure.sent
    assert "cannot connect: Connection refused" in failure.text


def test_a_broken_connection_may_have_executed(line: Line) -> None:
    def break_off(sock: socket.socket) -> None:
        read_exactly(sock, 3)
        reset(sock)

    with Peers(break_off) as peers:
        failure = run(line.to(peers.address)).failure
    assert failure is not None
    assert failure.sent
    assert "read failed: Connection reset by peer" in failure.text


def test_a_server_that_hangs_up_in_the_middle_of_a_request_gave_no_reply(line: Line) -> None:
    def stop_reading(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: done)

    done: list[int] = []
    with Peers(stop_reading) as peers:
        failure = run(line.to(peers.address), data=b"q" * 6_000_000).failure
        done.append(1)
    assert failure is not None
    assert (failure.errno, failure.sent) == (Errno.EOF, True)
    assert "before it had the whole request" in failure.text


def test_a_deadline_ends_a_call_and_its_connection(line: Line) -> None:
    gone = threading.Semaphore(0)

    def watch(sock: socket.socket) -> None:
        read_to_end(sock)
        gone.release()

    with Peers(watch) as peers:
        connection = line.to(peers.address)
        failure = run(connection, 0.05).failure
        assert failure is not None
        assert failure.errno == Errno.TIMED_OUT
        call, done = started(connection, 0.05)
        assert done.wait(WAIT_S)
        assert call.failure is not None
        assert call.failure.errno == Errno.TIMED_OUT
        assert all(gone.acquire(timeout=WAIT_S) for _ in range(2))


def test_a_cancelled_call_hangs_up(line: Line) -> None:
    gone = threading.Event()
    asked = threading.Event()

    def watch(sock: socket.socket) -> None:
        read_exactly(sock, len(ASKED))
        asked.set()
        read_to_end(sock)
        gone.set()

    with Peers(watch) as peers:
        connection = line.to(peers.address)
        call, done = started(connection)
        assert asked.wait(WAIT_S)
        assert connection.cancel(call)
        assert not connection.cancel(call)
        assert done.wait(WAIT_S)
        assert gone.wait(WAIT_S)
    assert call.failure is not None
    assert call.failure.errno == Errno.CANCELLED


def test_connections_are_bounded(line: Line) -> None:
    with Peers(hold) as peers:
        connection = line.to(peers.address, calls_max=2)
        calls = [started(connection) for _ in range(3)]
        assert calls[2][1].wait(WAIT_S)
        failure = calls[2][0].failure
        assert failure is not None
        assert (failure.errno, failure.sent) == (Errno.LIMIT, False)
        assert not calls[0][0].done


def test_closing_fails_what_is_on_its_way(line: Line) -> None:
    held = threading.Semaphore(0)

    def watch(sock: socket.socket) -> None:
        read_exactly(sock, len(ASKED))
        held.release()
        read_to_end(sock)

    with Peers(watch) as peers:
        connection = line.to(peers.address)
        call, done = started(connection)
        waiting: list[ClientCall] = []
        thread = threading.Thread(target=lambda: waiting.append(run(connection)))
        thread.start()
        assert all(held.acquire(timeout=WAIT_S) for _ in range(2))
        line.close()
        assert done.wait(WAIT_S)
        thread.join(WAIT_S)
    for each in (call, waiting[0]):
        assert each.failure is not None
        assert (each.failure.errno, each.failure.sent) == (Errno.CLOSED, True)
    refused = run(connection).failure
    assert refused is not None
    assert not refused.sent


def test_closing_gives_up_a_connection_that_is_being_made(line: Line) -> None:
    with full_queue() as port:
        connection = line.to(f"127.0.0.1:{port}")
        call, done = started(connection)
        wait_until(lambda: being_made(connection))
        assert not done.wait(0.05)
        line.close()
        assert done.wait(WAIT_S)
    assert call.failure is not None
    assert not call.failure.sent


def being_made(connection: ShortConnections) -> int:
    """Return how many connections are on their way."""
    return sum(each.connecting for each in list(connection._exchanges))  # noqa: SLF001


def test_a_connection_being_made_counts_though_its_call_is_over(line: Line) -> None:
    with full_queue() as port:
        connection = line.to(f"127.0.0.1:{port}", calls_max=2)
        for count in (1, 2):
            while being_made(connection) < count:  # it may be over before that has begun
                failure = run(connection, 0.01).failure
                assert failure is not None
                assert (failure.errno, failure.sent) == (Errno.TIMED_OUT, False)
                assert "cannot connect: deadline reached while connecting" in failure.text
        failure = run(connection, 0.01).failure
        assert failure is not None
        assert failure.errno == Errno.LIMIT
        line.close()
        wait_until(lambda: not connection.in_flight)


def test_an_address_that_does_not_accept_in_time_is_given_up(line: Line) -> None:
    with full_queue() as port:
        times = DialTimes(resolve_s=1.0, connect_s=0.05)
        failure = run(line.to(f"127.0.0.1:{port}", times=times)).failure
    assert failure is not None
    assert "Connection timed out" in failure.text
    assert not failure.sent


def test_a_deadline_while_connecting_names_what_is_in_the_way(line: Line, tmp_path: Path) -> None:
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(path)
        full.listen(0)
        first.connect(path)
        connection = line.to(f"unix://{path}", kind=CountedConnections)
        waiting, _ = started(connection)
        wait_until(lambda: connection._connector and connection._connector.trouble)  # noqa: SLF001
        call, done = started(connection, 0.05)
        assert done.wait(WAIT_S)
        assert connection.cancel(waiting)
    assert call.failure is not None
    assert not call.failure.sent
    assert call.failure.text.endswith("connecting (Resource temporarily unavailable)")


def test_a_retired_line_ends_with_its_last_call(line: Line) -> None:
    asked = threading.Event()
    release = threading.Event()

    def late(sock: socket.socket) -> None:
        read_exactly(sock, len(ASKED))
        asked.set()
        release.wait(WAIT_S)
        sock.sendall(b"late")

    with Peers(late) as peers:
        connection = line.to(peers.address)
        call, done = started(connection)
        assert asked.wait(WAIT_S)
        connection.retire()
        refused = run(connection).failure
        assert refused is not None
        assert (refused.errno, refused.sent) == (Errno.STOPPING, False)
        assert connection.down is None
        release.set()
        assert done.wait(WAIT_S)
        assert payload(call) == b"late"
        wait_until(lambda: connection.down is not None)


def test_names_are_looked_up_once_for_a_burst(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    from libevrpc.channel import dial as dial_module

    looked: list[int] = []
    lookup = dial_module._lookup  # noqa: SLF001 - the system's resolver is behind it

    def counted(endpoint: object, flags: int) -> object:
        if not flags:
            looked.append(1)
            return [(socket.AF_INET, ("127.0.0.1", peers.port))]
        return lookup(endpoint, flags)  # type: ignore[arg-type]

    monkeypatch.setattr(dial_module, "_lookup", counted)
    with Peers(answer(b"ok")) as peers:
        connection = line.to(f"callee.example.com:{peers.port}", calls_max=20)
        calls = [started(connection) for _ in range(20)]
        assert all(done.wait(WAIT_S) for _, done in calls)
        assert [payload(call) for call, _ in calls] == [b"ok"] * 20
        assert payload(run(connection)) == b"ok"
    assert len(looked) == 1
    failure = run(connection).failure  # the kept address is dead: the name is asked again
    assert failure is not None
    assert "callee.example.com" in failure.text
    assert len(looked) == 2


def test_unix_sockets_are_connected_to(line: Line, tmp_path: Path) -> None:
    path = str(tmp_path / "e.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    with Peers(answer(b"\0\0\0\2ok"), listener) as peers:
        connection = line.to(peers.address, calls_max=30, kind=CountedConnections)
        calls = [started(connection) for _ in range(30)]  # more than its queue holds
        assert all(done.wait(WAIT_S) for _, done in calls)
        assert [payload(call) for call, _ in calls] == [b"ok"] * 30


def test_a_path_without_resets_is_refused(line: Line) -> None:
    failure = run(line.to("unix:///nowhere/e.sock")).failure
    assert failure is not None
    assert not failure.sent
    assert "use wire=prpc" in failure.text


def test_a_oneway_request_is_done_when_it_is_sent(line: Line) -> None:
    release = threading.Event()
    seen: list[bytes] = []

    def quiet(sock: socket.socket) -> None:
        seen.append(read_exactly(sock, len(ASKED)))
        release.wait(WAIT_S)
        sock.sendall(b"nobody reads this")

    with Peers(quiet) as peers:
        connection = line.to(peers.address)
        call, done = started(connection, kind=OnewayCall)
        assert done.wait(WAIT_S)
        assert call.done
        assert call.reply is None
        assert call.failure is None
        wait_until(lambda: seen == [ASKED])
        connection.settle(0.01)  # the server has not hung up
        release.set()
        connection.settle(WAIT_S)
        assert not connection.in_flight
    lost, done = started(connection, kind=OnewayCall)
    assert done.wait(WAIT_S)
    assert lost.failure is not None
    assert not lost.failure.sent


def test_a_probe_asks_for_nothing_but_a_connection(line: Line) -> None:
    seen: list[bytes] = []
    with Peers(lambda sock: seen.append(read_to_end(sock))) as peers:
        connection = line.to(peers.address)
        done = threading.Event()
        call = ClientCall(connection.next_id(), time.monotonic() + WAIT_S, lambda _: done.set())
        connection.probe(call)
        assert done.wait(WAIT_S)
        assert payload(call) == b""
        wait_until(lambda: seen == [b""])
    assert connection.send_oneway(ASKED) is not None


def test_an_interrupted_caller_leaves_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with Peers(hold) as peers:
        connection = line.to(peers.address)
        call = call_of(connection)

        class Interrupted:
            def __init__(self) -> None:
                self.times = 0

            def acquire(self, timeout: float = -1) -> bool:
                self.times += 1
                if self.times > 1:
                    raise KeyboardInterrupt
                return True

            def release(self) -> None:
                return

        import libevrpc.channel.shortlived as module

        class Threading:
            Lock = Interrupted

        monkeypatch.setattr(module, "threading", Threading)
        with pytest.raises(KeyboardInterrupt):
            connection.run(call, ASKED)
        wait_until(lambda: not connection.in_flight)
