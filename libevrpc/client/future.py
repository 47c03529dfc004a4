"""The result of a call that was started and not waited for."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from typing import Any, NoReturn

from libevrpc.errors import EvrpcError, RpcError, StatusCode, UsageError
from libevrpc.loop.eventloop import on_any_loop

__all__ = ["CallFuture"]

log = logging.getLogger(__name__)


class CallFuture(Future[Any]):
    """What a started call will yield. All methods: any thread.

    It is a `concurrent.futures.Future`, for `concurrent.futures.wait` and `as_completed`, and
    can be awaited by asyncio. Unlike others of its kind a cancelled call raises `RpcError`.

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

    def running(self) -> bool:
        """True until there is a result or an error."""
        return not self._done

    def result(self, timeout: float | None = None, *, timeout_s: float | None = None) -> Any:
        """Wait for the response and return it.

        The call has a deadline of its own; `timeout_s` (or `timeout`, as other futures call it)
        only bounds this wait.

        Raises:
            RpcError: the call failed.
            TimeoutError: it was not done within `timeout_s`; it goes on.
            UsageError: called on a loop thread, which the reply would need.
        """
        self._wait(timeout if timeout_s is None else timeout_s)
        if self._error is not None:
            raise self._error
        return self._value

    def exception(
        self, timeout: float | None = None, *, timeout_s: float | None = None
    ) -> EvrpcError | None:
        """Wait for the end and return the error, None after a success. Raises as `result`."""
        self._wait(timeout if timeout_s is None else timeout_s)
        return self._error

    def add_done_callback(self, fn: Callable[[CallFuture], object]) -> None:
        """Call `fn` with this future once it is done. What it raises is logged."""
        self._callbacks.append(fn)
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

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in a coroutine of asyncio; cancelling its task cancels the call."""
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        state = "pending" if not self._done else "finished"
        if self._error is not None:
            state = repr(self._error)
        return f"<{type(self).__name__} {state}>"

    # -- what others set on futures of theirs -------------------------------------------

    def set_result(self, result: Any) -> NoReturn:
        """Raise: the call ends its future itself."""
        raise InvalidStateError("a call ends its future itself")

    def set_exception(self, exception: BaseException | None) -> NoReturn:
        """Raise: the call ends its future itself."""
        raise InvalidStateError("a call ends its future itself")

    # -- what `concurrent.futures` works with -------------------------------------------

    def _formal_end(self) -> _FormalEnd:
        """Return the end as `concurrent.futures` sees it, made when it is first looked at."""
        found: _FormalEnd | None = self.__dict__.get("_end")
        if found is None:
            made = _FormalEnd()
            found = self.__dict__.setdefault("_end", made)
            if found is made:
                self.add_done_callback(made.come)
        return found

    # The names are those of `Future`'s own attributes, which its `__init__` would set.

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._formal_end().condition

    @property
    def _state(self) -> str:  # type: ignore[override]
        return self._formal_end().state

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._formal_end().waiters

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

        def ended(_: CallFuture) -> None:
            gate.release()

        self.add_done_callback(ended)
        if not gate.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            with contextlib.suppress(ValueError):  # it has just been done
                self._callbacks.remove(ended)
            raise TimeoutError(f"call is not done after {timeout_s:g} s")


class _FormalEnd:
    """The end of a future as those see it who wait for several. Under `condition`.

    They look at `state` and add themselves to `waiters` under the condition of every future;
    `come` takes it too, so that nobody is missed. Only futures that are waited for so have one.
    """

    __slots__ = ("condition", "state", "waiters")

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.state = "RUNNING"
        self.waiters: list[Any] = []

    def come(self, future: CallFuture) -> None:
        """Tell who waits; a callback of the future."""
        error = future.exception()
        with self.condition:
            cancelled = future.cancelled()
            self.state = "CANCELLED_AND_NOTIFIED" if cancelled else "FINISHED"
            for waiter in self.waiters:
                if cancelled:
                    waiter.add_cancelled(future)
                elif error is not None:
                    waiter.add_exception(future)
                else:
                    waiter.add_result(future)
            self.condition.notify_all()
