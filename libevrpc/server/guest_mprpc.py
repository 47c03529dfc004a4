"""mprpc on a server's port: see `libevrpc.core.mprpc`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from libevrpc.clock import monotonic_s
from libevrpc.core.mprpc import Order, mprpc_wire
from libevrpc.core.oneline import one_line
from libevrpc.core.wires import GuestRequest, Wire
from libevrpc.errors import RpcError

if TYPE_CHECKING:
    from libevrpc.server.guests import GuestContext

__all__ = ["make_mprpc"]

log = logging.getLogger(__name__)

_WARN_EVERY_S = 1.0
"""Errors of mprpc calls are named this often at most."""


def make_mprpc(name: str, order: Order, context: GuestContext) -> Wire:
    """Return the wire of one server. An error is logged: its caller sees only a reset."""
    return mprpc_wire(name, order, context.limits, _Errors().note)


class _Errors:
    """The errors of one server's mprpc calls. Loop threads: a lost count is no harm."""

    def __init__(self) -> None:
        self._unsaid = 0
        self._warn_again_s = 0.0

    def note(self, request: GuestRequest, error: RpcError) -> None:
        """Log an error, but no flood of them."""
        self._unsaid += 1
        now_s = monotonic_s()
        if now_s >= self._warn_again_s:
            self._warn_again_s = now_s + _WARN_EVERY_S
            count, self._unsaid = self._unsaid, 0
            log.warning(
                "mprpc call failed, its connection is reset method=%s.%s count=%d: %s",
                one_line(request.service),
                one_line(request.method),
                count,
                one_line(str(error)),
            )
