"""Links between centers with keys: right, wrong, missing and swapped ones, over loopback."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import zmq
from zmq.utils import z85

from center import bus as bus_module
from center import trust
from center.bus import Bus, public_key
from center.core import codec
from center.core.events import LinkUp, Message
from center.core.messages import Inquiry
from center.trust import KeyRing
from libevrpc.clock import monotonic_s
from libevrpc.errors import ConfigError
from unit_test.fix_net import free_ports

pytestmark = pytest.mark.live
WAIT_S = 10.0
HELLO = Inquiry(7, "digest", 1)
SECRETS = {number: bytes([number]) * 32 for number in range(1, 5)}
KEYS = {number: public_key(secret) for number, secret in SECRETS.items()}
Listed = dict[int, tuple[bytes, ...]]
RIGHT: Listed = {number: (KEYS[number],) for number in (1, 2, 3)}


class Table:
    """Some buses of one thread, turned together. Every one closes with the test."""

    def __init__(self) -> None:
        self.ports = dict(zip((1, 2, 3), free_ports(3), strict=True))
        self._exits = ExitStack()
        self._buses: dict[int, Bus] = {}
        self.links: dict[int, list[object]] = {}
        self.got: dict[int, list[Message]] = {}
        read_fd, write_fd = os.pipe()
        self._wakeup_fd = read_fd
        for descriptor in (read_fd, write_fd):
            self._exits.callback(os.close, descriptor)

    def open(self, me: int, listed: Listed | None, secret: bytes | None = None) -> Bus:
        """Start center `me` with the keys that its list has; None: it has none."""
        ring = None
        if listed is not None:
            secret = SECRETS[me] if secret is None else secret
            peers = {each: keys for each, keys in listed.items() if each != me}
            ring = KeyRing(secret, public_key(secret), peers)
        addresses = {each: f"127.0.0.1:{port}" for each, port in self.ports.items() if each != me}
        made = self._buses[me] = Bus(
            me,
            f"127.0.0.1:{self.ports[me]}",
            addresses,
            self._wakeup_fd,
            heartbeat_s=0.1,
            patience_s=1.0,
            ring=ring,
        )
        self.links[me], self.got[me] = [], []
        return made

    def shut(self, me: int) -> None:
        self._buses.pop(me).close()

    def turn(self) -> None:
        for me, bus in self._buses.items():
            bus.wait(0.01)
            self.links[me] += bus.links()
            self.got[me] += bus.messages()
            bus.flush()

    def until(self, holds: Callable[[], object]) -> None:
        end_s = monotonic_s() + WAIT_S
        while not holds():
            assert monotonic_s() < end_s
            self.turn()

    def end(self) -> None:
        for me in list(self._buses):
            self.shut(me)
        self._exits.close()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    monkeypatch.setattr(bus_module, "REDIAL_S", 0.05)
    made = Table()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[str], int]:
    """Give the count of log lines with a text."""
    caplog.set_level(logging.INFO, logger="center.bus")
    return lambda text: caplog.text.count(text)


def test_centers_with_each_others_keys_are_connected(table: Table) -> None:
    buses = {me: table.open(me, RIGHT) for me in (1, 2, 3)}
    for me in buses:
        others = [LinkUp(each) for each in buses if each != me]
        table.until(lambda me=me, others=others: all(each in table.links[me] for each in others))
    for me, bus in buses.items():
        for other in buses:
            if other != me:
                bus.send(other, 42, HELLO)
    table.until(lambda: all(len(got) == 2 for got in table.got.values()))
    assert {each.from_id for each in table.got[1]} == {2, 3}
    assert all(bus.counts.junk == 0 for bus in buses.values())


def test_an_unlisted_key_is_refused_and_named_on_both_sides(
    table: Table, logged: Callable[[str], int]
) -> None:
    """Center 2 has a key of which the others have never heard."""
    table.open(1, RIGHT)
    table.open(2, {**RIGHT, 2: (KEYS[4],)}, SECRETS[4])
    key = KEYS[4].hex()
    told_2 = f"center 1 at 127.0.0.1:{table.ports[1]}: refuses our key {key}"
    told_1 = f"center 2 at 127.0.0.1:{table.ports[2]}: hangs up: it does not have the key"
    at_the_door = f"connection from 127.0.0.1: refused: its key {key} belongs to no other center"
    table.until(lambda: logged(told_2) and logged(told_1) and logged(at_the_door))
    table.until(lambda: logged("takes center 2 for the owner of another key"))
    for _ in range(30):  # some more tries of both
        table.turn()
    assert [logged(each) for each in (told_1, told_2, at_the_door)] == [1, 1, 1]
    assert LinkUp(2) not in table.links[1]
    assert LinkUp(1) not in table.links[2]


def test_a_center_that_cannot_be_dialled_for_want_of_a_file_is_dialled_later(
    table: Table, logged: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers may hold all that this process may open: that is no reason to end."""

    usual = Bus._socket  # noqa: SLF001
    first = table.open(1, RIGHT)

    def full(bus: Bus, kind: int) -> zmq.Socket[bytes]:
        if bus is first:
            raise zmq.ZMQError(errno.EMFILE)
        return usual(bus, kind)

    table.open(2, {**RIGHT, 2: (KEYS[4],)}, SECRETS[4])
    table.until(lambda: logged("refuses our key"))
    monkeypatch.setattr(Bus, "_socket", full)
    table.until(lambda: logged("cannot be dialled: Too many open files"))
    table.shut(2)
    table.open(2, RIGHT)
    monkeypatch.setattr(Bus, "_socket", usual)
    table.until(lambda: LinkUp(2) in table.links[1])
    assert logged("cannot be dialled") == 1


