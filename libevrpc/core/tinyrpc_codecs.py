"""TinyRPC's three codecs: how a header and a body follow each other in a stream. Pure.

| codec | header, body |
| --- | --- |
| `application/gob` | two gob values; types are defined once per direction |
| `application/json` | two JSON values, a line each |
| `application/msgpack` | two msgpack `bin`s that hold a msgpack value each; ours |

A reader cuts the stream and reads headers; bodies are read where they are wanted, possibly on
another thread. A writer is used from both sides: `body` on any thread, `frame` in the order in
which frames are sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgpack

from libevrpc.core.gob import (
    EncodedValue,
    GobReader,
    GobTooLongError,
    GobWriter,
    RawValue,
    Schema,
    Uint,
    encode_value,
    natural_schema,
    record_schema,
    schema_of,
)
from libevrpc.core.shapes import parts, shaped, text_parts
from libevrpc.core.values import BoundError, load_json, load_msgpack
from libevrpc.errors import ProtocolError

__all__ = [
    "CODECS",
    "GOB",
    "JSON",
    "MSGPACK",
    "Body",
    "Header",
    "JsonUnits",
    "PlainBody",
    "TooLongError",
    "UnitReader",
    "UnitWriter",
    "open_codec",
]

GOB: Final = "application/gob"
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
CODECS: Final = (GOB, JSON, MSGPACK)

_UINT64_MAX = 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True)
class Header:
    """What stands before each body. The names are the wire's.

    Attributes:
        ServiceMethod: `Service.Method`; in a reply the request's.
        Seq: the request's number, in its reply again.
        Error: empty in requests and where a call succeeded.
    """

    ServiceMethod: str
    Seq: Uint
    Error: str


class TooLongError(ProtocolError):
    """A header or a body over its limit; what follows it cannot be found."""


class Body(Protocol):
    """A body as it arrived. Any thread."""

    def decode(self, hint: Any = None) -> Any:
        """Return the value, as `hint` wants it, or as it is.

        Raises:
            ProtocolError: it is something else.
            UsageError: the hint is none of those that gob knows.
        """

    @property
    def named(self) -> bool:
        """True if it is parts with names: they can be keywords."""

    @property
    def data(self) -> bytes:
        """Its bytes, without what only the stream knows."""


class UnitReader(Protocol):
    """Cuts one direction of a stream into headers and bodies."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes that belong to no unit yet."""

    def feed(self, data: bytes) -> None:
        """Take what arrived."""

    def next_unit(self, bytes_max: int) -> Body | None:
        """Return the next header or body; None: feed more.

        Raises:
            TooLongError: it is longer than `bytes_max`.
            ProtocolError: it cannot be read, nor can what follows.
        """


class UnitWriter(Protocol):
    """Writes headers and bodies."""

    def body(self, value: Any, hint: Any = None) -> Sized:
        """Encode a body by its hint, or as what it is. Any thread.

        Raises:
            ProtocolError: the value is not what the hint says, or cannot be sent.
            UsageError: gob has no type for the hint.
        """

    def nothing(self) -> Sized:
        """Return the body beside an error."""

    def frame(self, header: Header, body: Sized) -> bytes:
        """Return a header and what `body` made, in order of sending.

        Raises:
            ProtocolError: the header cannot be sent.
        """


def open_codec(name: str) -> tuple[UnitReader, UnitWriter]:
    """Return both halves of a codec for one connection; `name` is one of CODECS."""
    match name:
        case "application/gob":
            return _GobUnits(), _GobUnitWriter()
        case "application/json":
            return JsonUnits(), _JsonWriter()
        case _:
            assert name == MSGPACK, name
            return _BinUnits(), _BinWriter()


# -- gob --------------------------------------------------------------------------------

_NOTHING = record_schema("", ())
"""`struct{}`: the body beside an error, and of a call that returns nothing."""


@dataclass(frozen=True, slots=True)
class _GobContent:
    """A body to be sent."""

    schema: Schema
    content: EncodedValue

    def __len__(self) -> int:
        return len(self.content.data)


@dataclass(frozen=True, slots=True)
class _GobBody:
    raw: RawValue

    def decode(self, hint: Any = None) -> Any:
        if hint is None:
            value = self.raw.decode()
            return None if value == {} and self.named else value
        return self.raw.decode(hint)

    @property
    def named(self) -> bool:
        return self.raw.is_struct

    @property
    def data(self) -> bytes:
        return self.raw.data


class _GobUnits:
    __slots__ = ("_reader",)

    def __init__(self) -> None:
        self._reader = GobReader()

    @property
    def buffered_bytes(self) -> int:
        return self._reader.buffered_bytes

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def next_unit(self, bytes_max: int) -> Body | None:
        try:
            raw = self._reader.next_value(bytes_max)
        except GobTooLongError as exc:
            raise TooLongError(str(exc)) from None
        return None if raw is None else _GobBody(raw)


class _GobUnitWriter:
    __slots__ = ("_header", "_writer")

    def __init__(self) -> None:
        self._writer = GobWriter()
        self._header = schema_of(Header)

    def body(self, value: Any, hint: Any = None) -> Sized:
        if value is None and hint in (None, type(None)):
            return self.nothing()
        schema = natural_schema(value) if hint is None else schema_of(hint)
        return _GobContent(schema, encode_value(schema, value))

    def nothing(self) -> Sized:
        return _GobContent(_NOTHING, EncodedValue(_NOTHING.head + b"\0", ()))

    def frame(self, header: Header, body: Sized) -> bytes:
        assert isinstance(body, _GobContent)
        head = encode_value(self._header, header)
        return b"".join(
            (
                self._writer.framed(self._header, head),
                self._writer.framed(body.schema, body.content),
            )
        )


