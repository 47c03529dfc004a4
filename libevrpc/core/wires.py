"""The seam where other protocols join a port that speaks PRPC.

At each message boundary every wire may be asked whether the next bytes are its own. PRPC
pays nothing for it: a `WireSwitch` is a `PrpcDecoder`, and looks further only where bytes
begin no PRPC frame.

Another wire is a guest of the port. Its `WireReader` makes `GuestRequest`s of the bytes, each
with the `ReplyWriter` that makes bytes of the answer. Everything between the two is the
server's: limits, deadlines, tokens, workers, statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Protocol, runtime_checkable

from libevrpc.core.prpc import MAGIC, MAGIC_BYTES, PrpcDecoder
from libevrpc.core.prpc_events import (
    Broken,
    Event,
    HeldBack,
    Request,
    Resets,
    Say,
    Settled,
    WireLimits,
)
from libevrpc.errors import Errno, ProtocolError, RpcError

__all__ = [
    "HELD_BYTES_MAX",
    "PROBE_BYTES_MAX",
    "BodyWriter",
    "Callee",
    "GuestRequest",
    "HeldBack",
    "Out",
    "Probe",
    "ReplyWriter",
    "Resets",
    "Say",
    "Settled",
    "TurnReader",
    "Wire",
    "WireReader",
    "WireSwitch",
]

PROBE_BYTES_MAX: Final = 64
"""A wire that cannot tell by this many bytes has said no."""
HELD_BYTES_MAX: Final = 64 * 1024
"""A connection is read no further while a reader holds back more than this."""


class Probe(Enum):
    """What a wire says of the first bytes of a message."""

    YES = auto()
    NO = auto()
    MORE = auto()


class Callee(Protocol):
    """The method that a request calls; the server's entry of it."""

    @property
    def service(self) -> str:
        """Full name of the service."""

    @property
    def method(self) -> str:
        """Name of the method."""

    @property
    def decode(self) -> Callable[[bytes, int], Any]:
        """Request bytes and content type to the handler's arguments; raises RpcError."""

    @property
    def encode(self) -> Callable[[Any, int], bytes]:
        """The handler's result and content type to reply bytes; raises RpcError."""


@dataclass(frozen=True, slots=True)
class Out:
    """What a writer wants sent.

    Attributes:
        data: the bytes; none are sent if it is empty.
        close: end the connection once they are gone. What arrives later is thrown away.
        reset: end it at once, so that the peer's next read fails; see `Resets`.
    """

    data: bytes
    close: bool = False
    reset: bool = False


class GuestRequest(Request):
    """A whole request of another wire than PRPC. It is answered exactly once, or never when
    its connection ends before; one-way calls there are none.

    Attributes:
        writer: makes bytes of the answer.
        token: what the caller shows as its token, where a server wants one; empty: nothing.
            It counts for this request alone.
        mute: its wire has no words for "go elsewhere", so a server that stops runs it, too.
        barred: why the server does not let it in; empty: it does.
        extra: whatever the wire wants to find here again: a sequence number, headers.
    """

    __slots__ = ("barred", "extra", "mute", "token", "writer")

    def __init__(
        self,
        writer: ReplyWriter,
        service: str,
        method: str,
        payload: bytes,
        *,
        content_type: int = 0,
        timeout_ms: int = 0,
        user_fields: dict[str, str] | None = None,
        token: bytes = b"",
        mute: bool = False,
        extra: Any = None,
    ) -> None:
        """Arguments: see `Request` for what is not explained above."""
        super().__init__(
            0, service, method, timeout_ms, 0, payload, b"", 0, content_type, user_fields
        )
        self.writer = writer
        self.token = token
        self.mute = mute
        self.barred = ""
        self.extra = extra


