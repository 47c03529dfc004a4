"""TinyRPC's stream, both sides and both dialects, without a socket.

    client                                    server
    option, LF               ->
                             <-               the same option, LF      (TinyRPC; gee-rpc: nothing)
    header, body             ->
                             <-               header, body
    ...

The option is always JSON; what follows is written as its CodecType says. Calls are told apart by
`Seq`, so replies come in any order. Whatever is wrong before the first header has no place in
this protocol: the connection is closed.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Final, Literal

from libevrpc.core.tinyrpc_codecs import (
    CODECS,
    GOB,
    Body,
    Header,
    JsonUnits,
    TooLongError,
    UnitReader,
    UnitWriter,
    open_codec,
)
from libevrpc.errors import ProtocolError

__all__ = [
    "DIALECTS",
    "FILLED_OPTION_BYTES",
    "HEADER_BYTES_MAX",
    "MAGIC_NUMBER",
    "OPTION_BYTES_MAX",
    "STOPPING",
    "ClientStream",
    "Dialect",
    "Message",
    "Option",
    "ServerStream",
    "TooLongMessageError",
    "go_duration",
]

MAGIC_NUMBER: Final = 3927900
OPTION_BYTES_MAX: Final = 4096
"""Longest option; a usual one has about a hundred bytes."""
HEADER_BYTES_MAX: Final = 64 * 1024
STOPPING: Final = "server is stopping"
"""What our servers say of a call that they do not take any more, and, of call 0, to everybody: the
protocol has no number to say it with."""
_INT64_MAX = 0x7FFFFFFFFFFFFFFF
FILLED_OPTION_BYTES: Final = 512
"""How much Go's JSON decoder asks for first. An option that ends there leaves nothing behind it
in that buffer, and no line feed that would be read as gob."""

Dialect = Literal["tinyrpc", "geerpc"]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Where TinyRPC and gee-rpc differ.

    Attributes:
        echoes: the server answers the option with itself.
        connect_path: where HTTP CONNECT leads to it.
        connected: the status that answers CONNECT.
        shut_down: what a client says whose connection has been closed.
    """

    echoes: bool
    connect_path: str
    connected: str
    shut_down: str


DIALECTS: Final[dict[Dialect, _Dialect]] = {
    "tinyrpc": _Dialect(True, "/_tinyrpc_", "200 Connected to RPC", "connection is shutdwon"),
    "geerpc": _Dialect(False, "/_geeprc_", "200 Connected to Gee RPC", "connection is shut down"),
}


@dataclass(frozen=True, slots=True)
class Option:
    """How a connection begins.

    Attributes:
        codec: one of CODECS.
        connect_timeout_ns: of the client, for itself; 0: none.
        handle_timeout_ns: the server's patience with each call; 0: none.
    """

    codec: str = GOB
    connect_timeout_ns: int = 10_000_000_000
    handle_timeout_ns: int = 0

    def encode(self) -> bytes:
        """Return the option as it travels, line feed included."""
        fields = {
            "MagicNumber": MAGIC_NUMBER,
            "CodecType": self.codec,
            "ConnectTimeout": self.connect_timeout_ns,
            "HandleTimeout": self.handle_timeout_ns,
        }
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _read_option(data: bytes) -> Option:
    """Read an option; what is not named is zero, and no codec is gob.

    Raises:
        ProtocolError: it is no option, or asks for a codec that there is not.
    """
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"TinyRPC option is no JSON: {exc}") from None
    if not isinstance(fields, dict):
        raise ProtocolError(f"TinyRPC option is no JSON object: {data[:60]!r}")
    magic = fields.get("MagicNumber")
    if type(magic) is not int or magic != MAGIC_NUMBER:
        raise ProtocolError(f"MagicNumber is {magic!r:.60}, not {MAGIC_NUMBER}")
    codec = fields.get("CodecType", GOB)
    if codec not in CODECS:
        known = ", ".join(CODECS)
        raise ProtocolError(f"CodecType {codec!r:.60} is none of {known}")
    spans = []
    for name in ("ConnectTimeout", "HandleTimeout"):
        value = fields.get(name, 0)
        if type(value) is not int or not 0 <= value <= _INT64_MAX:
            raise ProtocolError(f"{name} is {value!r:.60}, not nanoseconds from 0")
        spans.append(value)
    return Option(codec, *spans)


