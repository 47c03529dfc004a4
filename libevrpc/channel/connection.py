"""One connection to one server, shared by any number of caller threads.

Who reads is decided in `baton`; here is what is sent, what comes of what was read, and the
beginning and the end. The send lock is the transport's.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from libevrpc.channel.baton import ReaderBaton
from libevrpc.channel.call import CallFailure, ClientCall, OnewayCall, refusal
from libevrpc.channel.dial import DialTimes, dial_in_background
from libevrpc.channel.options import ConnectionOptions
from libevrpc.channel.private import cancel_frame, ping_frame, probe_frame, token_frame
from libevrpc.channel.upkeep import FutureDeadlines, Upkeep
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.hello import GOAWAY_FIELD, IDLE, PING_ID, read_hello
from libevrpc.core.prpc import Broken, PrpcDecoder, Reply
from libevrpc.errors import Errno
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.transport import Transport

__all__ = ["Connection", "ConnectionOptions"]

_LOOK_AGAIN_S = 0.005
"""How often a client that closes looks whether its one-way requests have left."""
CANCELS_MAX = 64
"""Calls given up before the peer said hello, of which it is told then; further ones end at their
deadline."""


class Connection(ReaderBaton):
    """One connection, from the first dial to its end; it never reconnects.

    `run`, `start`, `send_oneway`, `cancel` and `close` may be called by any thread.

    Args:
        peer: address for messages.
        loop: the background loop.
        options: limits.
        on_down: told on any thread when the server is going away, and at the end.

    Attributes:
        greet: the next request should carry the hello.
        down: why the connection ended; None while it lives.
        going_away: the server takes no further calls; those in flight are still answered.
        stale: it takes some on a new connection: this one was idle.
    """

    def __init__(
        self,
        peer: str,
        loop: EventLoop,
        options: ConnectionOptions,
        on_down: Callable[[Connection], object],
    ) -> None:
        super().__init__(loop)
        self.peer = peer
        self.greet = True
        self._cancelled: list[int] = []
        self.going_away = self.stale = False
        self._options = options
        self._on_down = on_down
        self._ids = itertools.count(1)
        self._last_id = 0
        self._looked_id = 0
        self._waiting: list[tuple[ClientCall | None, Any]] = []
        self._decoder = PrpcDecoder("client", options.limits)
        self._state_lock = threading.Lock()
        self._looped = False
        self._deadlines = FutureDeadlines(loop, self._futures, self._expire_future)
        self._upkeep = Upkeep(loop, park=self._park, ping=self._ping, dead=self._found_dead)
        self._shut = False
        self._opened = threading.Event()

    @classmethod
    def of(
        cls,
        endpoint: Endpoint,
        loop: EventLoop,
        options: ConnectionOptions,
        on_down: Callable[[Connection], object],
    ) -> Connection:
        """Return the connection of a channel; see `ClientWire`."""
        return cls(endpoint.address, loop, options, on_down)

    # -- any thread ---------------------------------------------------------------------

    def next_id(self) -> int:
        """Return a correlation id that no other call of this connection has. Any thread."""
        self._last_id = call_id = next(self._ids)
        return call_id

    @property
    def open(self) -> bool:
        """True once there is a socket: what is called before waits for it. Any thread."""
        return self._transport is not None

    @property
    def in_flight(self) -> int:
        """Number of calls that wait for their reply. Any thread."""
        return len(self._pending)

    def start(self, call: ClientCall, frame: bytes) -> None:
        """Send `frame`; `call.on_done` is told on the loop thread. Any thread."""
        self._futures[call.correlation_id] = call
        try:
            if not self._launch(call, frame):
                self._futures.pop(call.correlation_id, None)
                self._tell_soon(call)
                return
            self._deadlines.watch(call)
            if self._baton.acquire(False):
                self._pass_baton()
        except BaseException:
            self._futures.pop(call.correlation_id, None)
            self._interrupted(call)
            raise

    def start_oneway(self, call: ClientCall, frame: Any) -> None:
        """Send `frame` once there is a socket; see `ClientConnection`. Any thread.

        Until then it is a call like any other: it fails with the dial, or at its deadline.
        """
        self._futures[call.correlation_id] = self._pending[call.correlation_id] = call
        with self._state_lock:
            waits = self._transport is None and self.down is None
            waits = waits and len(self._waiting) < self._options.calls_max
            if waits:
                self._waiting.append((call, frame))
        if waits:
            self._deadlines.watch(call)
        elif self._pending.pop(call.correlation_id, None) is not None:
            call.failure = self.send_oneway(frame)
            if call.failure is not None:
                self._unsaid()
            self._finish(call)

    def probe(self, call: ClientCall) -> None:
        """Send a heartbeat as a call; see `ClientConnection`. Any thread."""
        self.start(call, probe_frame(call.correlation_id))

    def send_oneway(self, frame: bytes) -> CallFailure | None:
        """Send `frame`, whose reply nobody waits for; returns why it could not be. Any thread."""
        if self._send(None, frame):
            return None
        return self._refusal()

    def cancel(self, call: ClientCall) -> bool:
        """Give `call` up and tell a peer of ours; False: it is done already. Any thread."""
        if self._pending.pop(call.correlation_id, None) is None:
            return False
        call.failure = CallFailure(Errno.CANCELLED, "cancelled by the caller", sent=True)
        self._finish(call)
        self._end_if_left()
        if len(self._cancelled) < CANCELS_MAX:
            self._cancelled.append(call.correlation_id)
        if self._upkeep.greeted:  # only a peer of ours understands, once it has said hello
            self._tell_cancelled()
        return True

    def _tell_cancelled(self) -> None:
        """Tell the peer which calls were given up."""
        cancelled = self._cancelled
        while cancelled:
            try:
                call_id = cancelled.pop(0)
            except IndexError:  # another thread tells
                return
            self._send(None, cancel_frame(self.next_id(), call_id))

    def settle(self, timeout_s: float) -> None:
        """Wait until one-way requests have left: for the dial, and for the peer. No loop thread."""
        until_s = time.monotonic() + timeout_s
        if any(call is None or type(call) is OnewayCall for call, _ in list(self._waiting)):
            self._opened.wait(max(0.0, timeout_s))
        transport = self._transport
        while transport is not None and transport.unsent_bytes and not self._pending:
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                break
            threading.Event().wait(min(left_s, _LOOK_AGAIN_S))

    def close(self, text: str) -> None:
        """End the connection; calls in flight fail. Any thread, any number of times."""
        self._go_down(CallFailure(Errno.CLOSED, text, sent=True))

    def retire(self) -> None:
        """Take no further calls, end with the last one in flight. Any thread."""
        self.going_away = True
        self._end_if_left()

    def dial(self, endpoint: Endpoint, times: DialTimes) -> None:
        """Begin to connect; see `ClientConnection`. Any thread, once."""

        def done(outcome: socket.socket | CallFailure) -> None:
            if isinstance(outcome, CallFailure):
                self.connect_failed(outcome)
            else:
                self.connected(outcome)

        dial_in_background(endpoint, times, done)

    # -- called by the connecting thread ------------------------------------------------

    def connected(self, sock: socket.socket) -> None:
        """Use `sock` (connected and tuned) from now on. Connecting thread, once."""
        if not self._loop.post(lambda: self._begin(sock)):
            sock.close()
            self._go_down(CallFailure(Errno.CLOSED, "client is closed", sent=False))

    def connect_failed(self, failure: CallFailure) -> None:
        """Fail what waits for the connection. Connecting thread, once."""
        self._go_down(failure)

    # -- sending ------------------------------------------------------------------------

    def _launch(self, call: ClientCall, frame: bytes) -> bool:
        """Register and send; False: the call failed, and says why."""
        if len(self._pending) >= self._options.calls_max:
            text = f"{self._options.calls_max} calls are in flight to {self.peer} already"
            call.failure = CallFailure(Errno.LIMIT, text, sent=False)
        else:
            # whoever sees to a connection that takes no more calls sets `going_away` first and
            # looks for calls then; registering first and looking then, one of us sees the other
            self._pending[call.correlation_id] = call
            if self.down is None and not self.going_away and self._send(call, frame):
                return True
            if self._pending.pop(call.correlation_id, None) is None:
                return True  # it went down meanwhile, and whoever noticed fails the call
            call.failure = self._refusal()
            self._end_if_left()
        self._unsaid()
        call.done = True
        return False

    def _transmit(self, transport: Transport, frame: Any) -> bool:
        """Send what waited for the socket."""
        return transport.send(frame)

    def _unsaid(self) -> None:
        """Have the hello said by another request: one that may have held it was not sent."""
        self.greet = not self._upkeep.greeted

    def _send(self, call: ClientCall | None, frame: bytes) -> bool:
        transport = self._transport
        if transport is None:
            with self._state_lock:
                if self._transport is None:
                    if self.down is not None or len(self._waiting) >= self._options.calls_max:
                        return False
                    self._waiting.append((call, frame))
                    return True
                transport = self._transport
        return transport.send(frame)

    def _refusal(self) -> CallFailure:
        """Say why nothing could be sent just now."""
        transport = self._transport
        broken = transport is not None and transport.closed
        away, stale = self.going_away, self.stale
        return refusal(self.peer, self.down, going_away=away, broken=broken, stale=stale)

    # -- reading: baton holder ----------------------------------------------------------

    def _look_for_news(self) -> None:
        """Hear of an end or a going-away that arrived since the last call."""
        transport = self._transport
        if transport is not None and self._poll.poll(0):
            self._read_once(transport)

    def _read_once(self, transport: Transport) -> None:
        data = transport.receive()
        if data:
            self._take(data, time.monotonic())
        elif data is not None:
            self._end_of_stream()

    def _take(self, data: bytes, now_s: float) -> None:
        self._last_read_s = now_s
        self._upkeep.heard(now_s)
        for event in self._decoder.receive_data(data):
            if type(event) is Reply:
                call = self._pending.pop(event.correlation_id, None)
                if call is None:
                    self._hear(event, now_s)
                    continue
                call.reply = event
                self._finish(call)
            elif type(event) is Broken:
                text = f"{self.peer}: {event.error}"
                self._go_down(CallFailure(Errno.BAD_RESPONSE, text, sent=True))
        if self.going_away:
            self._end_if_left()

    def _end_if_left(self) -> None:
        """Close a connection that takes no more calls, with its last one. Any thread."""
        if self.going_away and not self._pending:
            text = f"{self.peer} is not used any more"
            self._go_down(CallFailure(Errno.STOPPING, text, sent=False, stale=self.stale))

    def _hear(self, reply: Reply, now_s: float) -> None:
        """Take a reply to no call: a notice, a pong, or one that came too late."""
        if reply.error_code == Errno.UNAUTHENTICATED and reply.correlation_id == PING_ID:
            text = f"{self.peer}: {reply.error_text}"
            self._go_down(CallFailure(Errno.UNAUTHENTICATED, text, sent=False))
            return
        fields = reply.user_fields
        if fields is None:
            return
        hello = read_hello(fields)
        if hello is not None:
            self._upkeep.greet(hello.client_timeout_ms / 1000.0, now_s)
            self._tell_cancelled()
        if GOAWAY_FIELD in fields and not self.going_away:
            self.stale = fields[GOAWAY_FIELD] == IDLE
            self.going_away = True
            self._on_down(self)

    def _finish(self, call: ClientCall) -> None:
        """Tell whoever waits for `call`, which is ours alone now."""
        call.done = True
        if call.on_done is not None:
            self._futures.pop(call.correlation_id, None)
            if self._loop.on_loop():
                call.on_done(call)
            else:
                self._tell_soon(call)
        elif call.gate is not None and self._followers.pop(call, self) is None:
            call.gate.release()

    def _tell_soon(self, call: ClientCall) -> None:
        """Tell a future on the loop thread, in a later turn."""
        on_done = call.on_done
        assert on_done is not None
        if not self._loop.post(lambda: on_done(call)):
            on_done(call)  # the loop has ended: nobody else is left to tell it

    def _expire(self, call: ClientCall) -> None:
        self._pending.pop(call.correlation_id, None)
        text = f"deadline reached, no reply from {self.peer}"
        call.failure = CallFailure(Errno.TIMED_OUT, text, sent=True)
        call.done = True
        self._end_if_left()

    # -- the end ------------------------------------------------------------------------

    def _end_of_stream(self) -> None:
        self._go_down(CallFailure(Errno.EOF, f"{self.peer} closed the connection", sent=True))

    def _go_down(self, failure: CallFailure) -> None:
        with self._state_lock:
            if self.down is not None:
                return
            self.down = failure
            transport = self._transport
            self._waiting.clear()
        self._opened.set()
        if transport is None:
            failure = CallFailure(failure.errno, failure.text, sent=False)
        while self._pending:
            try:
                _, call = self._pending.popitem()
            except KeyError:  # another thread took the last one
                break
            call.failure = failure
            self._finish(call)
        if transport is not None:
            transport.close(failure.text)
        self._on_down(self)

    def _reap(self) -> None:
        """Close the descriptor once it is shut and the baton is out of use. Loop thread."""
        if self._shut and self._retired and self._transport is not None:
            self._transport.release()

    # -- loop thread --------------------------------------------------------------------

    def _begin(self, sock: socket.socket) -> None:
        options = self._options
        transport = Transport(
            sock,
            self._loop,
            peer=self.peer,
            unsent_bytes_max=options.unsent_bytes_max,
            unsent_pause_bytes=options.unsent_bytes_max,
        )
        transport.start(self, reading=False)
        self._poll.register(sock.fileno(), select.POLLIN)
        self._last_read_s = time.monotonic()
        with self._state_lock:
            refused, sent = self._send_waiting(transport)
            self._transport = transport  # callers send from here on: behind the token
        self._opened.set()
        for call in refused:
            if self._pending.pop(call.correlation_id, None) is not None:
                call.failure = self._refusal()
                self._finish(call)
        for call in sent:
            if self._pending.pop(call.correlation_id, None) is not None:
                self._finish(call)
        if self.down is not None:
            transport.close("closed while connecting")
        else:
            self._upkeep.look_soon()
        self._pass_baton()

    def _send_waiting(self, transport: Transport) -> tuple[list[ClientCall], list[ClientCall]]:
        """Send what was called while there was no socket; returns what did not fit, and the
        one-way calls that did.
        """
        waiting, self._waiting = self._waiting, []
        refused: list[ClientCall] = []
        sent: list[ClientCall] = []
        transport.cork()
        if self._options.token:
            transport.send(token_frame(self._options.token))
        for call, frame in waiting:
            if call is None:
                self._transmit(transport, frame)
            elif call.correlation_id not in self._pending:
                self._unsaid()
            elif not self._transmit(transport, frame):
                refused.append(call)
            elif type(call) is OnewayCall:
                sent.append(call)
        transport.uncork()
        return refused, sent

    def on_bytes(self, data: bytes) -> None:
        """Deliver replies; what callbacks send meanwhile leaves in one piece. Loop thread."""
        transport = self._transport
        assert transport is not None
        transport.cork()
        try:
            self._take(data, self._loop.now_s)
        finally:
            transport.uncork()
        if not self._futures and (self._followers or self._last_id != self._looked_id):
            self._unpark()

    def on_eof(self) -> None:
        """See `TransportOwner.on_eof`."""
        self._end_of_stream()

    def on_shut(self, reason: str) -> None:
        """See `TransportOwner.on_shut`."""
        self._go_down(CallFailure(Errno.FAILED_SOCKET, f"{self.peer}: {reason}", sent=True))
        self._shut = True
        self._upkeep.end()
        if self._looped or self._baton.acquire(False):
            self._looped = False
            self._retired = True
        self._reap()

    def _adopt(self) -> None:
        """Read for everybody; the baton was left to the loop."""
        transport = self._transport
        if self.down is not None or transport is None:
            self._pass_baton()
            return
        self._looped = True
        transport.resume_reading()

    def _unpark(self) -> None:
        """Let callers read again: no future is pending."""
        transport = self._transport
        if not self._looped or transport is None or self.down is not None:
            return
        self._looped = False
        transport.pause_reading()
        self._pass_baton()
        self._upkeep.look_soon()

    def _park(self) -> bool:
        """Let the loop read if nobody has called since it last looked; True if it reads."""
        if self._last_id == self._looked_id and not self._looped and self._baton.acquire(False):
            self._adopt()
        self._looked_id = self._last_id
        return self._looped

    def _ping(self) -> None:
        self._send(None, ping_frame())

    def _found_dead(self) -> None:
        text = f"{self.peer} stopped answering heartbeats"
        self._go_down(CallFailure(Errno.FAILED_SOCKET, text, sent=True))

    def _expire_future(self, call: ClientCall) -> None:
        if self._pending.pop(call.correlation_id, None) is not None:
            self._expire(call)
            self._finish(call)
