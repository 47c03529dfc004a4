"""One connection to a server of TinyRPC or gee-rpc, shared by any number of caller threads.

Who reads, deadlines and ends are `Connection`'s. A request is written when it is sent, under a
lock of its own: gob defines a type in front of the first value that has it, so what is written
first must leave first.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from libevrpc.channel.call import CallFailure, ClientCall, OnewayCall
from libevrpc.channel.connection import Connection
from libevrpc.channel.dial import DialTimes, dial_in_background
from libevrpc.channel.greeting import Greeting
from libevrpc.channel.options import ConnectionOptions
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.hello import GOAWAY_FIELD
from libevrpc.core.prpc import Broken, Reply
from libevrpc.core.prpc_events import Event
from libevrpc.core.tinyrpc import STOPPING, ClientStream, Dialect, Message, Option
from libevrpc.errors import Errno, ProtocolError, StatusCode
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.transport import Transport

__all__ = ["StreamConnection", "StreamRequest", "StreamWire"]

_NO_LIMIT = 1 << 62
_UNKNOWN = {"grpc-status": str(int(StatusCode.UNKNOWN))}
_HANDLE_TIMEOUT = "rpc server: request handle timeout"
_OPTION_BEGINS = b'{"MagicNumber"'
"""No message of gee-rpc begins so, in any codec."""
_OTHER_DIALECT = (
    "reply cannot be read: the server answers the option, as in TinyRPC's dialect; wire = tinyrpc"
    " is for it here, or wires = geerpc for our servers there"
)
_GOING_AWAY = Reply(0, 0, "", b"", user_fields={GOAWAY_FIELD: "stopping"})
"""A notice that takes the connection out of use; no call has the number 0."""


class StreamRequest(NamedTuple):
    """A request before it is written.

    Attributes:
        label: ``Service.Method``.
        seq: the call's number.
        body: what `UnitWriter.body` made of the argument.
    """

    label: str
    seq: int
    body: Any


@dataclass(frozen=True, slots=True)
class StreamWire:
    """Makes `StreamConnection`s; see `ClientWire`.

    Attributes:
        dialect: TinyRPC's or gee-rpc's.
        http: begin with CONNECT, where an address does not say how.
        option: what each connection asks for.
    """

    dialect: Dialect
    http: bool
    option: Option

    def __call__(
        self,
        endpoint: Endpoint,
        loop: EventLoop,
        options: ConnectionOptions,
        on_down: Callable[[Connection], object],
    ) -> StreamConnection:
        """See `ClientWire`."""
        http = endpoint.transport == "http" or (self.http and not endpoint.transport)
        timeout_s = self.option.connect_timeout_ns / 1e9
        greeting = Greeting(self.dialect, http, timeout_s)
        limit = options.limits.body_bytes_max
        stream = ClientStream(self.dialect, self.option, limit)
        return StreamConnection(endpoint.address, loop, options, on_down, greeting, stream)


class StreamConnection(Connection):
    """One connection; see `ClientConnection`. It has no heartbeats, cancels or notices."""

    def __init__(
        self,
        peer: str,
        loop: EventLoop,
        options: ConnectionOptions,
        on_down: Callable[[Connection], object],
        greeting: Greeting,
        stream: ClientStream,
    ) -> None:
        # the bound on unsent bytes is kept here, before a request is written: one that was
        # written must leave, or the peer would miss the types that it defines
        bare = replace(options, unsent_bytes_max=_NO_LIMIT, token=b"")
        super().__init__(peer, loop, bare, on_down)
        self.greet = False
        self._unsent_bytes_max = options.unsent_bytes_max
        self._greeting = greeting
        self._stream = stream
        replies = _Replies if greeting.dialect == "tinyrpc" else _UngreetedReplies
        self._decoder = replies(stream)  # type: ignore[assignment]
        self._order = threading.Lock()
        self._greeted: socket.socket | None = None

    def dial(self, endpoint: Endpoint, times: DialTimes) -> None:
        """Begin to connect, and to greet behind that; see `ClientConnection`."""

        def done(outcome: socket.socket | CallFailure) -> None:
            if isinstance(outcome, CallFailure):
                failure: CallFailure | None = outcome
                if outcome.errno == self._greeting.timed_out("").errno:
                    failure = self._greeting.timed_out(self.peer)
            else:
                self._greeted = outcome
                failure = self.down  # closed meanwhile; `_go_down` sets it first and looks then
                if failure is None:
                    failure = self._greeting.say(outcome, self._stream, self.peer)
                self._greeted = None
                if failure is None:
                    self.connected(outcome)
                    return
                outcome.close()
            assert failure is not None
            self.connect_failed(failure)

        dial_in_background(endpoint, times, done)

    def probe(self, call: ClientCall) -> None:
        """See whether there is a connection: the wire has no question that is always harmless.

        A server of TinyRPC ends as a whole where it is asked for a service that it has not.
        """

        def told(done: ClientCall) -> None:
            call.failure = done.failure
            call.done = True
            assert call.on_done is not None
            call.on_done(call)

        self.start_oneway(OnewayCall(call.correlation_id, call.deadline_s, told), None)

    # -- sending ------------------------------------------------------------------------

    def _send(self, call: ClientCall | None, frame: StreamRequest | None) -> bool:  # type: ignore[override]
        if self._transport is None:
            with self._state_lock:
                if self._transport is None:
                    if self.down is not None or len(self._waiting) >= self._options.calls_max:
                        return False
                    self._waiting.append((call, frame))
                    return True
        assert self._transport is not None
        return self._transmit(self._transport, frame)

    def _transmit(self, transport: Transport, frame: StreamRequest | None) -> bool:
        if frame is None:  # a probe
            return not transport.closed
        with self._order:
            unsent = transport.unsent_bytes
            if unsent and unsent + len(frame.body) > self._unsent_bytes_max:
                return False
            return transport.send(self._stream.request(*frame))

    def _unsaid(self) -> None:
        """There is no hello."""

    # -- the end ------------------------------------------------------------------------

    def _expire(self, call: ClientCall) -> None:
        super()._expire(call)
        text = f"rpc client: call failed: deadline reached, no reply from {self.peer}"
        call.failure = CallFailure(Errno.TIMED_OUT, text, sent=True)

    def _go_down(self, failure: CallFailure) -> None:
        super()._go_down(failure)
        greeted = self._greeted
        if greeted is not None:
            with contextlib.suppress(OSError):  # it is closed already
                greeted.shutdown(socket.SHUT_RDWR)


class _Replies:
    """Makes events of what a stream reads, as a connection takes them. Baton holder."""

    __slots__ = ("_broken", "_stream")

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._broken = False

    def receive_data(self, data: bytes) -> list[Event]:
        """Return the replies that are whole now, and what broke the stream, if it is broken."""
        if self._broken:
            return []
        stream = self._stream
        events: list[Event] = []
        try:
            stream.feed(data)
            while (message := stream.next_message()) is not None:
                events.append(_reply_of(message))
                if message.header.Error == STOPPING:
                    events.append(_GOING_AWAY)
        except ProtocolError as exc:
            self._broken = True
            events.append(Broken(exc))
        return events


class _UngreetedReplies(_Replies):
    """Those of gee-rpc, whose servers leave the option unanswered: who answers it is TinyRPC's."""

    __slots__ = ("_first",)

    def __init__(self, stream: ClientStream) -> None:
        super().__init__(stream)
        self._first = b""

    def receive_data(self, data: bytes) -> list[Event]:
        """See `_Replies`."""
        missing = len(_OPTION_BEGINS) - len(self._first)
        if missing:
            self._first += data[:missing]
            if self._first == _OPTION_BEGINS:
                self._broken = True
                return [Broken(ProtocolError(_OTHER_DIALECT))]
        return super().receive_data(data)


def _reply_of(message: Message) -> Reply:
    header = message.header
    if not header.Error:
        body: Any = message.body
        return Reply(header.Seq, 0, "", body)
    if header.Error == STOPPING:
        return Reply(header.Seq, Errno.STOPPING, header.Error, b"")
    if header.Error.startswith(_HANDLE_TIMEOUT):
        return Reply(header.Seq, Errno.TIMED_OUT, header.Error, b"")
    return Reply(header.Seq, Errno.INTERNAL, header.Error, b"", user_fields=_UNKNOWN)
