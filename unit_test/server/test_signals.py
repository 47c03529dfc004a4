"""Waiting for the signals that end a server."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from libevrpc import RpcServer, UsageError
from libevrpc.server.signals import StopSignals


def nothing() -> None:
    raise AssertionError("there was one signal only")


def test_a_signal_before_the_wait_is_not_missed() -> None:
    with StopSignals(nothing) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        signals.wait()


def test_a_signal_that_another_thread_receives_ends_the_wait() -> None:
    sent = threading.Event()

    def receive() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        sent.set()

    with StopSignals(nothing) as signals:
        other = threading.Timer(0.05, receive)
        other.start()
        signals.wait()
        assert sent.wait(5.0)
        other.join()


def test_other_signals_do_not_end_the_wait() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        with StopSignals(nothing) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            ender = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGTERM))
            ender.start()
            signals.wait()
            assert seen == [signal.SIGUSR1]
            ender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.live
def test_another_thread_is_told_that_it_hears_no_signals() -> None:
    caught: list[Exception] = []
    server = RpcServer("127.0.0.1:0")

    def run() -> None:
        try:
            server.run()
        except UsageError as exc:
            caught.append(exc)

    open_before = os.listdir("/proc/self/fd")
    other = threading.Thread(target=run)
    other.start()
    other.join()
    assert "call run() there, or start(), wait() and stop()" in str(caught[0])
    assert len(os.listdir("/proc/self/fd")) == len(open_before)
    server.start()  # nothing has begun
    server.stop(0.0)


def test_a_second_signal_is_told_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    told: list[int] = []
    with StopSignals(lambda: told.append(1)) as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            signals.wait()
    assert len(told) == 2
    assert signal.getsignal(signal.SIGTERM) is before
    wakeup = signal.set_wakeup_fd(-1)
    assert wakeup == -1