def test_a_center_without_keys_is_named_on_both_sides(
    table: Table, logged: Callable[[str], int]
) -> None:
    table.open(1, RIGHT)
    table.open(2, None)
    lines = (
        f"center 2 at 127.0.0.1:{table.ports[2]}: speaks without keys: its centers list has none",
        f"center 1 at 127.0.0.1:{table.ports[1]}: wants keys, and our centers list has none",
        "refused: who dials speaks without keys: its centers list has none",
        "refused: who dials uses keys, and our centers list has none",
    )
    table.until(lambda: all(logged(line) for line in lines))
    for _ in range(30):
        table.turn()
    assert [logged(line) for line in lines] == [1, 1, 1, 1]
    assert LinkUp(2) not in table.links[1]
    assert LinkUp(1) not in table.links[2]


def test_the_key_of_one_center_does_not_speak_for_another(
    table: Table, logged: Callable[[str], int]
) -> None:
    """Whoever has center 3's key dials and says to be center 2."""
    first = table.open(1, RIGHT)
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, KEYS[1])
        dealer.setsockopt(zmq.CURVE_SECRETKEY, SECRETS[3])
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, KEYS[3])
        dealer.connect(f"tcp://127.0.0.1:{table.ports[1]}")
        dealer.send_multipart([codec.encode(2, 9, HELLO), codec.encode(3, 9, HELLO)])
        dealer.send_multipart([codec.encode(3, 10, HELLO)])
        table.until(lambda: table.got[1])
        assert [(each.from_id, each.incarnation) for each in table.got[1]] == [(3, 10)]
        assert first.counts.junk == 1
        assert logged("from 127.0.0.1: center 3's key was used to speak for 2") == 1
    finally:
        dealer.close(0)
        context.term()


def test_of_two_listed_keys_the_one_in_use_is_found(
    table: Table, logged: Callable[[str], int]
) -> None:
    table.open(1, {**RIGHT, 2: (KEYS[4], KEYS[2])})
    table.open(2, RIGHT)
    table.until(lambda: LinkUp(2) in table.links[1] and LinkUp(1) in table.links[2])
    table.shut(2)
    table.links[1].clear()
    table.open(2, RIGHT, SECRETS[4])  # as after its restart with the other secret
    table.until(lambda: LinkUp(2) in table.links[1] and LinkUp(1) in table.links[2])
    assert logged("hangs up") == 0