class ReplyWriter(Protocol):
    """Makes bytes of the answers of one connection; made by its `WireReader`.

    `decode` and `encode` run beside the handler: any thread, several at once. `reply` and
    `error` run on the connection's loop thread, one at a time, in the order in which their
    bytes are sent, so they may keep state that their peer follows along.
    """

    def decode(self, entry: Callee, request: GuestRequest) -> Any:
        """Return the handler's arguments, as `Callee.decode` makes them.

        Raises:
            RpcError: what the caller is told instead; any other exception is 2001.
        """

    def encode(self, entry: Callee, request: GuestRequest, result: Any, controller: Any) -> object:
        """Return what `reply` needs of a handler's result; bytes must be within the body limit.

        Args:
            entry: what was called.
            request: as decoded.
            result: what the handler returned.
            controller: the handler's `ServerController` with what it says about the reply,
                None where the handler took none.

        Raises:
            RpcError: what the caller is told instead; any other exception is 2002.
        """

    def reply(self, request: GuestRequest, encoded: object) -> Out:
        """Return the bytes of an answer. Must not raise."""

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        """Return the bytes of a failure; a wire without a form for it closes. Must not raise."""


class BodyWriter:
    """The half of a `ReplyWriter` that most wires share: bodies as the content type has them."""

    def decode(self, entry: Callee, request: GuestRequest) -> Any:
        """Read the request's payload."""
        return entry.decode(request.payload, request.content_type)

    def encode(self, entry: Callee, request: GuestRequest, result: Any, controller: Any) -> object:
        """Write the result.

        Raises:
            RpcError: 2002, an attachment, which only PRPC has a place for.
        """
        if controller is not None and controller.response_attachment:
            text = "the reply has an attachment, which only PRPC can carry"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
        return entry.encode(result, request.content_type)


class WireReader(Protocol):
    """Reads one wire on one connection; made when its first message there begins."""

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of the message that is not whole yet."""

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        """Take what arrived: at least one byte, and all there is of its own messages.

        Returns:
            The events, the last one `Broken` (or a `Say` that closes) if the stream cannot
            be read any further; and what lies behind the last message, possibly nothing, if
            the next message may be another wire's. None in the middle of a message, while
            it holds back what follows, and always from a sticky wire.
        """


@runtime_checkable
class TurnReader(WireReader, Protocol):
    """A reader that gives one request at a time, because its wire has replies in order.

    What follows a request it holds back (`partial` is False then), until `answered`. A wire
    reads no further than a bit beyond `HELD_BYTES_MAX`.
    """

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for the answer of the last request; 0 while none is owed."""

    def answered(self) -> tuple[list[Event], bytes | None]:
        """Go on: a request of this wire has had its answer. Returns what `receive` would."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One protocol that shares the port.

    Attributes:
        name: for messages; unique on a port.
        sticky: it can only begin a connection, and then keeps it to the end. The reader of
            one that is not must be a `TurnReader` if it makes requests.
        probe: says of 4..PROBE_BYTES_MAX bytes at a boundary whether they are its own.
        open: makes the reader of one connection.
        resets: its peers take an end for an answer, also that of a connection on which nothing
            was read yet; see `Resets`.
    """

    name: str
    sticky: bool
    probe: Callable[[bytes], Probe]
    open: Callable[[], WireReader]
    resets: bool = False


