"""What a client's channel needs of a protocol: connections that carry calls.

PRPC has `connection.Connection`, which nothing here slows down: a channel calls what its wire
gave it, whatever that is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from libevrpc.channel.call import CallFailure, ClientCall
from libevrpc.channel.dial import DialTimes
from libevrpc.channel.options import ConnectionOptions
from libevrpc.core.endpoints import Endpoint
from libevrpc.loop.eventloop import EventLoop

__all__ = ["ClientConnection", "ClientWire"]


class ClientConnection(Protocol):
    """Carries calls to one server; never reconnects. Any thread, unless it says otherwise.

    One connection that many calls share, or a pool where each call has one of its own: that is
    the wire's business. A *frame* is what `Invocation` made for this wire.
    """

    down: CallFailure | None
    """Why it ended; None while it lives."""
    going_away: bool
    """No further call may start; those in flight are still answered."""
    greet: bool
    """The next request should carry our hello; always False where the wire has none."""

    @property
    def open(self) -> bool:
        """True once what is sent leaves at once, without a dial."""

    def next_id(self) -> int:
        """Return a number that no other call of this connection has."""

    def run(self, call: ClientCall, frame: Any) -> None:
        """Send `frame` and wait until `call` is done; its deadline is kept."""

    def start(self, call: ClientCall, frame: Any) -> None:
        """Send `frame`; `call.on_done` is told on the loop thread."""

    def start_oneway(self, call: ClientCall, frame: Any) -> None:
        """Send `frame`, whose reply nobody waits for, once there is a socket.

        `call.on_done` is told on the loop thread: with neither reply nor failure when it was
        sent, else with the failure, and then nothing was sent.
        """

    def send_oneway(self, frame: Any) -> CallFailure | None:
        """Send `frame` at once, only where `open`; returns why it could not be."""

    def probe(self, call: ClientCall) -> None:
        """Look for a sign of life: like `start`, with the cheapest question the wire has."""

    def cancel(self, call: ClientCall) -> bool:
        """Give `call` up; False: it is done already."""

    def settle(self, timeout_s: float) -> None:
        """Wait until one-way requests have left, dial included. No loop thread."""

    def close(self, text: str) -> None:
        """End; calls in flight fail. Any number of times."""

    def retire(self) -> None:
        """Take no further calls, end with the last one in flight."""

    def dial(self, endpoint: Endpoint, times: DialTimes) -> None:
        """Begin to connect. Once; other threads may have called before."""

    def connect_failed(self, failure: CallFailure) -> None:
        """End before it began; fails what waits."""


class ClientWire(Protocol):
    """Makes the connections of one protocol. Immutable, any thread."""

    def __call__(
        self,
        endpoint: Endpoint,
        loop: EventLoop,
        options: ConnectionOptions,
        on_down: Callable[[Any], object],
    ) -> ClientConnection:
        """Return a connection that has not dialled yet.

        `on_down` is told with it, on any thread, when it takes no more calls and at its end.
        """