def test_a_center_that_comes_back_with_the_right_key_is_connected(
    table: Table, logged: Callable[[str], int]
) -> None:
    table.open(1, RIGHT)
    for wrong, told in ((None, "wants keys"), (RIGHT, "refuses our key")):
        table.open(2, wrong, SECRETS[4])
        line = f"center 1 at 127.0.0.1:{table.ports[1]}: {told}"
        table.until(lambda line=line: logged(line) and logged("center 2 at"))
        table.shut(2)
    table.open(2, RIGHT)
    table.until(lambda: LinkUp(2) in table.links[1] and LinkUp(1) in table.links[2])
    assert logged(f"center 2 at 127.0.0.1:{table.ports[2]}: connected now") == 1
    assert logged("center 1 at") == 2


def test_what_is_said_while_a_center_waits_to_be_dialled_is_dropped(
    table: Table, logged: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "REDIAL_S", 60.0)
    first = table.open(1, {**RIGHT, 2: (KEYS[4],)})
    second = table.open(2, RIGHT)
    table.until(lambda: second.counts.junk or logged("takes center 2 for the owner of another"))
    before = first.counts.dropped
    first.send(2, 1, HELLO)
    table.until(lambda: first.counts.dropped > before)


def test_unlisted_keys_are_no_flood_of_lines(table: Table, logged: Callable[[str], int]) -> None:
    table.open(1, RIGHT)
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 400)
    dealers = [context.socket(zmq.DEALER) for _ in range(3 * trust.COMPLAINTS_MAX)]
    seen: list[object] = []
    try:
        for dealer in dealers:
            public, secret = zmq.curve_keypair()
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.setsockopt(zmq.CURVE_SERVERKEY, KEYS[1])
            dealer.setsockopt(zmq.CURVE_SECRETKEY, z85.decode(secret))
            dealer.setsockopt(zmq.CURVE_PUBLICKEY, z85.decode(public))
            monitor = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
            dealer.connect(f"tcp://127.0.0.1:{table.ports[1]}")
            seen.append(monitor)
        table.until(lambda: all(each.poll(0) for each in seen))  # type: ignore[attr-defined]
        assert logged("refused: its key") == trust.COMPLAINTS_MAX
    finally:
        for dealer in dealers:
            dealer.disable_monitor()
            dealer.close(0)
        for monitor in seen:
            monitor.close(0)  # type: ignore[attr-defined]
        context.term()


def test_a_port_of_something_else_is_dialled_again(
    table: Table, logged: Callable[[str], int]
) -> None:
    """Without keys too: ZeroMQ gives up for good when it is answered in another protocol."""
    with socket.create_server(("127.0.0.1", table.ports[2])) as listening:
        listening.settimeout(WAIT_S)
        table.open(1, None)
        with listening.accept()[0] as sock:
            sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00BASIC" + bytes(47))
            table.until(lambda: logged("center 2 at"))
    table.open(2, None)
    table.until(lambda: LinkUp(2) in table.links[1])


def test_who_is_no_center_is_named_once(table: Table, logged: Callable[[str], int]) -> None:
    table.open(1, RIGHT)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", table.ports[1])) as sock:
            sock.settimeout(WAIT_S)
            greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47)
            sock.sendall(greeting + b"\x04\x05\x04JUNK")
            table.turn()
            while sock.recv(4096):
                table.turn()
    table.until(lambda: logged("refused: who dials is no center"))
    assert logged("refused: who dials is no center") == 1


FLOODED = """
import os, socket, sys
from center.bus import Bus

read_fd, _ = os.pipe()
port, connections = int(sys.argv[1]), int(sys.argv[2])
bus = Bus(1, f"127.0.0.1:{port}", {}, read_fd, heartbeat_s=0.1, patience_s=0.3)
for _ in range(connections):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(10.0)
        sock.sendall(b"\\xff" + bytes(8) + b"\\x7f\\x03\\x00CURVE" + bytes(47))
        try:
            while sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
bus.close()
print("ended")
"""
"""A center that is busy elsewhere while strangers fail at its door, and is then told to end."""


def test_a_center_ends_however_many_failed_at_its_door(table: Table) -> None:
    words = [sys.executable, "-c", FLOODED, str(table.ports[1]), "2500"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50.0, check=False)
    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr


def test_a_zeromq_without_curve_is_refused(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module.zmq, "has", lambda capability: False)
    with pytest.raises(ConfigError, match="built without CURVE"):
        table.open(1, RIGHT)
