"""The links between centers, over loopback."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from center import bus as bus_module
from center.bus import Bus, host_of
from center.core import codec
from center.core.ballot import State
from center.core.events import LinkDown, LinkUp, Message
from center.core.messages import Announcement, Body, Inquiry
from center.intake import BATCH_MAX
from libevrpc.clock import monotonic_s
from libevrpc.errors import ConfigError
from unit_test.fix_net import free_port, free_ports

pytestmark = pytest.mark.live
WAIT_S = 20.0
HELLO = Inquiry(7, "digest", 1)


class Wakeup:
    """A pipe to wait on."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    made = Wakeup()
    yield made
    made.close()


@pytest.fixture
def ports() -> tuple[int, int]:
    first, second = free_ports(2)
    return first, second


def bus_of(me: int, ports: tuple[int, int], wakeup: Wakeup, patience_s: float = 0.3) -> Bus:
    peer = 3 - me
    return Bus(
        me,
        f"127.0.0.1:{ports[me - 1]}",
        {peer: f"127.0.0.1:{ports[peer - 1]}"},
        wakeup.read_fd,
        heartbeat_s=0.1,
        patience_s=patience_s,
    )


@pytest.fixture
def pair(ports: tuple[int, int], wakeup: Wakeup) -> Iterator[tuple[Bus, Bus]]:
    """Give two connected buses."""
    first, second = bus_of(1, ports, wakeup), bus_of(2, ports, wakeup)
    try:
        await_link(first, LinkUp(2))
        await_link(second, LinkUp(1))
        yield first, second
    finally:
        first.close()
        second.close()


def await_link(bus: Bus, wanted: LinkUp | LinkDown) -> None:
    until(lambda: wanted in list(bus.links()), bus)


def until(holds: Callable[[], bool], bus: Bus) -> None:
    """Turn the bus until something holds."""
    end_s = monotonic_s() + WAIT_S
    while not holds():
        assert monotonic_s() < end_s
        bus.wait(0.05)


def received(bus: Bus, count: int) -> list[Message]:
    messages: list[Message] = []

    def enough() -> bool:
        messages.extend(bus.messages())
        return len(messages) >= count

    until(enough, bus)
    return messages


def test_what_one_turn_says_arrives_whole_and_in_order(pair: tuple[Bus, Bus]) -> None:
    first, second = pair
    said: list[Body] = [Announcement(1, epoch, State.LEADING) for epoch in range(20)]
    for body in said:
        first.send(2, 42, body)
    first.flush()
    got = received(second, len(said))
    assert [each.body for each in got] == said
    assert {(each.from_id, each.incarnation, each.host) for each in got} == {(1, 42, "127.0.0.1")}
    assert first.counts.sent == second.counts.received == len(said)


def test_many_batches_in_a_row_are_not_lost(pair: tuple[Bus, Bus]) -> None:
    """A queue of two holds a burst, since what it does not take waits for the next turn."""
    first, second = pair
    for epoch in range(40):
        first.send(2, 42, Announcement(1, epoch, State.LEADING))
        first.flush()
    got: list[Message] = []

    def all_there() -> bool:
        first.flush()
        got.extend(second.messages())
        return len(got) == 40

    until(all_there, second)
    assert first.counts.dropped == 0
    assert not first.wait(0.0)


