"""The transport: partial writes, limits, held replies, broken peers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from libevrpc.core.endpoints import parse_endpoint
from libevrpc.errors import ConfigError
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.listener import Listener, bind_endpoint
from libevrpc.loop.transport import Transport
from unit_test.fix_rpc import WAIT_S, wait_until

pytestmark = pytest.mark.live


class Owner:
    """Notes what the transport tells it."""

    def __init__(self) -> None:
        self.transport: Transport | None = None
        self.seen = bytearray()
        self.eof = threading.Event()
        self.shut = threading.Event()
        self.reason = ""

    def on_bytes(self, data: bytes) -> None:
        self.seen += data

    def on_eof(self) -> None:
        assert self.transport is not None
        self.eof.set()
        self.transport.close("peer closed")

    def on_shut(self, reason: str) -> None:
        assert self.transport is not None
        self.reason = reason
        self.transport.release()
        self.shut.set()


Made = tuple[Transport, Owner, socket.socket]


@pytest.fixture
def make() -> Iterator[Callable[..., Made]]:
    loop = EventLoop("transport-test")
    loop.start()
    peers: list[socket.socket] = []
    made: list[Made] = []

    def build(unsent_bytes_max: int = 1 << 24, unsent_pause_bytes: int = 1 << 22) -> Made:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.settimeout(WAIT_S)
        owner = Owner()
        transport = Transport(
            left,
            loop,
            peer="test",
            unsent_bytes_max=unsent_bytes_max,
            unsent_pause_bytes=unsent_pause_bytes,
        )
        owner.transport = transport
        on_loop(loop, lambda: transport.start(owner))
        peers.append(right)
        made.append((transport, owner, right))
        return made[-1]

    yield build
    for transport, owner, _ in made:
        transport.close("end of test")
        assert owner.shut.wait(WAIT_S)
    for peer in peers:
        peer.close()
    loop.stop(WAIT_S)


def on_loop(loop: EventLoop, job: Callable[[], object]) -> None:
    done = threading.Event()
    loop.post(lambda: (job(), done.set()))
    assert done.wait(WAIT_S)


def receive(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += sock.recv(1 << 16)
    return bytes(data)


def test_bytes_go_both_ways(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    assert transport.send(b"out")
    assert peer.recv(10) == b"out"
    peer.sendall(b"in")
    wait_until(lambda: owner.seen == b"in")
    assert (transport.bytes_in, transport.bytes_out) == (2, 3)


def test_large_reads_and_writes_arrive_whole_and_in_order(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    pieces = [bytes([number % 256]) * 50_000 for number in range(100)]
    for piece in pieces:
        assert transport.send(piece)
    assert transport.unsent_bytes > 0
    assert transport.stalled_since_s is not None
    assert receive(peer, 5_000_000) == b"".join(pieces)
    wait_until(lambda: transport.unsent_bytes == 0)
    assert transport.stalled_since_s is None
    peer.sendall(b"x" * 3_000_000)
    wait_until(lambda: len(owner.seen) == 3_000_000)


def test_unsent_limit_refuses_and_takes_nothing(make: Callable[..., Made]) -> None:
    transport, _, peer = make(unsent_bytes_max=1 << 20)
    accepted = 0
    while transport.send(b"x" * 100_000):
        accepted += 100_000
    assert not transport.closed
    assert len(receive(peer, accepted)) == accepted


def test_reading_pauses_while_the_peer_does_not_read(make: Callable[..., Made]) -> None:
    transport, owner, peer = make(unsent_pause_bytes=1000)
    accepted = 0
    while transport.unsent_bytes <= 300_000:
        assert transport.send(b"x" * 100_000)
        accepted += 100_000
    on_loop(transport.loop, lambda: None)  # the loop has seen that something waits
    peer.sendall(b"heard later")
    assert owner.seen == b""
    receive(peer, accepted)
    wait_until(lambda: owner.seen == b"heard later")


def test_reading_pauses_once_the_queue_has_grown_long(make: Callable[..., Made]) -> None:
    transport, owner, peer = make(unsent_pause_bytes=500_000)
    accepted = 0
    while not transport.unsent_bytes:
        assert transport.send(b"x" * 100_000)
        accepted += 100_000
    on_loop(transport.loop, lambda: None)  # the loop has seen that something waits: not too much
    assert not transport.paused
    while transport.unsent_bytes <= 500_000:
        assert transport.send(b"x" * 100_000)
        accepted += 100_000
    on_loop(transport.loop, lambda: None)
    assert transport.paused
    peer.sendall(b"heard later")
    for _ in range(5):  # turns of the loop in which it could read
        on_loop(transport.loop, lambda: None)
    assert owner.seen == b""
    receive(peer, accepted)
    wait_until(lambda: owner.seen == b"heard later")
    assert not transport.paused


def test_held_pieces_leave_with_the_next_or_when_flushed(make: Callable[..., Made]) -> None:
    transport, _, peer = make()
    assert transport.hold(b"a")
    assert transport.hold(b"b")
    assert transport.unsent_bytes == 2
    assert transport.stalled_since_s is None  # they wait for us, not for the peer
    assert transport.send(b"c")
    assert peer.recv(10) == b"abc"
    assert transport.hold(b"d")
    transport.flush()
    transport.flush()
    assert peer.recv(10) == b"d"


def test_corked_pieces_leave_together(make: Callable[..., Made]) -> None:
    transport, _, peer = make(unsent_bytes_max=10)
    on_loop(transport.loop, transport.cork)
    assert transport.send(b"one")
    assert transport.send(b"two")
    assert not transport.send(b"too long")
    on_loop(transport.loop, transport.uncork)
    on_loop(transport.loop, transport.uncork)
    assert peer.recv(100) == b"onetwo"


def test_end_of_stream_is_told_once(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    peer.close()
    assert owner.eof.wait(WAIT_S)
    assert owner.shut.wait(WAIT_S)
    assert owner.reason == "peer closed"
    assert transport.closed
    assert not transport.send(b"x")
    assert not transport.hold(b"x")


def test_write_to_a_broken_peer_closes(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    on_loop(transport.loop, transport.pause_reading)
    peer.close()
    assert not transport.send(b"x")
    assert owner.shut.wait(WAIT_S)
    assert "write failed" in owner.reason
    assert transport.receive() == b""


def test_reading_can_be_left_to_another_thread(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    on_loop(transport.loop, transport.pause_reading)
    assert transport.receive() is None
    peer.sendall(b"mine")
    wait_until(lambda: transport.receive() == b"mine")
    on_loop(transport.loop, transport.resume_reading)
    peer.sendall(b"the loop's")
    wait_until(lambda: owner.seen == b"the loop's")


def test_unsent_bytes_are_dropped_with_the_connection(make: Callable[..., Made]) -> None:
    transport, owner, _ = make()
    while not transport.unsent_bytes:
        transport.send(b"x" * 100_000)
    transport.close("dropped")
    transport.close("again")
    assert owner.shut.wait(WAIT_S)
    assert owner.reason == "dropped"
    assert transport.unsent_bytes == 0


def test_listener_rests_when_the_process_is_out_of_descriptors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import errno

    loop = EventLoop("listener-test")
    loop.start()
    endpoint = parse_endpoint("127.0.0.1:0", listening=True)
    sock = bind_endpoint(endpoint)
    address = sock.getsockname()
    accepted: list[socket.socket] = []
    faults = [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ECONNABORTED, "Software caused connection abort"),
    ]

    class Scarce:
        """A listening socket that fails as the kernel would."""

        def accept(self) -> tuple[socket.socket, object]:
            if faults:
                raise faults.pop(0)
            return sock.accept()

        def fileno(self) -> int:
            return sock.fileno()

        def close(self) -> None:
            sock.close()

    listener = Listener(Scarce(), endpoint, loop, lambda conn, peer: accepted.append(conn))  # type: ignore[arg-type]
    on_loop(loop, listener.start)
    with socket.create_connection(address, WAIT_S):
        wait_until(lambda: accepted)
    assert "trying again in 0.1 s" in caplog.text
    on_loop(loop, listener.close)
    on_loop(loop, listener.close)
    on_loop(loop, listener.on_writable)
    for each in accepted:
        each.close()
    loop.stop(WAIT_S)


def test_names_that_cannot_be_listened_on_are_refused() -> None:
    for text in ("no-such-host.invalid:0", "unix:///no/such/folder/s.sock"):
        with pytest.raises(ConfigError, match="cannot listen on"):
            bind_endpoint(parse_endpoint(text, listening=True))


def finish(transport: Transport) -> None:
    on_loop(transport.loop, lambda: transport.finish("done"))


def test_finish_sends_what_waits_and_then_ends(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    data = b"x" * 3_000_000
    assert transport.hold(b"first")
    assert transport.send(data)
    assert transport.unsent_bytes > 0
    finish(transport)
    finish(transport)
    assert transport.closed
    assert not transport.send(b"more")
    assert not transport.hold(b"more")
    peer.sendall(b"nobody reads this")
    assert receive(peer, 5 + len(data)) == b"first" + data
    assert peer.recv(1) == b""
    assert not owner.shut.is_set()
    peer.close()
    assert owner.shut.wait(WAIT_S)
    assert (owner.reason, owner.seen) == ("done", b"")


def test_finish_sends_what_is_held_back(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    on_loop(transport.loop, transport.cork)
    assert transport.send(b"corked")
    finish(transport)
    on_loop(transport.loop, transport.resume_reading)
    on_loop(transport.loop, transport.pause_reading)  # reading goes on all the same
    assert peer.recv(100) == b"corked"
    assert peer.recv(1) == b""
    peer.close()
    assert owner.shut.wait(WAIT_S)


def test_finish_of_a_broken_connection_is_its_end(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    on_loop(transport.loop, transport.cork)
    assert transport.send(b"corked")

    def break_and_finish() -> None:
        peer.close()
        transport.finish("done")

    on_loop(transport.loop, break_and_finish)
    assert owner.shut.wait(WAIT_S)
    assert owner.reason.startswith("write failed: ")
    finish(transport)
    on_loop(transport.loop, transport.reset_at_end)


def test_finished_connection_that_is_not_read_can_be_closed(make: Callable[..., Made]) -> None:
    transport, owner, peer = make()
    assert transport.send(b"x" * 3_000_000)
    finish(transport)
    assert transport.stalled_since_s is not None
    transport.close("enough")
    assert owner.shut.wait(WAIT_S)
    assert owner.reason == "enough"
    assert transport.unsent_bytes == 0
    peer.close()


def over_tcp(loop: EventLoop) -> tuple[Transport, Owner, socket.socket]:
    """Return a transport whose peer can tell an end from a reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname(), WAIT_S)
        left, _ = listener.accept()
    left.setblocking(False)
    transport = Transport(
        left, loop, peer="test", unsent_bytes_max=1 << 24, unsent_pause_bytes=1 << 22
    )
    owner = Owner()
    owner.transport = transport
    on_loop(loop, lambda: transport.start(owner))
    return transport, owner, peer


def test_an_end_is_a_reset_where_that_was_asked_for_unless_it_is_finished() -> None:
    loop = EventLoop("transport-test")
    loop.start()
    for ending in ("close", "finish", "plain"):
        transport, owner, peer = over_tcp(loop)
        on_loop(loop, transport.reset_at_end)
        if ending == "plain":
            on_loop(loop, transport.end_plainly)
        assert transport.send(b"x")
        assert peer.recv(10) == b"x"
        if ending == "finish":
            finish(transport)
            assert peer.recv(10) == b""
        elif ending == "plain":
            transport.close("over")
            assert peer.recv(10) == b""
        else:
            transport.close("failed")
            with pytest.raises(ConnectionResetError):
                peer.recv(10)
        peer.close()
        assert owner.shut.wait(WAIT_S)
    loop.stop(WAIT_S)
