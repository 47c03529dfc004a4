"""mprpc: one request a connection, and a reply that ends where the connection does. Pure.

====== ============ =====================================================================
offset size         a request
====== ============ =====================================================================
0      4            header size, little-endian
4      header size  protobuf: 1 service name (without package), 2 method name, 3 args size
..     args size    arguments, protobuf
====== ============ =====================================================================

The reply is the bare message: no length, no number, no form for an error. So the server hangs up
behind it, and each connection carries one call. What follows the request is thrown away unread.

A message whose fields all have their defaults is no byte at all, and the original's consumers take
an end without a byte for such a success. An error is therefore told by a reset of the connection
(`Resets`): their `recv` then fails, and their controller says so.

A variant has both sizes big-endian, and a length before the reply; its connections stay open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from google.protobuf.message import DecodeError

from libevrpc.core.prpc_events import Broken, Dropped, Event, Resets, WireLimits
from libevrpc.core.wires import BodyWriter, GuestRequest, Out, Probe, ReplyWriter, Wire
from libevrpc.errors import Errno, ProtocolError, RpcError
from libevrpc.gen.mprpc_pb2 import MprpcHeader

__all__ = ["HEADER_BYTES_MAX", "MprpcReader", "MprpcWriter", "encode_request", "mprpc_wire"]

SIZE_BYTES: Final = 4
HEADER_BYTES_MIN: Final = 4
HEADER_BYTES_MAX: Final = 1024
"""Longest header; names of services and methods are short."""
_SERVICE_TAG: Final = 0x0A
"""Every header begins with the service's name: protobuf writes fields in order."""

Order = Literal["little", "big"]
Told = Callable[[GuestRequest, RpcError], object]


def encode_request(service: str, method: str, args: bytes, order: Order = "little") -> bytes:
    """Return the bytes of a request. Any thread.

    Args:
        service: its package, which mprpc does not know, is left out.
        method: its name.
        args: the serialized request message.
        order: "big" for the variant.

    Raises:
        RpcError: 1003, the names are too long for a header.
    """
    short = service.rpartition(".")[2]
    header = MprpcHeader(
        service_name=short.encode(), method_name=method.encode(), args_size=len(args)
    ).SerializeToString()
    if len(header) > HEADER_BYTES_MAX:
        text = f"mprpc header of {len(header)} bytes, limit {HEADER_BYTES_MAX}: names too long"
        raise RpcError.from_errno(Errno.BAD_REQUEST, text)
    return len(header).to_bytes(SIZE_BYTES, order) + header + args


def mprpc_wire(name: str, order: Order, limits: WireLimits, told: Told) -> Wire:
    """Return the wire, for a server. See `MprpcWriter` for `told`."""
    writer = MprpcWriter(order, told)

    def probe(head: bytes) -> Probe:
        header_bytes = int.from_bytes(head[:SIZE_BYTES], order)
        if not HEADER_BYTES_MIN <= header_bytes <= HEADER_BYTES_MAX:
            return Probe.NO
        if len(head) == SIZE_BYTES:
            return Probe.MORE
        return Probe.YES if head[SIZE_BYTES] == _SERVICE_TAG else Probe.NO

    return Wire(name, True, probe, lambda: MprpcReader(order, limits, writer), resets=True)


class MprpcWriter(BodyWriter):
    """Writes bare replies and hangs up; of the variant, replies with a length.

    Args:
        order: of the bytes of sizes; "big" is the variant.
        told: called with each error, on a loop thread: its caller is not told the text.
    """

    def __init__(self, order: Order, told: Told) -> None:
        self._order: Order = order
        self._told = told

    def reply(self, request: GuestRequest, encoded: object) -> Out:
        """Return the bytes of the message."""
        assert isinstance(encoded, bytes)
        if self._order == "little":
            return Out(encoded, close=True)
        return Out(len(encoded).to_bytes(SIZE_BYTES, self._order) + encoded)

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        """Return nothing, and the end."""
        self._told(request, error)
        return Out(b"", reset=True)