def test_a_turn_ends_when_its_time_is_over(
    pair: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between the messages of one batch too."""
    monkeypatch.setattr(bus_module, "TURN_S", 0.0)
    first, second = pair
    shares: list[int] = []
    for epoch in range(40):
        first.send(2, 42, Announcement(1, epoch, State.LEADING))
    first.flush()

    def all_there() -> bool:
        shares.append(len(list(second.messages())))
        return sum(shares) == 40

    until(all_there, second)
    assert max(shares) == 1


def test_a_batch_of_very_many_parts_is_read_past_in_many_turns(
    ports: tuple[int, int], wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the node's clock would stand still: to read two million takes seconds."""
    monkeypatch.setattr(bus_module, "TURN_S", 0.0)
    bus = bus_of(1, ports, wakeup)
    context = zmq.Context()
    sender = context.socket(zmq.DEALER)
    sender.setsockopt(zmq.LINGER, 0)
    turns = 0
    try:
        sender.connect(f"tcp://127.0.0.1:{ports[0]}")
        sender.send_multipart([codec.encode(2, 9, HELLO)] * BATCH_MAX + [b""] * 1000)

        def read_past() -> bool:
            nonlocal turns
            turns += 1
            assert not list(bus.messages())
            return bus.counts.junk == 1

        until(read_past, bus)
        assert turns > 1000
    finally:
        sender.close()
        context.term()
        bus.close()


def test_nothing_is_kept_for_a_center_that_is_away(ports: tuple[int, int], wakeup: Wakeup) -> None:
    bus = bus_of(1, ports, wakeup)
    try:
        await_link(bus, LinkDown(2))
        bus.send(2, 1, HELLO)
        bus.flush()
        assert (bus.counts.sent, bus.counts.dropped) == (0, 1)
        late = bus_of(2, ports, wakeup)
        try:
            await_link(bus, LinkUp(2))
            bus.send(2, 2, HELLO)
            bus.flush()
            assert [each.incarnation for each in received(late, 1)] == [2]
        finally:
            late.close()
        await_link(bus, LinkDown(2))
    finally:
        bus.close()


def test_of_too_much_that_waits_the_oldest_goes(
    pair: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "BATCH_MAX", 3)
    first, second = pair
    for epoch in range(5):
        first.send(2, 42, Announcement(1, epoch, State.LEADING))
    first.flush()
    epochs = [each.body.epoch for each in received(second, 3)]  # type: ignore[union-attr]
    assert epochs == [2, 3, 4]
    assert first.counts.dropped == 2


def test_a_center_that_accepts_and_says_nothing_is_down(
    ports: tuple[int, int], wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "HANDSHAKE_TIMEOUT_MS", 50)
    with socket.create_server(("127.0.0.1", ports[1])):
        bus = bus_of(1, ports, wakeup)
        try:
            await_link(bus, LinkDown(2))
        finally:
            bus.close()


def test_junk_is_counted_and_dropped(
    ports: tuple[int, int], wakeup: Wakeup, caplog: pytest.LogCaptureFixture
) -> None:
    bus = bus_of(1, ports, wakeup)
    context = zmq.Context()
    sender = context.socket(zmq.DEALER)
    sender.setsockopt(zmq.LINGER, 0)
    good = codec.encode(2, 9, HELLO)
    try:
        sender.connect(f"tcp://127.0.0.1:{ports[0]}")
        sender.send(b"junk")
        sender.send_multipart([good] * (BATCH_MAX + 1))
        sender.send_multipart([good, b"", good])
        sender.send(good)
        with socket.create_connection(("127.0.0.1", ports[0])) as raw:
            raw.sendall(os.urandom(2000))  # which may look like messages of an old ZMTP
            got = received(bus, 2)
        assert [each.from_id for each in got] == [2, 2]
        assert bus.counts.junk >= 3
        assert caplog.text.count("junk on the port") == 1
    finally:
        sender.close()
        context.term()
        bus.close()


def zmtp(name: bytes, body: bytes) -> bytes:
    """Return a ZMTP command."""
    command = bytes([len(name)]) + name + body
    return bytes([4, len(command)]) + command


def shake_hands(sock: socket.socket, kind: bytes) -> None:
    """Be a ZeroMQ socket of `kind`, as far as greeting and handshake go."""
    sock.settimeout(WAIT_S)
    sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48))
    parts = ((b"Socket-Type", kind), (b"Identity", b""))
    body = b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in parts
    )
    sock.sendall(zmtp(b"READY", body))


def read_past(sock: socket.socket, wanted: bytes, more: int = 0) -> bytes:
    """Read until `wanted` has come; return the `more` bytes after it."""
    got = b""
    while (place := got.find(wanted)) < 0 or len(got) < place + len(wanted) + more:
        data = sock.recv(4096)
        assert data, got
        got += data
    return got[place + len(wanted) :][:more]


FLOODED = """
import os, socket, sys
from center.bus import Bus, host_of
from unit_test.center.test_bus import read_past, shake_hands

read_fd, _ = os.pipe()
port = int(sys.argv[1])
bus = Bus(1, f"127.0.0.1:{port}", {}, read_fd, heartbeat_s=0.1, patience_s=0.3)
flood = socket.create_connection(("127.0.0.1", port))
shake_hands(flood, b"DEALER")
read_past(flood, b"READY")
flood.sendall(b"\\x00\\x04junk" * 1000 + bytes([4, 7]) + b"\\x04PING" + bytes(2))
bus.wait(5.0)
with socket.create_connection(("127.0.0.1", port)) as other:
    shake_hands(other, b"DEALER")
    read_past(other, b"READY")  # so what came before has been read
linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
flood.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
flood.close()
with socket.create_connection(("127.0.0.1", port)) as other:
    shake_hands(other, b"DEALER")
    read_past(other, b"READY")  # so the reset has been seen
while bus.counts.junk < 1000 and bus.wait(5.0) is False:
    next(bus.messages(), None)
print("alive", bus.counts.junk)
"""
"""A center that does not read while somebody floods it, pings it, and resets the connection."""


def test_a_reset_of_a_connection_that_floods_harms_nobody(ports: tuple[int, int]) -> None:
    words = [sys.executable, "-c", FLOODED, str(ports[0])]
    path = os.pathsep.join(filter(None, sys.path))  # the child imports what this file does
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=2 * WAIT_S,  # it starts a Python, and waits for nothing but its own sockets
        check=False,
    )
    assert (done.stdout, done.returncode) == ("alive 1000\n", 0), done.stderr


def test_a_center_sends_no_heartbeats_of_zeromq(
    ports: tuple[int, int], wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "HANDSHAKE_TIMEOUT_MS", 60_000)  # ours may come late
    with socket.create_server(("127.0.0.1", ports[1])) as listening:
        bus = bus_of(1, ports, wakeup)
        try:
            with listening.accept()[0] as sock:
                shake_hands(sock, b"ROUTER")
                read_past(sock, b"READY")
                await_link(bus, LinkUp(2))
                sock.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    read_past(sock, b"PING")
        finally:
            bus.close()


def test_the_wakeup_ends_a_wait(ports: tuple[int, int], wakeup: Wakeup) -> None:
    bus = bus_of(1, ports, wakeup)
    try:
        os.write(wakeup.write_fd, b"!")
        until(lambda: bus.wait(WAIT_S), bus)
        assert select.select([wakeup.read_fd], [], [], 0)[0]
    finally:
        bus.close()


def test_a_taken_port_is_named(wakeup: Wakeup, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port} for centers"):
            bus_of(1, (port, free_port()), wakeup)


def test_a_message_whose_origin_is_not_known_has_none() -> None:
    assert host_of(zmq.Frame(b"")) == ""
