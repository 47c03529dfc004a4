"""The seam where other protocols join a port that speaks PRPC.

At each message boundary every wire may be asked whether the next bytes are its own. PRPC
pays nothing for it: a `WireSwitch` is a `PrpcDecoder`, and looks further only where bytes
begin no PRPC frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from libevrpc.core.prpc import MAGIC, MAGIC_BYTES, PrpcDecoder
from libevrpc.core.prpc_events import Broken, Event, WireLimits
from libevrpc.errors import ProtocolError

__all__ = ["PROBE_BYTES_MAX", "Probe", "Wire", "WireReader", "WireSwitch"]

PROBE_BYTES_MAX: Final = 64
"""A wire that cannot tell by this many bytes has said no."""


class Probe(Enum):
    """What a wire says of the first bytes of a message."""

    YES = auto()
    NO = auto()
    MORE = auto()


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
            The events, the last one `Broken` if the stream cannot be read any further; and
            what lies behind the last message, possibly nothing, if the next message may be
            another wire's. None in the middle of a message, and always from a sticky wire.
        """


@dataclass(frozen=True, slots=True)
class Wire:
    """One protocol that shares the port.

    Attributes:
        name: for messages; unique on a port.
        sticky: it can only begin a connection, and then keeps it to the end.
        probe: says of 4..PROBE_BYTES_MAX bytes at a boundary whether they are its own.
        open: makes the reader of one connection.
    """

    name: str
    sticky: bool
    probe: Callable[[bytes], Probe]
    open: Callable[[], WireReader]


class WireSwitch(PrpcDecoder):
    """The server's decoder of a port that several protocols share; one per connection.

    Args:
        limits: of PRPC.
        wires: asked in this order; the first that says yes reads the message.
    """

    __slots__ = ("_fresh", "_head", "_reader", "_readers", "_wires")

    def __init__(self, limits: WireLimits, wires: Sequence[Wire] = ()) -> None:
        super().__init__("server", limits)
        self._wires = wires
        self._readers: dict[str, WireReader] = {}
        self._reader: WireReader | None = None
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
            self._fresh = False
        return data

    def _foreign(self, rest: bytes, events: list[Event]) -> bytes:
        """Find the wire whose message begins with `rest`, at least four bytes."""
        undecided = False
        for wire in self._wires:
            if wire.sticky and not self._fresh:
                continue
            answer = wire.probe(rest[:PROBE_BYTES_MAX])
            if answer is Probe.YES:
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
        reader = self._readers.get(wire.name)
        if reader is None:
            reader = self._readers[wire.name] = wire.open()
        return reader

    def _read(self, reader: WireReader, data: bytes, events: list[Event]) -> bytes:
        """Let `reader` read on; returns what may be another wire's."""
        found, rest = reader.receive(data)
        assert rest is None or len(rest) < len(data), "a wire took nothing of its own message"
        events += found
        if found and type(found[-1]) is Broken:
            self._broken = self._held = True
            self._reader = None
            self._readers.clear()
            return b""
        self._reader = reader if rest is None else None
        self._held = rest is None
        return rest or b""
