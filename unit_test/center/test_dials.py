"""Dials against real ports."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import select
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from center import dials
from center.core.events import DialOutcome, DialResult
from center.dials import HOLD_S, Dials, dial
from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.loop.transport import reset_at_end
from unit_test.fix_net import free_port

pytestmark = pytest.mark.live
HERE = "127.0.0.1"
PATIENT_S = 5.0
"""As long as a busy machine may need to end a connection."""
ANSWER_S = 10.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a port that does answer have its time: after it, nothing is proved."""
    monkeypatch.setattr(dials, "DIAL_TIMEOUT_S", ANSWER_S)


def test_a_port_that_listens_is_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert dial(Endpoint(HERE, server.getsockname()[1]), HERE) is DialOutcome.ACCEPTED


def test_a_port_where_nobody_listens_refuses() -> None:
    assert dial(Endpoint(HERE, free_port()), HERE) is DialOutcome.REFUSED


def test_a_name_is_alive_if_one_of_its_addresses_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint("localhost", server.getsockname()[1])
        assert dial(endpoint, HERE) is not DialOutcome.REFUSED
    assert dial(Endpoint("no-such-host.invalid", 1), HERE) is DialOutcome.TIMEOUT


def test_a_unix_socket_refuses_once_its_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert dial(parse_endpoint(f"unix://{path}"), HERE) is DialOutcome.ACCEPTED
    assert dial(parse_endpoint(f"unix://{path}"), HERE) is DialOutcome.REFUSED
    path.unlink()
    assert dial(parse_endpoint(f"unix://{path}"), HERE) is DialOutcome.REFUSED


class HangingUp:
    """Accepts, and hangs up at once, `times` times; then it listens no more."""

    def __init__(self, times: int, *, resets: bool = False) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        if resets:
            reset_at_end(self._server)
        self._server.settimeout(ANSWER_S)
        self.endpoint = Endpoint("127.0.0.1", self._server.getsockname()[1])
        self._times = times
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            for _ in range(self._times):
                self._server.accept()[0].close()
            self._server.close()

    def __enter__(self) -> HangingUp:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # ends an accept
        self._thread.join()
        self._server.close()


def test_a_port_that_hangs_up_and_then_refuses_is_dead() -> None:
    """So does a killed process whose listening socket closes after its connections."""
    with HangingUp(1) as dying:
        assert dial(dying.endpoint, HERE, PATIENT_S) is DialOutcome.REFUSED


class Late(socket.socket):
    """Looks for the outcome of its connect only when the connection is over again."""

    def connect(self, address: Any, /) -> None:
        self.setblocking(False)
        number = self.connect_ex(address)
        if number == errno.EINPROGRESS:
            await_end(self)
            number = self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))


class Slow(socket.socket):
    """Goes on after its connect only when the connection is over again."""

    def connect(self, address: Any, /) -> None:
        super().connect(address)
        await_end(self)


class Own(socket.socket):
    """Has the very port that it dials, as the system may give it."""

    def connect(self, address: Any, /) -> None:
        self.bind(address)
        super().connect(address)


def test_a_dial_that_meets_itself_has_met_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(socket, "socket", Own)
    assert dial(Endpoint(HERE, port), HERE) is DialOutcome.REFUSED


def await_end(sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, 0)  # errors and the end alone
    assert poll.poll(ANSWER_S * 1000.0)


@pytest.mark.parametrize("kind", [Late, Slow])
def test_a_port_that_resets_before_we_look_and_then_refuses_is_dead(
    monkeypatch: pytest.MonkeyPatch, kind: type[socket.socket]
) -> None:
    with HangingUp(1, resets=True) as peer:  # one that comes before it stops listening is reset
        monkeypatch.setattr(socket, "socket", kind)
        assert dial(peer.endpoint, HERE) is DialOutcome.REFUSED


def test_a_port_that_always_hangs_up_is_alive() -> None:
    with HangingUp(dials.TRIES_MAX) as busy:
        assert dial(busy.endpoint, HERE, PATIENT_S) is DialOutcome.ACCEPTED


def test_a_port_that_does_not_answer_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials, "DIAL_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        held = [socket.socket() for _ in range(3)]
        try:
            for each in held:
                each.setblocking(False)
                each.connect_ex(address)
            assert dial(Endpoint(HERE, address[1]), HERE) is DialOutcome.TIMEOUT
        finally:
            for each in held:
                each.close()


def test_results_come_back_for_whatever_was_asked() -> None:
    results: queue.SimpleQueue[DialResult] = queue.SimpleQueue()
    dialler = Dials(results.put)
    dead = f"127.0.0.1:{free_port()}"
    try:
        dialler.reported(dead, f"{HERE}:1")
        dialler.dial(dead, "its session")
        dialler.dial("nonsense")
        got = {results.get(timeout=ANSWER_S) for _ in range(2)}
    finally:
        dialler.close()
    assert got == {
        DialResult(dead, DialOutcome.REFUSED, "its session"),
        DialResult("nonsense", DialOutcome.TIMEOUT),
    }


def test_a_dial_without_a_free_descriptor_has_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the node would take it for under way for ever, and never dial that server again."""

    def full(*given: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    results: queue.SimpleQueue[DialResult] = queue.SimpleQueue()
    dialler = Dials(results.put)
    try:
        dialler.reported(f"{HERE}:9", f"{HERE}:1")
        monkeypatch.setattr(socket, "socket", full)
        dialler.dial(f"{HERE}:9", "its session")
        got = results.get(timeout=ANSWER_S)
    finally:
        dialler.close()
    assert got == DialResult(f"{HERE}:9", DialOutcome.TIMEOUT, "its session")


def test_a_killed_process_whose_port_closes_late_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials, "PATIENT_S", PATIENT_S)
    results: queue.SimpleQueue[DialResult] = queue.SimpleQueue()
    dialler = Dials(results.put)
    with socket.create_server((HERE, 0)) as dying:
        address = f"{HERE}:{dying.getsockname()[1]}"
        dialler.reported(address, f"{HERE}:1")
        dialler.dial(address)
        with pytest.raises(queue.Empty):
            results.get(timeout=3 * HOLD_S)
    assert results.get(timeout=ANSWER_S) == DialResult(address, DialOutcome.REFUSED)
    dialler.close()


def test_only_a_few_dials_are_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials, "PATIENT_S", 60.0)
    results: queue.SimpleQueue[DialResult] = queue.SimpleQueue()
    dialler = Dials(results.put)
    with contextlib.ExitStack() as listening:
        addresses = []
        for _ in range(dials.PATIENT_MAX + 1):
            server = listening.enter_context(socket.create_server((HERE, 0)))
            addresses.append(f"{HERE}:{server.getsockname()[1]}")
            dialler.reported(addresses[-1], f"{HERE}:1")
        for address in addresses:
            dialler.dial(address)
        first = results.get(timeout=ANSWER_S)
        assert first.outcome is DialOutcome.ACCEPTED
    others = {results.get(timeout=ANSWER_S) for _ in range(dials.PATIENT_MAX)}
    dialler.close()
    assert {each.outcome for each in others} == {DialOutcome.REFUSED}
    assert {first.address, *(each.address for each in others)} == set(addresses)
