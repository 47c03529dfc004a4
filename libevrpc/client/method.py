"""How one method is called: its name on the wire, its bodies, whether it may be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError

from libevrpc.core.contents import ContentType
from libevrpc.core.protobufs import message_class
from libevrpc.core.prpc_encode import RequestEncoder
from libevrpc.core.wording import with_article
from libevrpc.errors import Errno, ProtocolError, RpcError, UsageError

__all__ = ["MethodSpec", "object_method", "protobuf_method", "split_method"]


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """One method of one service. Immutable, any thread.

    Attributes:
        service, method: as they travel.
        encoder: writes its requests.
        content_type: of request and reply.
        idempotent: executing twice does no harm.
        parse: reply bytes to the response; raises RpcError 2002.
        lookup: what the registry is asked for.
        foreign: makes the frame of a wire other than PRPC, from the call's number and its
            payload; raises RpcError.
    """

    service: str
    method: str
    encoder: RequestEncoder
    content_type: int
    idempotent: bool
    parse: Callable[[Any], Any]
    lookup: str
    foreign: Callable[[int, Any], Any] | None = None

    @property
    def label(self) -> str:
        """Name for messages."""
        return f"{self.service}.{self.method}"


def split_method(name: Any) -> tuple[str, str]:
    """Split ``pkg.Service/Method`` or ``pkg.Service.Method``.

    Raises:
        UsageError: there is no service or no method in it, or it is no text that can travel.
    """
    if not isinstance(name, str):
        raise UsageError(f"method {name!r} is of type {type(name).__name__}: write it as text")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"method {name!r}: not UTF-8 text") from None
    separator = "/" if "/" in name else "."
    service, _, method = name.rpartition(separator)
    if not service or not method:
        raise UsageError(f"method {name!r}: write pkg.Service/Method or Service.Method")
    return service, method


def protobuf_method(descriptor: MethodDescriptor) -> MethodSpec:
    """Make the spec of a protobuf method.

    Raises:
        UsageError: it streams.
    """
    service = descriptor.containing_service.full_name
    if descriptor.client_streaming or descriptor.server_streaming:
        raise UsageError(f"{service}.{descriptor.name} streams, which is not supported")
    options = descriptor.GetOptions()
    from_string = message_class(descriptor.output_type).FromString
    name = descriptor.output_type.full_name

    def parse(body: bytes) -> Any:
        try:
            return from_string(body)
        except DecodeError as exc:
            text = f"reply is not {with_article(name)}: {exc}"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None

    return MethodSpec(
        service,
        descriptor.name,
        RequestEncoder(service, descriptor.name),
        ContentType.PROTOBUF,
        options.idempotency_level != options.IDEMPOTENCY_UNKNOWN,
        parse,
        service,
    )


def object_method(name: str, content_type: int, result: Any = None) -> MethodSpec:
    """Make the spec of a plain object's method, ``Service.Method``.

    Args:
        name: of service and method.
        content_type: of request and reply.
        result: type hint of the result; None: whatever comes.

    Raises:
        UsageError: the name has no service or no method, or results have no such type.
    """
    from libevrpc.core.objects import decode_value

    service, method = split_method(name)

    def parse(body: bytes) -> Any:
        return decode_value(body, content_type)

    shaped = parse if result is None else _shaping(parse, f"{service}.{method}", result)
    encoder = RequestEncoder(service, method)
    return MethodSpec(service, method, encoder, content_type, False, shaped, service)


def _shaping(parse: Callable[[bytes], Any], label: str, hint: Any) -> Callable[[bytes], Any]:
    """Return what parses a result and gives it the shape of a type hint."""
    from libevrpc.core.gob import schema_of
    from libevrpc.core.shapes import shaped

    schema = schema_of(hint)

    def parse_shaped(body: bytes) -> Any:
        try:
            return shaped(parse(body), schema)
        except ProtocolError as exc:
            raise RpcError.from_errno(Errno.BAD_RESPONSE, f"reply of {label}: {exc}") from None

    return parse_shaped
