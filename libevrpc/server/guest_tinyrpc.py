"""TinyRPC and gee-rpc on a server's port: see `libevrpc.core.tinyrpc`.

Plain objects are called: `Foo.Sum` is the method `Sum` of the object that is served as `Foo`.
A method with one parameter gets the body there, as its annotation says; one with several gets
the fields of a struct as keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from libevrpc.core.prpc_events import Broken, Event
from libevrpc.core.tinyrpc import (
    DIALECTS,
    STOPPING,
    Dialect,
    Message,
    ServerStream,
    TooLongMessageError,
    go_duration,
)
from libevrpc.core.wires import Callee, GuestRequest, Out, Probe, Say, Wire
from libevrpc.errors import ERROR_TEXT_BYTES_MAX, Errno, ProtocolError, RpcError
from libevrpc.server.calls import EXPIRED
from libevrpc.server.methods import MethodEntry, Missing
from libevrpc.server.pages import Upgrade

if TYPE_CHECKING:
    from libevrpc.core.tinyrpc_codecs import Body
    from libevrpc.server.guests import GuestContext

__all__ = ["make_tinyrpc"]

_NS_PER_MS = 1_000_000


def make_tinyrpc(dialect: Dialect, context: GuestContext) -> Wire:
    """Return the wire of one server; CONNECT leads to both dialects."""
    pages = context.pages
    for each, told in DIALECTS.items():
        if told.connect_path not in pages.upgrades:
            greeting = f"HTTP/1.0 {told.connected}\n\n".encode()
            pages.add_upgrade(told.connect_path, Upgrade(greeting, _opener(each, context)))
    opened = _opener(dialect, context)
    return Wire(dialect, sticky=True, probe=_probe, open=lambda: opened(b""))


def _opener(dialect: Dialect, context: GuestContext) -> Callable[[bytes], _TinyReader]:
    return lambda token: _TinyReader(dialect, context, token)


def _probe(data: bytes) -> Probe:
    """Tell whether these bytes begin a JSON object, and no frame of a binary wire."""
    return Probe.YES if data[0] == 0x7B and data[1] in b'" \t\r\n}' else Probe.NO


@dataclass(slots=True)
class _Call:
    """What a request leaves for its reply.

    Attributes:
        name: service and method as they were sent.
        body: the argument.
        wrong: what is wrong with it; its connection ends with the answer.
    """

    name: str
    seq: int
    body: Body | None
    wrong: str = ""


class _TinyReader:
    """The reader of one connection, and the writer of its replies."""

    __slots__ = ("_context", "_ended", "_stream", "_timeout_ms", "_token")

    def __init__(self, dialect: Dialect, context: GuestContext, token: bytes) -> None:
        self._stream = ServerStream(dialect, context.limits.body_bytes_max)
        self._context = context
        self._token = token
        self._timeout_ms = 0
        self._ended = False

    def notice(self) -> bytes:
        """Return a failure of call 0, which no client has: ours reads that we go away, Go's skip
        it.
        """
        if self._ended or self._stream.option is None:
            return b""
        return self._stream.error("", 0, STOPPING)

    # -- requests in --------------------------------------------------------------------

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""
        return not self._ended and self._stream.partial

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept of the message that is not whole yet."""
        return self._stream.buffered_bytes

    def receive(self, data: bytes) -> tuple[list[Event], None]:
        """Take what arrived."""
        events: list[Event] = []
        if self._ended:
            return events, None
        stream = self._stream
        try:
            if stream.feed(data):
                self._greet(events)
            while (message := stream.next_message()) is not None:
                events.append(self._request(message))
        except TooLongMessageError as exc:
            self._ended = True
            header = exc.header
            call = _Call(header.ServiceMethod, header.Seq, None, str(exc))
            events.append(self._guest(call, b""))
        except ProtocolError as exc:
            self._ended = True
            events.append(Broken(exc))
        return events, None

    def _greet(self, events: list[Event]) -> None:
        option = self._stream.option
        assert option is not None
        self._timeout_ms = -(-option.handle_timeout_ns // _NS_PER_MS)
        welcome = self._stream.welcome()
        if welcome:
            events.append(Say(welcome))

    def _request(self, message: Message) -> GuestRequest:
        header, body = message.header, message.body
        return self._guest(_Call(header.ServiceMethod, header.Seq, body), body.data)

    def _guest(self, call: _Call, payload: bytes) -> GuestRequest:
        service, _, method = call.name.rpartition(".")
        return GuestRequest(
            self,
            service,
            method,
            payload,
            timeout_ms=self._timeout_ms,
            token=self._token,
            extra=call,
        )

    # -- replies out --------------------------------------------------------------------

    def decode(self, entry: Callee, request: GuestRequest) -> tuple[list[Any], dict[str, Any]]:
        """Return the handler's arguments.

        Raises:
            RpcError: 1003, the body is not what the method takes.
        """
        call: _Call = request.extra
        if call.body is None:
            raise RpcError.from_errno(Errno.BAD_REQUEST, call.wrong)
        shape = entry.shape if isinstance(entry, MethodEntry) else None
        if shape is None:
            text = f"{entry.service} is a protobuf service: TinyRPC calls plain objects"
            raise RpcError.from_errno(Errno.BAD_REQUEST, text)
        if shape.takes_nothing:
            return [], {}
        try:
            value = call.body.decode(shape.argument if shape.single else None)
        except ProtocolError as exc:
            text = f"argument of {call.name}: {exc}"
            raise RpcError.from_errno(Errno.BAD_REQUEST, text) from None
        if not shape.single and call.body.named:
            return [], value
        return [value], {}

    def encode(self, entry: Callee, request: GuestRequest, result: Any, controller: Any) -> Sized:
        """Encode a result.

        Raises:
            RpcError: 2002, it is not what the method says that it returns, cannot be sent, is
                too long, or has an attachment.
        """
        if controller is not None and controller.response_attachment:
            text = "the reply has an attachment, which only PRPC can carry"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
        shape = entry.shape if isinstance(entry, MethodEntry) else None
        hint = None if shape is None else shape.result
        try:
            body = self._stream.encode_body(result, hint)
        except ProtocolError as exc:
            text = f"result of {request.extra.name}: {exc}"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None
        limit = self._context.limits.body_bytes_max
        if len(body) > limit:
            text = f"reply of {len(body)} bytes, limit {limit}"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
        return body

    def reply(self, request: GuestRequest, encoded: object) -> Out:
        """Return the bytes of an answer."""
        assert isinstance(encoded, Sized)
        call: _Call = request.extra
        return Out(self._stream.reply(call.name, call.seq, encoded))

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        """Return the bytes of a failure: its text, with an empty body."""
        call: _Call = request.extra
        text = self._told(request, error)[:ERROR_TEXT_BYTES_MAX]
        try:
            data = self._stream.error(call.name, call.seq, text)
        except ProtocolError:  # half a character in it
            text = text.encode(errors="replace").decode()
            data = self._stream.error(call.name, call.seq, text)
        return Out(data, close=call.body is None)

    def _told(self, request: GuestRequest, error: RpcError) -> str:
        """Return what TinyRPC and gee-rpc say of such a failure."""
        call: _Call = request.extra
        if call.body is None:
            return call.wrong
        if error.errno in (Errno.NO_SERVICE, Errno.NO_METHOD):
            found = self._context.methods().find(request.service, request.method)
            if isinstance(found, Missing):
                if "." not in call.name:
                    return f"rpc server: service/method request ill-formed: {call.name}"
                if found.service_known:
                    return f"rpc server: can't find method {request.method}"
                return f"rpc server: can't find service {request.service}"
        option = self._stream.option
        if error.text == EXPIRED and option is not None and option.handle_timeout_ns:
            span = go_duration(option.handle_timeout_ns)
            return f"rpc server: request handle timeout: expect within {span}"
        return error.text
