"""The loop: posted jobs, timers, descriptors, and its end."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from libevrpc.loop import eventloop as eventloop_module
from libevrpc.loop import poller as poller_module
from libevrpc.loop.eventloop import EventLoop, on_any_loop
from libevrpc.loop.poller import READ, WRITE, EpollPoller, Poller, SelectorPoller, new_poller
from libevrpc.loop.wakeup import WakeupPipe
from unit_test.fix_fork import result_in_child
from unit_test.fix_rpc import WAIT_S

pytestmark = pytest.mark.live


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    started = EventLoop("test-loop")
    started.start()
    yield started
    assert started.stop(WAIT_S)


class Reader:
    """Notes what it reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.seen = b""
        self.got = threading.Event()

    def on_readable(self) -> None:
        self.seen += self.sock.recv(100)
        self.got.set()

    def on_writable(self) -> None:
        raise ValueError("never asked for")


def run_on(loop: EventLoop, job: object) -> None:
    done = threading.Event()

    def work() -> None:
        job()  # type: ignore[operator]
        done.set()

    assert loop.post(work)
    assert done.wait(WAIT_S)


def test_posted_jobs_run_in_order_on_the_loops_thread(loop: EventLoop) -> None:
    seen: list[object] = []
    for number in range(100):
        loop.post(lambda number=number: seen.append(number))
    run_on(loop, lambda: seen.extend([loop.on_loop(), on_any_loop()]))
    assert seen == [*range(100), True, True]
    assert not loop.on_loop()
    assert not on_any_loop()


def test_job_that_raises_costs_nothing_else(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.post(lambda: 1 / 0)
    seen: list[int] = []
    run_on(loop, lambda: seen.append(1))
    assert seen == [1]
    assert "ZeroDivisionError" in caplog.text


def test_timers_fire_in_order_and_can_be_cancelled(loop: EventLoop) -> None:
    seen: list[str] = []
    fired = threading.Event()

    def arm() -> None:
        now_s = time.monotonic()
        loop.call_at(now_s + 0.02, lambda: (seen.append("second"), fired.set()))
        loop.call_at(now_s + 0.01, lambda: seen.append("first"))
        loop.cancel(loop.call_at(now_s + 0.005, lambda: seen.append("never")))

    run_on(loop, arm)
    assert fired.wait(WAIT_S)
    assert seen == ["first", "second"]


def test_descriptor_that_raises_does_not_end_the_loop(
    loop: EventLoop,
    socket_pair: tuple[socket.socket, socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    left, right = socket_pair
    reader = Reader(left)
    run_on(loop, lambda: loop.watch(left.fileno(), READ, reader))
    right.send(b"hello")
    assert reader.got.wait(WAIT_S)
    assert reader.seen == b"hello"
    run_on(loop, lambda: loop.rewatch(left.fileno(), READ | WRITE))
    run_on(loop, lambda: loop.unwatch(left.fileno()))
    run_on(loop, lambda: loop.unwatch(left.fileno()))
    assert "never asked for" in caplog.text


def test_other_threads_may_not_touch_what_is_the_loops(loop: EventLoop) -> None:
    with pytest.raises(AssertionError, match="not on loop test-loop"):
        loop.call_at(0.0, lambda: None)


def test_closed_loop_refuses_jobs_and_ran_all_it_took() -> None:
    loop = EventLoop("short")
    loop.start()
    seen: list[int] = []

    def chain(number: int) -> None:
        seen.append(number)
        if number < 5:
            loop.post(lambda: chain(number + 1))

    loop.post(lambda: chain(0))
    assert loop.stop(WAIT_S)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert not loop.post(lambda: seen.append(9))
    assert loop.stop()


def test_loop_that_never_started_is_closed_too() -> None:
    loop = EventLoop("idle")
    assert loop.stop()
    assert loop.stop()
    assert not loop.post(lambda: None)


def test_loop_ends_itself(loop: EventLoop) -> None:
    other = EventLoop("other")
    other.start()
    other.post(other.stop_soon)
    assert other.stop(WAIT_S)


def test_full_pipe_is_as_good_as_a_written_one() -> None:
    pipe = WakeupPipe()
    for _ in range(70_000):
        pipe.ring()
    assert select.select([pipe.fileno()], [], [], 0)[0]
    pipe.drain()
    assert not select.select([pipe.fileno()], [], [], 0)[0]
    pipe.close()


@pytest.mark.parametrize("kind", [EpollPoller, SelectorPoller])
def test_pollers_tell_what_is_ready(
    kind: type[Poller], socket_pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = socket_pair
    poller = kind()
    fd = left.fileno()
    poller.register(fd, READ)
    assert list(poller.poll(0.0)) == []
    right.send(b"x")
    assert list(poller.poll(None)) == [(fd, READ)]
    poller.modify(fd, READ | WRITE)
    assert list(poller.poll(1.0)) == [(fd, READ | WRITE)]
    poller.modify(fd, READ | WRITE)
    poller.modify(fd, 0)
    assert list(poller.poll(0.0)) == []
    poller.modify(fd, WRITE)
    assert list(poller.poll(0.0)) == [(fd, WRITE)]
    poller.unregister(fd)
    poller.register(fd, 0)
    poller.unregister(fd)
    poller.close()


def test_hang_up_shows_as_both(socket_pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = socket_pair
    poller = EpollPoller()
    poller.register(left.fileno(), READ)
    right.close()
    assert list(poller.poll(1.0)) == [(left.fileno(), READ | WRITE)]
    poller.close()


def test_systems_without_epoll_get_a_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(poller_module.select, "epoll")
    poller = new_poller()
    assert isinstance(poller, SelectorPoller)
    poller.close()
    monkeypatch.undo()
    other = new_poller()
    assert isinstance(other, EpollPoller)
    other.close()
    assert os.getpid()


def test_callbacks_that_exit_do_not_end_the_loop(
    loop: EventLoop, socket_pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = socket_pair

    class Exits:
        """Is told of bytes and leaves."""

        def on_readable(self) -> None:
            loop.unwatch(left.fileno())
            sys.exit(3)

        def on_writable(self) -> None:
            raise AssertionError("not asked for")

    done = threading.Event()
    loop.post(sys.exit)
    loop.post(lambda: loop.watch(left.fileno(), READ, Exits()))
    right.send(b"x")
    loop.post(lambda: loop.call_at(loop.now_s + 0.01, sys.exit))
    loop.post(lambda: loop.call_at(loop.now_s + 0.02, done.set))
    assert done.wait(WAIT_S)


def test_threads_of_a_forked_child_are_no_loops(loop: EventLoop) -> None:
    told = threading.Event()
    loop.post(lambda: on_any_loop() and told.set())
    assert told.wait(WAIT_S)
    # a thread of the child may get the number that the loop has in the parent
    assert result_in_child(lambda: len(eventloop_module._loop_threads)) == 0  # noqa: SLF001
