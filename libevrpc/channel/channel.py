"""A channel: the calls of one client to one endpoint, over connections that come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable

from libevrpc.channel.call import CallFailure
from libevrpc.channel.connection import Connection, ConnectionOptions
from libevrpc.channel.dial import DialTimes
from libevrpc.channel.wire import ClientConnection, ClientWire
from libevrpc.core.endpoints import Endpoint
from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop

__all__ = ["Channel"]


class Channel:
    """Connects when first used, and again after the connection ended. Any thread.

    Args:
        endpoint: where to.
        loop: the background loop, already started.
        options: limits of each connection.
        times: limits of each dial.
        on_down: told, on any thread, whenever a connection takes no more calls.
        wire: makes the connections; PRPC's if left out.
    """

    __slots__ = (
        "_closed",
        "_connection",
        "_dialling_lock",
        "_left",
        "_loop",
        "_on_down",
        "_options",
        "_times",
        "_wire",
        "endpoint",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        loop: EventLoop,
        options: ConnectionOptions,
        times: DialTimes,
        on_down: Callable[[], object] | None = None,
        wire: ClientWire = Connection.of,
    ) -> None:
        self.endpoint = endpoint
        self._wire = wire
        self._on_down = on_down
        self._loop = loop
        self._options = options
        self._times = times
        self._connection: ClientConnection | None = None
        self._left: dict[ClientConnection, None] = {}
        self._closed = False
        self._dialling_lock = threading.Lock()

    def connection(self) -> ClientConnection:
        """Return the connection to call on: the live one, or a new one that is being dialled."""
        connection = self._connection
        if connection is not None and connection.down is None and not connection.going_away:
            return connection
        made: ClientConnection | None = None
        try:
            with self._dialling_lock:
                connection = self._connection
                if connection is not None and connection.down is None and not connection.going_away:
                    return connection
                made = self._wire(self.endpoint, self._loop, self._options, self._forget)
                if connection is not None:
                    self._leave(connection)  # it goes away: its last calls are ours to end
                if not self._closed:
                    self._connection = made
            if self._closed:  # by another thread, while a call was on its way here
                made.connect_failed(CallFailure(Errno.CLOSED, "client is closed", sent=False))
            else:
                made.dial(self.endpoint, self._times)
        except BaseException:  # Ctrl-C: all would wait for a dial that has perhaps not begun
            if made is not None:
                text = "the caller that began to connect was interrupted"
                made.connect_failed(CallFailure(Errno.FAILED_SOCKET, text, sent=False))
            raise
        return made

    def settle(self, timeout_s: float) -> None:
        """Wait for the dial if one-way requests are to be sent then. No loop thread."""
        connection = self._connection
        if connection is not None:
            connection.settle(timeout_s)

    def close(self, text: str) -> None:
        """End the connection, for good; calls in flight fail, and so do later ones."""
        with self._dialling_lock:
            self._closed = True
            connection, self._connection = self._connection, None
            open_still = [*self._left] if connection is None else [connection, *self._left]
        for each in open_still:
            each.close(text)

    def retire(self) -> None:
        """Start no call on the connection any more; it ends with the last one in flight."""
        with self._dialling_lock:
            connection = self._connection
            if connection is not None:
                self._leave(connection)
            self._connection = None
        if connection is not None:
            connection.retire()

    @property
    def ended(self) -> bool:
        """True when there is no connection, not even one that ends with its last call."""
        return self._connection is None and not self._left

    def _forget(self, connection: ClientConnection) -> None:
        """Drop a connection that takes no more calls, unless another has replaced it."""
        with self._dialling_lock:
            ended = connection.down is not None
            if not ended:
                self._leave(connection)  # first: `close` and `ended` look for it all the time
            if self._connection is connection:
                self._connection = None
        if ended:
            self._left.pop(connection, None)
            if connection.going_away:
                return  # told before, or our own wish
        if self._on_down is not None:
            self._on_down()

    def _leave(self, connection: ClientConnection) -> None:
        """Keep a connection that takes no more calls until its last one is done."""
        self._left[connection] = None
        if connection.down is not None:  # it ended meanwhile, on another thread
            self._left.pop(connection, None)