def go_duration(nanoseconds: int) -> str:
    """Write a span of time as Go does: `1.5s`, `2m0s`, `100ms`."""
    if not nanoseconds:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    text = _decimal(rest, 1_000_000_000) + "s"
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    digits = str(rest).rjust(len(str(size)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"


@dataclass(frozen=True, slots=True)
class Message:
    """A header and its body: a request to the server, a reply to the client."""

    header: Header
    body: Body


class TooLongMessageError(ProtocolError):
    """A body over its limit: its call can be answered, then the connection must end.

    Attributes:
        header: of that call.
    """

    def __init__(self, header: Header, text: str) -> None:
        super().__init__(text)
        self.header = header


class _Stream:
    """What both sides share: an option comes, then headers and bodies."""

    __slots__ = ("_body_bytes_max", "_fresh", "_header", "_prelude", "_units", "_writer", "option")

    def __init__(self, body_bytes_max: int) -> None:
        self.option: Option | None = None
        self._body_bytes_max = body_bytes_max
        self._prelude = JsonUnits()
        self._units: UnitReader | None = None
        self._writer: UnitWriter | None = None
        self._fresh = True  # nothing has come behind the option yet
        self._header: Header | None = None

    @property
    def partial(self) -> bool:
        """True in the middle of a message, or of the option."""
        return self._header is not None or self.buffered_bytes > 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of what is not whole yet."""
        return self._prelude.buffered_bytes if self._units is None else self._units.buffered_bytes

    def feed(self, data: bytes) -> bool:
        """Take what arrived; True if the option is among it.

        Raises:
            ProtocolError: it is no option.
        """
        if self._units is not None:
            self._take(data)
            return False
        self._prelude.feed(data)
        try:
            unit = self._prelude.next_unit(OPTION_BYTES_MAX)
        except TooLongError as exc:
            raise ProtocolError(f"TinyRPC option: {exc}") from None
        if unit is None:
            return False
        self._open(_read_option(unit.data))
        self._take(self._prelude.rest())
        return True

    def _open(self, option: Option) -> None:
        self.option = option
        self._units, self._writer = open_codec(option.codec)

    def _take(self, data: bytes) -> None:
        assert self._units is not None
        if self._fresh and data:
            self._fresh = False
            if data.startswith(b"\n"):  # the option's; it may come behind it, or never
                data = data[1:]
        self._units.feed(data)

    def next_message(self) -> Message | None:
        """Return the next message; None: feed more.

        Raises:
            TooLongMessageError: a body over its limit, whose header has come.
            ProtocolError: what follows cannot be read.
        """
        units = self._units
        if units is None:
            return None
        if self._header is None:
            unit = units.next_unit(HEADER_BYTES_MAX)
            if unit is None:
                return None
            self._header = unit.decode(Header)
        header = self._header
        assert header is not None
        try:
            body = units.next_unit(self._body_bytes_max)
        except TooLongError as exc:
            raise TooLongMessageError(header, f"body: {exc}") from None
        if body is None:
            return None
        self._header = None
        return Message(header, body)

    def encode_body(self, value: Any, hint: Any = None) -> Sized:
        """Encode a body by its hint, or as what it is. Any thread, once the codec is known.

        Raises:
            ProtocolError: the value is not what the hint says, or cannot be sent.
            UsageError: gob has no type for the hint.
        """
        assert self._writer is not None
        return self._writer.body(value, hint)


class ServerStream(_Stream):
    """The server's side of one connection. One thread, but `encode_body`.

    Args:
        dialect: whether the option is answered.
        body_bytes_max: longest body of a request.
    """

    __slots__ = ("_echoes",)

    def __init__(self, dialect: Dialect, body_bytes_max: int) -> None:
        super().__init__(body_bytes_max)
        self._echoes = DIALECTS[dialect].echoes

    def welcome(self) -> bytes:
        """Return what answers the option, to be sent as one piece; nothing in gee-rpc.

        A line feed of its own could come when the client's reader of JSON has stopped, and
        would be read as gob.
        """
        assert self.option is not None
        return self.option.encode() if self._echoes else b""

    def reply(self, service_method: str, seq: int, body: Sized) -> bytes:
        """Return a reply, in order of sending."""
        assert self._writer is not None
        return self._writer.frame(Header(service_method, seq, ""), body)

    def error(self, service_method: str, seq: int, text: str) -> bytes:
        """Return a failure, in order of sending; its body is empty."""
        assert self._writer is not None
        header = Header(service_method, seq, text or "unknown error")
        return self._writer.frame(header, self._writer.nothing())


class ClientStream(_Stream):
    """The client's side of one connection. One thread, but `encode_body`.

    Args:
        dialect: whether the server answers the option.
        option: what to ask for.
        body_bytes_max: longest body of a reply.
    """

    __slots__ = ("_asked", "_echoes")

    def __init__(self, dialect: Dialect, option: Option, body_bytes_max: int) -> None:
        super().__init__(body_bytes_max)
        self._asked = option
        self._echoes = DIALECTS[dialect].echoes
        if not self._echoes:
            self._open(option)
            self._fresh = False

    @property
    def ready(self) -> bool:
        """True once requests may be sent."""
        return self.option is not None

    def hello(self) -> bytes:
        """Return the option as it is sent first, in one piece.

        For gee-rpc it is padded: its server reads the option through a buffer of 512 bytes and
        throws away what else is in there, which was the first request.
        """
        line = self._asked.encode()
        if self._echoes:
            return line
        return line.removesuffix(b"}\n").ljust(FILLED_OPTION_BYTES - 1) + b"}"

    def _open(self, option: Option) -> None:
        if option.codec != self._asked.codec:
            raise ProtocolError(f"server answers {option.codec}, not {self._asked.codec}")
        super()._open(option)

    def request(self, service_method: str, seq: int, body: Sized) -> bytes:
        """Return a request, in order of sending.

        Raises:
            ProtocolError: the name cannot be sent.
        """
        assert self._writer is not None, "not ready"
        return self._writer.frame(Header(service_method, seq, ""), body)