class WireSwitch(PrpcDecoder):
    """The server's decoder of a port that several protocols share; one per connection.

    Args:
        limits: of PRPC.
        wires: asked in this order; the first that says yes reads the message.
    """

    __slots__ = ("_fresh", "_head", "_reader", "_readers", "_turn", "_wires")

    def __init__(self, limits: WireLimits, wires: Sequence[Wire] = ()) -> None:
        super().__init__("server", limits)
        self._wires = wires
        self._readers: dict[str, tuple[WireReader, TurnReader | None]] = {}
        self._reader: WireReader | None = None
        self._turn: TurnReader | None = None  # the same one, if it waits for answers
        self._head = b""  # a message of which nobody can tell yet whose it is
        self._fresh = True  # no message has begun yet
        self._held = True

    @property
    def partial(self) -> bool:
        """True in the middle of a message of any wire."""
        if not self._held:  # the usual case, asked after every read
            return False
        if self._reader is not None:
            return self._reader.partial
        return bool(self._head) or super().partial

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of the message that is not whole yet."""
        if self._reader is not None:
            return self._reader.buffered_bytes
        return len(self._head) or super().buffered_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes that a reader holds back until its last request is answered."""
        return 0 if self._turn is None else self._turn.held_bytes

    @property
    def may_read_as_answer(self) -> bool:
        """True while the peer may be one who takes the end of the stream for an answer."""
        return self._fresh and any(wire.resets for wire in self._wires)

    def _resume(self, data: bytes, events: list[Event]) -> bytes:
        if self._broken or not data:
            return b""
        if self._reader is not None:
            return self._read(self._reader, data, events)
        if not self._fresh and not self._head:
            return super()._resume(data, events)
        data = self._head + data
        if len(data) < MAGIC_BYTES:
            self._head = data
            return b""
        self._head = b""
        self._held = False
        if data.startswith(MAGIC):
            self._settle(events)
        return data

    def _settle(self, events: list[Event]) -> None:
        """Note that the first message begins, and is of a wire whose answers have an end."""
        if self.may_read_as_answer:
            events.append(Settled())
        self._fresh = False

    def _foreign(self, rest: bytes, events: list[Event]) -> bytes:
        """Find the wire whose message begins with `rest`, at least four bytes."""
        undecided = False
        for wire in self._wires:
            if wire.sticky and not self._fresh:
                continue
            answer = wire.probe(rest[:PROBE_BYTES_MAX])
            if answer is Probe.YES:
                if not wire.resets:
                    self._settle(events)
                return self._read(self._opened(wire), rest, events)
            undecided = undecided or answer is Probe.MORE
        if undecided and len(rest) < PROBE_BYTES_MAX:
            self._head = rest
            self._held = True
            return b""
        if not self._wires:
            return super()._foreign(rest, events)
        names = ", ".join(("PRPC", *(wire.name for wire in self._wires)))
        raise ProtocolError(f"message begins with {rest[:MAGIC_BYTES]!r}, as none of {names} does")

    def _opened(self, wire: Wire) -> WireReader:
        self._fresh = False
        opened = self._readers.get(wire.name)
        if opened is None:
            reader = wire.open()
            opened = reader, reader if isinstance(reader, TurnReader) else None
            self._readers[wire.name] = opened
        reader, self._turn = opened
        return reader

    def _read(self, reader: WireReader, data: bytes, events: list[Event]) -> bytes:
        """Let `reader` read on; returns what may be another wire's."""
        found, rest = reader.receive(data)
        assert rest is None or len(rest) < len(data), "a wire took nothing of its own message"
        return self._took(reader, found, rest, events)

    def answered(self) -> list[Event]:
        """Go on behind a request of another wire that has had its answer.

        Returns what is whole now. To be called once for each `GuestRequest`.
        """
        events: list[Event] = []
        turn = self._turn
        if turn is None or self._broken:
            return events
        try:
            data = self._took(turn, *turn.answered(), events)
            while data:
                data = self._cut(data, events)
        except ProtocolError as exc:
            self._broken = self._held = True
            events.append(Broken(exc))
        return events

    def give_notice(self, say: Callable[[bytes], object]) -> bool:
        """Say what tells a peer that we go away, so that it hangs up; False: there are no words.

        A reader that has some has a method `notice`; it returns nothing while they would not be
        understood.
        """
        words: Callable[[], bytes] | None = getattr(self._reader, "notice", None)
        told = words() if words is not None else b""
        if told:
            say(told)
        return bool(told)

    def farewell(self) -> bytes:
        """Return what a peer is told whose message takes too long; nothing in most wires.

        A reader that has such words has a method of this name.
        """
        speak: Callable[[], bytes] | None = getattr(self._reader, "farewell", None)
        return speak() if speak is not None else b""

    def _took(
        self, reader: WireReader, found: list[Event], rest: bytes | None, events: list[Event]
    ) -> bytes:
        """Note what `reader` made of its bytes; returns what may be another wire's."""
        events += found
        if found and type(found[-1]) is Broken:
            self._broken = self._held = True
            self._reader = self._turn = None
            self._readers.clear()
            return b""
        if rest is not None:
            self._reader = self._turn = None
            self._held = False
            return rest
        self._reader = reader
        self._held = True
        if self.held_bytes > HELD_BYTES_MAX:
            events.append(HeldBack())
        return b""
