"""The leak fixture sees what it must, and the pipes behave as connections do."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from compare import node
from compare.node import PORTS, shuffled_share

from unit_test.fix_leak import leaked_files, leaked_threads, open_files
from unit_test.fix_net import MemoryPipe, free_ports
from unit_test.interop import clusters
from unit_test.interop.clusters import MEASURED_AGAIN, require_soon


def test_a_thread_left_behind_is_named() -> None:
    before, done = set(threading.enumerate()), threading.Event()
    thread = threading.Thread(target=done.wait, name="forgotten")
    thread.start()
    try:
        assert leaked_threads(before, within_s=0.01) == ["thread forgotten"]
    finally:
        done.set()
        thread.join()


def test_a_thread_that_ends_in_time_is_no_leak() -> None:
    before = set(threading.enumerate())
    threading.Thread(target=lambda: None).start()
    assert leaked_threads(before, within_s=5.0) == []


def test_a_descriptor_left_behind_is_named() -> None:
    before = open_files()
    reading, writing = os.pipe()
    try:
        assert [leak.split(":")[0] for leak in leaked_files(before)] == [
            f"descriptor {reading} -> pipe",
            f"descriptor {writing} -> pipe",
        ]
    finally:
        os.close(reading)
        os.close(writing)
    assert leaked_files(before) == []


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_socket_pair_does_not_block(socket_pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = socket_pair
    with pytest.raises(BlockingIOError):
        right.recv(1)
    left.sendall(b"x")
    assert right.recv(1) == b"x"


def test_a_memory_pipe_takes_what_fits_and_gives_it_in_pieces() -> None:
    pipe = MemoryPipe(capacity_bytes=4, cut_bytes=3)
    assert pipe.send(b"abcdef") == 4
    assert pipe.send(b"ef") == 0
    assert pipe.receive() == b"abc"
    pipe.close()
    assert (pipe.receive(), pipe.receive()) == (b"d", b"")
    with pytest.raises(BrokenPipeError):
        pipe.send(b"x")


def test_an_empty_open_pipe_would_block() -> None:
    with pytest.raises(BlockingIOError):
        MemoryPipe().receive()


def test_ports_are_not_given_twice_nor_by_two_processes_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node, "_not_given", [])
    given = [port for _ in range(40) for port in free_ports(5)]
    assert len(set(given)) == 200
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")
    shares = []
    for number in range(3):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        shares.append(set(shuffled_share()))
    assert sum(map(len, shares)) == len(set.union(*shares)) == len(PORTS)


def test_a_time_that_is_too_long_is_final_where_the_machine_went_on() -> None:
    with pytest.raises(AssertionError):
        require_soon(lambda: 2.0, 1.0)


def test_a_time_while_the_machine_stood_still_is_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clusters, "STOOD_STILL_S", -1.0)  # it always does
    times = iter([2.0, 3.0, 0.5])
    assert require_soon(lambda: next(times), 1.0) == 0.5
    times = iter([2.0] * MEASURED_AGAIN + [0.5])
    with pytest.raises(AssertionError):
        require_soon(lambda: next(times), 1.0)
