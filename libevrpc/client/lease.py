"""What a client holds while it is open, and who gives it back when nobody closes the client."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings

from libevrpc.channel.background import acquire_loop, release_loop
from libevrpc.client.router import Router
from libevrpc.clock import monotonic_s
from libevrpc.loop.eventloop import on_any_loop
from libevrpc.registry.base import Resolver

__all__ = ["Lease"]

_SETTLE_S = 1.0
"""How long `close` waits, at most, for a dial that one-way requests wait for."""


class Lease:
    """The background loop, the routers and the resolvers of one client, from its first call on.

    The client refers to it, and so does every call on its way: when the last of them is gone
    and nobody has closed it, it warns as sockets and files do, and closes itself. Nothing that
    it holds refers to it.

    Args:
        target: of the client, for the warning.
    """

    def __init__(self, target: str) -> None:
        self._held = False
        self._target = target
        self._process = os.getpid()
        self._routers: list[Router] = []
        self._resolvers: list[Resolver] = []
        self.loop = acquire_loop()
        self._held = True

    def hold(self, router: Router, resolver: Resolver) -> None:
        """Close these with the rest. The client, under its lock."""
        self._routers.append(router)
        self._resolvers.append(resolver)

    def close(self) -> None:
        """Close everything; calls in flight fail. Once, by the client."""
        self._held = False
        _close(self._routers, self._resolvers)

    def __del__(self) -> None:
        # threads and connections of a parent are the parent's; at the end all of them go anyway
        if not self._held or self._process != os.getpid() or sys.is_finalizing():
            return
        self._held = False
        # a thread of its own: whoever drops the last reference may hold any lock of ours
        given = (self._routers, self._resolvers)
        with contextlib.suppress(RuntimeError):  # the system has no more threads
            threading.Thread(target=_close, args=given, name="libevrpc-drop", daemon=True).start()
        warnings.warn(
            f"unclosed RpcClient of {self._target}: close() it, or use it in a with statement",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )


def _close(routers: list[Router], resolvers: list[Resolver]) -> None:
    """End what a lease held, the loop last. Any thread."""
    for resolver in resolvers:
        resolver.close()
    until_s = monotonic_s() + (0.0 if on_any_loop() else _SETTLE_S)
    for router in routers:
        router.settle(until_s)
        router.close("client is closed")
    release_loop()