# -- JSON -------------------------------------------------------------------------------

_BLANK = re.compile(rb"[ \t\r\n]*")
_MARK = re.compile(rb'["{}\[\]]')
_QUOTE = re.compile(rb'["\\]')
_SCALAR_END = re.compile(rb'[ \t\r\n,"{}\[\]]')


@dataclass(frozen=True, slots=True)
class PlainBody:
    """A body of JSON or, `packed`, of msgpack; see `Body`."""

    data: bytes
    packed: bool

    def decode(self, hint: Any = None) -> Any:
        """Return the value, as `hint` wants it, or as it is."""
        value = _loaded(self.data, packed=self.packed)
        if hint is None:
            return value
        return shaped(value, schema_of(hint))

    @property
    def named(self) -> bool:
        """True if it is a map."""
        first = self.data[:1]
        if self.packed:
            return b"\x80" <= first <= b"\x8f" or first in (b"\xde", b"\xdf")
        return first == b"{"


def _loaded(data: bytes, *, packed: bool) -> Any:
    try:
        return load_msgpack(data) if packed else load_json(data)
    except BoundError as exc:
        raise ProtocolError(str(exc)) from None
    except (ValueError, msgpack.UnpackException, TypeError) as exc:
        kind = "msgpack" if packed else "JSON"
        raise ProtocolError(f"not {kind}: {str(exc) or type(exc).__name__}") from None


class JsonUnits:
    """Finds where JSON values end without reading them; looks at each byte once."""

    __slots__ = ("_buffer", "_depth", "_quoted", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # of the value that stands first in the buffer
        self._depth = 0
        self._quoted = False

    @property
    def buffered_bytes(self) -> int:
        """Bytes that belong to no value yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def rest(self) -> bytes:
        """Give up what lies behind the last value; nothing may have been asked of it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def next_unit(self, bytes_max: int) -> PlainBody | None:
        """Return the next value; None: feed more.

        Raises:
            TooLongError: it is longer than `bytes_max`.
        """
        buffer = self._buffer
        if not self._scanned:
            blank = _BLANK.match(buffer)
            assert blank is not None
            del buffer[: blank.end()]
        end = self._end()
        length = len(buffer) if end is None else end
        if length > bytes_max:
            raise TooLongError(f"JSON value of {length} bytes or more, limit {bytes_max}")
        if end is None:
            return None
        data = bytes(memoryview(buffer)[:end])
        del buffer[:end]
        self._scanned = 0
        return PlainBody(data, packed=False)

    def _end(self) -> int | None:
        """Return where the value ends, None if it goes on."""
        buffer = self._buffer
        if not buffer:
            return None
        if buffer[0] not in b'{["':
            found = _SCALAR_END.search(buffer, max(self._scanned, 1))
            self._scanned = len(buffer)
            return None if found is None else found.start()
        while True:
            found = (_QUOTE if self._quoted else _MARK).search(buffer, self._scanned)
            if found is None:
                self._scanned = len(buffer)
                return None
            mark, self._scanned = found[0], found.end()
            if mark == b"\\":
                if self._scanned == len(buffer):  # what it stands before has not come
                    self._scanned -= 1
                    return None
                self._scanned += 1
            elif mark == b'"':
                self._quoted = not self._quoted
            else:
                self._depth += 1 if mark in b"{[" else -1
            if not self._depth and not self._quoted:
                return self._scanned


class _JsonWriter:
    __slots__ = ()

    def body(self, value: Any, hint: Any = None) -> Sized:
        del hint
        try:
            made = json.dumps(value, separators=(",", ":"), allow_nan=False, default=text_parts)
        except (TypeError, ValueError, RecursionError) as exc:
            raise ProtocolError(f"value cannot be sent: {exc}") from None
        return made.encode() + b"\n"

    def nothing(self) -> Sized:
        return b"{}\n"

    def frame(self, header: Header, body: Sized) -> bytes:
        assert isinstance(body, bytes)
        made = json.dumps(_fields(header), separators=(",", ":"))
        return made.encode() + b"\n" + body


def _fields(header: Header) -> dict[str, Any]:
    return {"ServiceMethod": header.ServiceMethod, "Seq": header.Seq, "Error": header.Error}


# -- msgpack ----------------------------------------------------------------------------

_BIN_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4}


class _BinUnits:
    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_unit(self, bytes_max: int) -> Body | None:
        buffer = self._buffer
        if not buffer:
            return None
        width = _BIN_SIZES.get(buffer[0])
        if width is None:
            raise ProtocolError(f"byte {buffer[0]:#04x} where a msgpack bin is expected")
        if len(buffer) <= width:
            return None
        start = 1 + width
        size = int.from_bytes(buffer[1:start], "big")
        if size > bytes_max:
            raise TooLongError(f"msgpack bin of {size} bytes, limit {bytes_max}")
        end = start + size
        if len(buffer) < end:
            return None
        data = bytes(memoryview(buffer)[start:end])
        del buffer[:end]
        return PlainBody(data, packed=True)


class _BinWriter:
    __slots__ = ()

    def body(self, value: Any, hint: Any = None) -> Sized:
        del hint
        return _packed(_packed(value))

    def nothing(self) -> Sized:
        return _packed(_packed({}))

    def frame(self, header: Header, body: Sized) -> bytes:
        assert isinstance(body, bytes)
        return _packed(_packed(_fields(header))) + body


def _packed(value: Any) -> bytes:
    try:
        return bytes(msgpack.packb(value, default=parts))
    except (TypeError, ValueError, OverflowError) as exc:
        raise ProtocolError(f"value cannot be sent: {exc}") from None
