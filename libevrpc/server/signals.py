"""SIGTERM and SIGINT as something that can be waited for without being missed."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from libevrpc.errors import UsageError

__all__ = ["StopSignals"]


class StopSignals:
    """Takes over SIGTERM and SIGINT while it is entered. Main thread only.

    Waits on a pipe that the interpreter writes to: the kernel may hand a signal to any
    thread, and a main thread that sleeps on a lock would not hear of it; nor may a handler
    set an event whose lock the main thread holds just then.

    Args:
        on_second: told when another signal comes.
    """

    def __init__(self, on_second: Callable[[], object]) -> None:
        self._on_second = on_second
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            raise UsageError(
                "signals are heard on the main thread only: call run() there, or start(), wait()"
                " and stop()"
            )
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def wait(self) -> None:
        """Block until one of the two signals has come; others do not matter."""
        while not self._count:
            select.select([self._read_fd], [], [])
            os.read(self._read_fd, 64)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            self._on_second()