class MprpcReader:
    """Reads the requests of one connection; a `TurnReader`.

    Args:
        order: of the bytes of sizes; "big" is the variant, which has further requests.
        limits: `body_bytes_max` bounds the arguments.
        writer: of the answers.
    """

    def __init__(self, order: Order, limits: WireLimits, writer: ReplyWriter) -> None:
        self._order: Order = order
        self._args_bytes_max = limits.body_bytes_max
        self._writer = writer
        self._data = bytearray()
        self._fresh = True
        self._owed = False
        self._ended = False  # what arrives is nobody's
        self._header: MprpcHeader | None = None

    @property
    def partial(self) -> bool:
        """True in the middle of a request."""
        return not self._owed and (bool(self._data) or self._header is not None)

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept."""
        return len(self._data)

    @property
    def held_bytes(self) -> int:
        """Bytes of requests that wait for their turn; of the variant only."""
        return len(self._data) if self._owed else 0

    def receive(self, data: bytes) -> tuple[list[Event], None]:
        """Take what arrived. See `WireReader`."""
        if self._ended:
            return [], None
        self._data += data
        return ([], None) if self._owed else self._next()

    def answered(self) -> tuple[list[Event], None]:
        """Go on with the next request, if the connection may have one. See `TurnReader`."""
        self._owed = False
        return ([], None) if self._ended else self._next()

    def _next(self) -> tuple[list[Event], None]:
        events: list[Event] = []
        if self._fresh:
            self._fresh = False
            events.append(Resets())
        try:
            request = self._cut()
        except ProtocolError as exc:
            self._end()
            return [*events, Broken(exc)], None
        if request is None:
            return events, None
        events.append(request)
        self._owed = True
        if self._order == "little":
            if self._data:
                text = f"{len(self._data)} bytes behind the request of an mprpc connection"
                events.append(Dropped(text))
            self._end()
        return events, None

    def _end(self) -> None:
        self._ended = True
        self._data.clear()

    def _cut(self) -> GuestRequest | None:
        """Take a whole request off what has arrived; None: there is none yet."""
        if self._header is None:
            self._header = self._cut_header()
        header = self._header
        if header is None or len(self._data) < header.args_size:
            return None
        self._header = None
        args = bytes(self._data[: header.args_size])
        del self._data[: header.args_size]
        try:
            service, method = header.service_name.decode(), header.method_name.decode()
        except UnicodeDecodeError:
            raise ProtocolError("mprpc: name of service or method is not UTF-8") from None
        return GuestRequest(self._writer, service, method, args, mute=True)

    def _cut_header(self) -> MprpcHeader | None:
        data = self._data
        if len(data) < SIZE_BYTES:
            return None
        header_bytes = int.from_bytes(data[:SIZE_BYTES], self._order)
        if not HEADER_BYTES_MIN <= header_bytes <= HEADER_BYTES_MAX:
            text = f"{HEADER_BYTES_MIN} to {HEADER_BYTES_MAX} are right"
            raise ProtocolError(f"mprpc: header of {header_bytes} bytes; {text}")
        if len(data) < SIZE_BYTES + header_bytes:
            return None
        try:
            header = MprpcHeader.FromString(bytes(data[SIZE_BYTES : SIZE_BYTES + header_bytes]))
        except DecodeError as exc:
            raise ProtocolError(f"mprpc: header cannot be decoded: {exc}") from None
        if not header.service_name or not header.method_name:
            raise ProtocolError("mprpc: header lacks the name of service or method")
        if header.args_size > self._args_bytes_max:
            text = f"arguments of {header.args_size} bytes, limit {self._args_bytes_max}"
            raise ProtocolError(f"mprpc: {text}")
        del data[: SIZE_BYTES + header_bytes]
        return header
