"""The result of a call that was started and not waited for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from libevrpc.errors import EvrpcError, RpcError, StatusCode, UsageError
from libevrpc.loop.eventloop import on_any_loop

__all__ = ["CallFuture"]

log = logging.getLogger(__name__)


class CallFuture:
    """What a started call will yield. All methods: any thread.

    Callbacks run on the background loop thread, or at once on the caller's thread where
    the call is done already; they must not block. They may start further calls.
    """

    # Defaults stand in the class: a call sets what differs, which is little for most.
    _done = False
    _error: EvrpcError | None = None
    _value: Any = None

    def __init__(self) -> None:
        self._callbacks: list[Callable[[CallFuture], object]] = []

    def done(self) -> bool:
        """True once there is a result or an error."""
        return self._done

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the response and return it.

        The call has a deadline of its own; `timeout_s` only bounds this wait.

        Raises:
            RpcError: the call failed.
            TimeoutError: it was not done within `timeout_s`; it goes on.
            UsageError: called on a loop thread, which the reply would need.
        """
        self._wait(timeout_s)
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout_s: float | None = None) -> EvrpcError | None:
        """Wait for the end and return the error, None after a success. Raises as `result`."""
        self._wait(timeout_s)
        return self._error

    def add_done_callback(self, callback: Callable[[CallFuture], object]) -> None:
        """Call `callback` with this future once it is done. What it raises is logged."""
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def cancel(self) -> bool:
        """Give the call up; a server of ours is told.

        True: it ends as cancelled. False: it is done, or just about to be done; it may end
        either way.
        """
        return not self._done and self._give_up()

    def cancelled(self) -> bool:
        """True if the call ended by `cancel`."""
        error = self._error
        return isinstance(error, RpcError) and error.code is StatusCode.CANCELLED

    # -- for the client -----------------------------------------------------------------

    def _give_up(self) -> bool:
        """Cancel what is on its way; False if nothing is."""
        return False

    def _succeed(self, value: Any) -> None:
        """End with a response. Once."""
        self._value = value
        self._done = True
        if self._callbacks:
            self._run_callbacks()

    def _end_badly(self, error: EvrpcError) -> None:
        """End with an error. Once."""
        self._error = error
        self._done = True
        if self._callbacks:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        # done is set before the list is read, and callbacks are added before done is read:
        # each one is popped by exactly one of the two threads
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            try:
                callback(self)
            except BaseException:  # sys.exit() in it must not end the loop of all clients
                log.exception("callback of a call failed callback=%r", callback)

    def _wait(self, timeout_s: float | None) -> None:
        if self._done:
            return
        if on_any_loop():
            raise UsageError(
                "waiting for a future on a loop thread would stop the loop that completes it;"
                " use add_done_callback"
            )
        gate = threading.Lock()
        gate.acquire()
        self.add_done_callback(lambda _: gate.release())
        if not gate.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            raise TimeoutError(f"call is not done after {timeout_s:g} s")
