"""One call to all servers of a service at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any, Literal, cast

from libevrpc.channel.channel import Channel
from libevrpc.client.arguments import TIMEOUT_S_MAX, wrong_timeout
from libevrpc.client.future import CallFuture
from libevrpc.client.invocation import CallShape, nobody
from libevrpc.client.method import MethodSpec
from libevrpc.client.router import Router
from libevrpc.client.started import FutureInvocation
from libevrpc.core.endpoints import Endpoint
from libevrpc.errors import RpcError, UsageError

__all__ = ["AT_ONCE_MAX", "Broadcast", "Mode"]

AT_ONCE_MAX = 256
"""Most servers that are called at the same time; further ones follow as these answer."""

Mode = Literal["first_error", "all"]
_MODES = ("first_error", "all")


class _Pinned:
    """A router as a call sees it that is for one server alone."""

    balances = True

    def __init__(self, router: Router, endpoint: Endpoint) -> None:
        self._router = router
        self._endpoint = endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)

    def pick(
        self, key: bytes | None, tried: Collection[Endpoint], now_s: float
    ) -> tuple[Endpoint, Channel]:
        """Return the one server. See `Router.pick`."""
        return self._router.pick_only(self._endpoint, now_s)

    def vouches_for(self, endpoint: Endpoint) -> bool:
        """Answer yes: there is nobody else to go on to."""
        return True


class Broadcast:
    """The calls of one broadcast. Any thread but a loop's, once.

    Args:
        spec: what is called.
        payload: the request, as frames take it.
        router: whose servers.
        shape: what all calls of the client have in common.
        timeout_s: deadline from now of all of it.
        mode: ``first_error``: the first failure ends the others; ``all``: each runs to its end.
        idempotent: None: what the method says.
        new_call: makes each server's call.

    Raises:
        UsageError: mode or time-out is wrong.
    """

    def __init__(
        self,
        spec: MethodSpec,
        payload: Any,
        router: Router,
        shape: CallShape,
        timeout_s: float,
        mode: Mode,
        idempotent: bool | None,
        new_call: type[FutureInvocation] = FutureInvocation,
    ) -> None:
        if mode not in _MODES:
            raise UsageError(f"mode={mode!r}: one of {', '.join(map(repr, _MODES))}")
        try:
            fits = timeout_s <= TIMEOUT_S_MAX
        except TypeError:
            fits = False
        if not fits:
            raise wrong_timeout(timeout_s)
        self._spec = spec
        self._payload = payload
        self._router = router
        self._shape = shape
        self._deadline_s = monotonic() + timeout_s
        self._ends_early = mode == "first_error"
        self._idempotent = idempotent
        self._new_call = new_call
        self._lock = threading.Lock()
        self._waiting: deque[Endpoint] = deque()
        self._running: dict[str, CallFuture] = {}
        self._outcomes: dict[str, Any] = {}
        self._error: RpcError | None = None
        self._ended = threading.Event()
        self._starting = False

    def run(self) -> dict[str, Any]:
        """Call and wait; returns address -> result, or address -> result or RpcError.

        Raises:
            RpcError: in mode ``first_error``, the first failure; in both, that no registry has
                said by the deadline who there is.
        """
        self._await_servers()
        self._waiting.extend(self._router.endpoints())
        order = [endpoint.address for endpoint in self._waiting]
        if not order:
            return {}
        try:
            self._start_more()
            self._ended.wait()
        except BaseException:  # Ctrl-C, or whatever else a signal handler raises
            self._give_up()
            raise
        if self._error is not None and self._ends_early:
            raise self._error
        return {address: self._outcomes[address] for address in order}

    def _await_servers(self) -> None:
        """Block until somebody has said who there is, if it is nobody."""
        router = self._router
        if router.known.is_set() or router.confirmed.is_set():
            return
        told = threading.Event()
        router.when(router.known, told.set)
        router.when(router.confirmed, told.set)
        in_time = told.wait(max(0.0, self._deadline_s - monotonic()))
        router.forget(told.set)
        if not in_time:
            raise router.trouble() or nobody(self._spec)

    def _start_more(self) -> None:
        """Call as many servers as may be called at once. Any thread."""
        with self._lock:
            if self._starting:  # who does sees to it; a call may end while it is started
                return
            self._starting = True
        while True:
            with self._lock:
                if not self._waiting or len(self._running) >= AT_ONCE_MAX:
                    self._starting = False
                    return
                endpoint = self._waiting.popleft()
                call = self._running[endpoint.address] = self._call(endpoint)
            call.add_done_callback(self._noter(endpoint.address))
            call.start()

    def _call(self, endpoint: Endpoint) -> FutureInvocation:
        pinned = cast("Router", _Pinned(self._router, endpoint))
        left_s = self._deadline_s - monotonic()
        return self._new_call(
            self._spec, self._payload, pinned, self._shape, left_s, None, None, self._idempotent
        )

    def _noter(self, address: str) -> Callable[[CallFuture], None]:
        def note(call: CallFuture) -> None:
            error = call.exception()
            with self._lock:
                self._running.pop(address, None)
                self._outcomes[address] = call.result() if error is None else error
                first = self._error is None and isinstance(error, RpcError)
                if first:
                    self._error = cast("RpcError", error)
            if first and self._ends_early:
                self._give_up()
            self._start_more()
            with self._lock:
                over = not (self._running or self._waiting)
            if over:
                self._ended.set()

        return note

    def _give_up(self) -> None:
        """Start no further call, cancel those under way. Any thread."""
        with self._lock:
            self._waiting.clear()
            running = list(self._running.values())
        for call in running:
            call.cancel()
