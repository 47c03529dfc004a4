"""One connection for each call: connect, send, read to the end of the stream.

mprpc works so: its reply has no length, and ends where the server hangs up. All of it happens on
the background loop; a caller that waits sleeps at its gate.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable

from libevrpc.channel.call import CallFailure, ClientCall, OnewayCall, refusal
from libevrpc.channel.connector import Connector, Outcome
from libevrpc.channel.dial import DialTimes
from libevrpc.channel.options import ConnectionOptions
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.prpc import Reply
from libevrpc.core.timers import Timer
from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.transport import Transport

__all__ = ["CountedConnections", "ShortConnections"]

_HINT = " (how our mprpc servers tell of an error: the reason is in their log)"
_LENGTH_BYTES = 4
"""Of a reply that is counted: big-endian."""


class ShortConnections:
    """The short connections to one server; see `ClientConnection`.

    At most `calls_max` are open at once, those of one-way calls that wait for the server to hang
    up included, those that are just being closed not; one more fails with 2004.
    """

    greet = False
    open = False
    counted = False
    """A reply begins with its length, and ends there."""

    def __init__(
        self,
        endpoint: Endpoint,
        loop: EventLoop,
        options: ConnectionOptions,
        on_down: Callable[[ShortConnections], object],
    ) -> None:
        self.peer = endpoint.address
        self.down: CallFailure | None = None
        self.going_away = False
        self.options = options
        self.loop = loop
        self._on_down = on_down
        self._ids = itertools.count(1)
        self._pending: dict[int, _Exchange] = {}
        self._exchanges: dict[_Exchange, None] = {}
        self._counted: dict[_Exchange, None] = {}
        self._state_lock = threading.Lock()
        self._oneway_left = threading.Condition(self._state_lock)
        self._connector: Connector | None = None
        self._undialled: list[Callable[[Outcome], object]] = []
        # there are no resets on such paths
        self._deaf = bool(endpoint.path) and not self.counted

    # -- any thread ---------------------------------------------------------------------

    def next_id(self) -> int:
        """See `ClientConnection`."""
        return next(self._ids)

    def dial(self, endpoint: Endpoint, times: DialTimes) -> None:
        """Take note of where calls connect to, once; those that were quicker connect then."""
        connector = Connector(endpoint, times, self.loop)
        self.loop.post(lambda: self._dial(connector))

    def connect_failed(self, failure: CallFailure) -> None:
        """See `ClientConnection`."""
        self._end(failure)

    def run(self, call: ClientCall, frame: bytes) -> None:
        """Call and wait until `call` is done; its deadline is kept."""
        call.gate = gate = threading.Lock()
        gate.acquire()
        exchange = self._enter(call, frame)
        if exchange is None:
            return
        try:
            if not gate.acquire(timeout=max(0.0, call.deadline_s - time.monotonic())):
                if self.take(call):
                    call.failure = self._too_late(exchange)
                    call.done = True
                    self._abandon(exchange)
                else:
                    gate.acquire()  # whoever took it is about to open the gate
        except BaseException:  # Ctrl-C, or whatever else a signal handler raises
            if self.take(call):
                self._abandon(exchange)
            raise

    @property
    def in_flight(self) -> int:
        """Number of connections. Any thread."""
        return len(self._exchanges)

    def start(self, call: ClientCall, frame: bytes) -> None:
        """Call; `call.on_done` is told on the loop thread."""
        if self._enter(call, frame) is None:
            self._tell_soon(call)

    def start_oneway(self, call: ClientCall, frame: bytes) -> None:
        """See `ClientConnection`. The connection stays until the server has hung up."""
        self.start(call, frame)

    def send_oneway(self, frame: bytes) -> CallFailure | None:
        """See `ClientConnection`: nothing is ever sent without a dial."""
        return self._refusal()

    def probe(self, call: ClientCall) -> None:
        """See whether the server accepts a connection: the wire has no other harmless question."""
        self.start(call, b"")

    def cancel(self, call: ClientCall) -> bool:
        """Give `call` up and hang up, which is how the server learns; False: it is done."""
        exchange = self._pending.get(call.correlation_id)
        if exchange is None or not self.take(call):
            return False
        call.failure = CallFailure(Errno.CANCELLED, "cancelled by the caller", sent=True)
        self._abandon(exchange)
        self.finish(call)
        return True

    def settle(self, timeout_s: float) -> None:
        """Wait until the servers of all one-way requests have hung up. No loop thread.

        Ours takes a caller that hangs up first for one that wants its call no more.
        """
        with self._oneway_left:
            self._oneway_left.wait_for(self._told_all, max(0.0, timeout_s))

    def close(self, text: str) -> None:
        """End; calls in flight fail. Any number of times."""
        self._end(CallFailure(Errno.CLOSED, text, sent=True))

    def retire(self) -> None:
        """Take no further calls, end with the last one in flight."""
        self.going_away = True
        self._end_if_left()

    def take(self, call: ClientCall) -> bool:
        """Take `call` out: who gets it may end it. False: somebody else did."""
        return self._pending.pop(call.correlation_id, None) is not None

    def finish(self, call: ClientCall) -> None:
        """Tell whoever waits for `call`, which is ours alone now."""
        call.done = True
        if call.on_done is not None:
            if self.loop.on_loop():
                call.on_done(call)
            else:
                self._tell_soon(call)
        elif call.gate is not None:
            call.gate.release()

    # -- loop thread --------------------------------------------------------------------

    def connect(self, on_done: Callable[[Outcome], object]) -> None:
        """Open a socket for one call."""
        if self._connector is None:
            self._undialled.append(on_done)
        else:
            self._connector.connect(on_done)

    def pending(self, exchange: _Exchange) -> bool:
        """Tell whether somebody still waits for what `exchange` carries."""
        return exchange.call.correlation_id in self._pending

    def expire(self, exchange: _Exchange) -> None:
        """Fail a call whose deadline has come."""
        if self.take(exchange.call):
            exchange.call.failure = self._too_late(exchange)
            self.finish(exchange.call)

    def count_no_more(self, exchange: _Exchange) -> None:
        """Let another call have the place of one whose socket is about to be closed."""
        self._counted.pop(exchange, None)

    def left(self, exchange: _Exchange) -> None:
        """Forget an exchange whose socket is closed, or that never had one."""
        self.count_no_more(exchange)
        self._exchanges.pop(exchange, None)
        if type(exchange.call) is OnewayCall:
            with self._oneway_left:
                self._oneway_left.notify_all()
        self._end_if_left()

    # -- inside -------------------------------------------------------------------------

    def _dial(self, connector: Connector) -> None:
        self._connector = connector
        waiting, self._undialled = self._undialled, []
        for on_done in waiting:
            connector.connect(on_done)

    def _enter(self, call: ClientCall, frame: bytes) -> _Exchange | None:
        """Register and begin; None: the call failed, and says why."""
        exchange = _Exchange(self, call, frame)
        if len(self._counted) >= self.options.calls_max:
            text = f"{self.options.calls_max} calls are in flight to {self.peer} already"
            call.failure = CallFailure(Errno.LIMIT, text, sent=False)
            call.done = True
            return None
        if self._deaf:
            text = f"{self.peer}: an error there would read as an empty reply; use wire=prpc"
            call.failure = CallFailure(Errno.FAILED_SOCKET, text, sent=False)
            call.done = True
            return None
        # registered first and looked then, as in `Connection._launch`: one of two sees the other
        self._exchanges[exchange] = self._counted[exchange] = None
        self._pending[call.correlation_id] = exchange
        if self.down is None and not self.going_away and self.loop.post(exchange.begin):
            return exchange
        self.count_no_more(exchange)
        self._exchanges.pop(exchange, None)
        if not self.take(call):
            return exchange  # it went down meanwhile, and whoever noticed fails the call
        call.failure = self._refusal()
        call.done = True
        self._end_if_left()
        return None

    def _told_all(self) -> bool:
        return not any(type(each.call) is OnewayCall for each in list(self._exchanges))

    def _refusal(self) -> CallFailure:
        return refusal(self.peer, self.down, going_away=self.going_away, broken=False)

    def _too_late(self, exchange: _Exchange) -> CallFailure:
        """Return the failure at the deadline of a call that has been taken out already."""
        if exchange.connected:
            text = f"deadline reached, no reply from {self.peer}"
            return CallFailure(Errno.TIMED_OUT, text, sent=True)
        why = self._connector.trouble if self._connector is not None else 0
        text = f"{self.peer}: cannot connect: deadline reached while connecting"
        text += f" ({os.strerror(why)})" if why else ""
        return CallFailure(Errno.TIMED_OUT, text, sent=False)

    def _abandon(self, exchange: _Exchange) -> None:
        self.loop.post(exchange.end)

    def _tell_soon(self, call: ClientCall) -> None:
        on_done = call.on_done
        assert on_done is not None
        if not self.loop.post(lambda: on_done(call)):
            on_done(call)  # the loop has ended: nobody else is left to tell it

    def _end_if_left(self) -> None:
        if self.going_away and not self._exchanges:
            text = f"{self.peer} is not used any more"
            self._end(CallFailure(Errno.STOPPING, text, sent=False))

    def _end(self, failure: CallFailure) -> None:
        with self._state_lock:
            if self.down is not None:
                return
            self.down = failure
        for exchange in list(self._pending.values()):
            if self.take(exchange.call):
                sent = failure.sent and exchange.transport is not None
                exchange.call.failure = CallFailure(failure.errno, failure.text, sent)
                self.finish(exchange.call)
        self.loop.post(self._close_all)
        self._on_down(self)

    def _close_all(self) -> None:
        self._undialled.clear()
        if self._connector is not None:
            self._connector.close()
        for exchange in list(self._exchanges):
            exchange.connecting = False  # the connector tells nobody
            exchange.end()


class CountedConnections(ShortConnections):
    """The same for replies with a length, as a variant of mprpc has them."""

    counted = True


class _Exchange:
    """One call and its connection. Loop thread only, but for what it is made of."""

    __slots__ = (
        "_chunks",
        "_frame",
        "_line",
        "_received",
        "_timer",
        "call",
        "connected",
        "connecting",
        "transport",
    )

    def __init__(self, line: ShortConnections, call: ClientCall, frame: bytes) -> None:
        self.call = call
        self.transport: Transport | None = None
        self.connecting = False  # it counts until that has ended, wanted or not
        self.connected = False  # until then nothing is sent; once the call is taken, never
        self._line = line
        self._frame = frame
        self._chunks: list[bytes] = []
        self._received = 0
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Connect, unless the call is over already."""
        line = self._line
        if not line.pending(self):
            line.left(self)
            return
        self._timer = line.loop.call_at(self.call.deadline_s, self._too_late)
        self.connecting = True
        line.connect(self._connected)

    def end(self) -> None:
        """Hang up, if that has not happened."""
        if self._timer is not None:
            self._line.loop.cancel(self._timer)
        if self.transport is not None:
            self.transport.close("no longer needed")
        elif not self.connecting:
            self._line.left(self)

    def on_bytes(self, data: bytes) -> None:
        """Keep what is a part of the reply. See `TransportOwner`."""
        if not self._line.pending(self):  # of a one-way call: nobody wants it
            if self._line.counted:
                self.end()  # the server does not hang up by itself
            return
        self._received += len(data)
        longest = self._line.options.limits.body_bytes_max
        if self._received > longest + (_LENGTH_BYTES if self._line.counted else 0):
            text = f"{self._line.peer}: reply of over {longest} bytes, limit {longest}"
            self._fail(CallFailure(Errno.BAD_RESPONSE, text, sent=True))
            return
        self._chunks.append(data)
        if self._line.counted:
            self._take_counted(longest)

    def _take_counted(self, longest: int) -> None:
        """End with a reply that is as long as it says."""
        received = self._received
        if received < _LENGTH_BYTES:
            return
        data = self._chunks[0]
        if len(data) < _LENGTH_BYTES:
            self._chunks = [data := b"".join(self._chunks)]
        length = int.from_bytes(data[:_LENGTH_BYTES], "big")
        if length > longest or received > _LENGTH_BYTES + length:
            text = f"{self._line.peer}: reply of {length} bytes, limit {longest}"
            if received > _LENGTH_BYTES + length:
                text = f"{self._line.peer}: {received} bytes came for a reply of {length}"
            self._fail(CallFailure(Errno.BAD_RESPONSE, text, sent=True))
        elif received == _LENGTH_BYTES + length:
            self._succeed(b"".join(self._chunks)[_LENGTH_BYTES:])

    def on_eof(self) -> None:
        """Take what came for the reply: here it ends. See `TransportOwner`."""
        transport = self.transport
        assert transport is not None
        if transport.closed:
            return  # it broke: `on_shut` says how
        line = self._line
        if transport.unsent_bytes:
            text = f"{line.peer} closed the connection before it had the whole request"
            self._fail(CallFailure(Errno.EOF, text, sent=True))
        elif line.counted:
            text = f"{line.peer} closed the connection before the end of its reply"
            self._fail(CallFailure(Errno.EOF, text, sent=True))
        else:
            self._succeed(b"".join(self._chunks))

    def _succeed(self, payload: bytes) -> None:
        self._line.count_no_more(self)  # before its caller goes on, perhaps with another call
        if self._line.take(self.call):
            self.call.reply = Reply(self.call.correlation_id, 0, "", payload)
            self._line.finish(self.call)
        self.end()

    def on_shut(self, reason: str) -> None:
        """Give the socket back. See `TransportOwner`."""
        transport = self.transport
        assert transport is not None
        text = f"{self._line.peer}: {reason}{_HINT if transport.bytes_out else ''}"
        failure = CallFailure(Errno.FAILED_SOCKET, text, sent=transport.bytes_out > 0)
        self._fail(failure, end=False)
        transport.release()
        if self._timer is not None:
            self._line.loop.cancel(self._timer)
        self._line.left(self)

    def _connected(self, outcome: Outcome) -> None:
        line = self._line
        self.connecting = False
        if isinstance(outcome, CallFailure):
            self._fail(outcome)
            return
        self.connected = True  # before one looks whether it is wanted: who takes it reads this
        if not line.pending(self):
            outcome.close()
            self.end()
            return
        self._open(outcome)
        if self._frame and type(self.call) is not OnewayCall:
            return
        if not self._frame:  # a probe: that is all
            self._succeed(b"")
        elif line.take(self.call):
            line.finish(self.call)

    def _open(self, sock: socket.socket) -> None:
        line = self._line
        options = line.options
        self.transport = transport = Transport(
            sock,
            line.loop,
            peer=line.peer,
            unsent_bytes_max=options.unsent_bytes_max,
            unsent_pause_bytes=options.unsent_bytes_max,
        )
        transport.start(self)
        if self._frame:
            transport.send(self._frame)  # where that fails, `on_shut` is told

    def _fail(self, failure: CallFailure, *, end: bool = True) -> None:
        self._line.count_no_more(self)
        if self._line.take(self.call):
            self.call.failure = failure
            self._line.finish(self.call)
        if end:
            self.end()

    def _too_late(self) -> None:
        """Expire the call, or hang up on a server that does not, behind a one-way call."""
        self._timer = None
        if not self.connecting:
            self._line.count_no_more(self)
        self._line.expire(self)
        self.end()
