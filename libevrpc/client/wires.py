"""What a client needs to know of each protocol: how methods are called, and over what.

PRPC is the native one, and the only one that carries metadata, attachments, compression, cancels
and heartbeats. Of the others each says here what it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.descriptor import MethodDescriptor

from libevrpc.channel.connection import Connection
from libevrpc.channel.wire import ClientWire
from libevrpc.client.method import MethodSpec, object_method, protobuf_method, split_method
from libevrpc.core.hello import INTERNAL_SERVICE
from libevrpc.core.targets import Target
from libevrpc.errors import Errno, ProtocolError, RpcError, UsageError
from libevrpc.settings import ClientSettings

if TYPE_CHECKING:
    from libevrpc.core.tinyrpc_codecs import Body

__all__ = ["Wire", "open_wire"]

_NS = 1_000_000_000
_LABEL_BYTES_MAX = 1024
"""Longest ``Service.Method`` of TinyRPC."""


class Wire(Protocol):
    """One protocol, as one client speaks it. Immutable, any thread."""

    @property
    def connections(self) -> ClientWire:
        """What makes the connections of its channels."""

    def protobuf_spec(self, descriptor: MethodDescriptor) -> MethodSpec:
        """Make the spec of a stub's method.

        Raises:
            UsageError: it streams, or the wire carries no protobuf messages.
        """

    def object_spec(self, name: str, content_type: int, result: Any) -> MethodSpec:
        """Make the spec of a plain object's method, ``Service.Method``.

        Raises:
            UsageError: the name has no service or no method, or the wire has no plain objects.
        """

    def body(self, positional: tuple[Any, ...], keywords: dict[str, Any], content_type: int) -> Any:
        """Return the arguments of a plain object's method as its frames take them.

        Raises:
            RpcError: INVALID_ARGUMENT, a value that the wire cannot carry.
            UsageError: not as many as the wire carries.
        """


def open_wire(settings: ClientSettings, target: Target) -> Wire:
    """Return the wire that the settings name. Its libraries are imported now."""
    name = settings.wire
    # ZooKeeper's tree has one node, and one server, for each method there
    per_method = target.scheme == "zk" and target.query.get("layout") == "mprpc"
    if name == "prpc":
        return _PrpcByMethod() if per_method else _Prpc()
    if not name.startswith("mprpc"):
        return _Streams(settings)
    return _Mprpc(name, per_method)


class _Native:
    """What is the same wherever the registry keeps its providers."""

    connections = staticmethod(Connection.of)

    @cached_property
    def body(self) -> Callable[[tuple[Any, ...], dict[str, Any], int], bytes]:
        """What encodes arguments. JSON and msgpack are imported at the first plain call."""
        from libevrpc.core.objects import encode_arguments

        return encode_arguments


class _Prpc(_Native):
    """The native wire."""

    protobuf_spec = staticmethod(protobuf_method)
    object_spec = staticmethod(object_method)


class _PrpcByMethod(_Native):
    """The native wire where each method has a provider of its own."""

    def protobuf_spec(self, descriptor: MethodDescriptor) -> MethodSpec:
        return _looked_up_alone(protobuf_method(descriptor))

    def object_spec(self, name: str, content_type: int, result: Any) -> MethodSpec:
        return _looked_up_alone(object_method(name, content_type, result))


def _looked_up_alone(spec: MethodSpec) -> MethodSpec:
    if spec.service == INTERNAL_SERVICE:  # which every provider answers
        return spec
    return replace(spec, lookup=f"{spec.service}/{spec.method}")


class _Mprpc:
    """mprpc: protobuf messages, a connection for each call, no room for anything else."""

    def __init__(self, name: str, per_method: bool) -> None:
        from libevrpc.channel.shortlived import CountedConnections, ShortConnections

        self._name = name
        self._per_method = per_method
        self.connections: ClientWire = (
            CountedConnections if name == "mprpc-be" else ShortConnections
        )

    def protobuf_spec(self, descriptor: MethodDescriptor) -> MethodSpec:
        from libevrpc.core.mprpc import encode_request

        spec = protobuf_method(descriptor)
        service, method = descriptor.containing_service.name, descriptor.name
        big = self._name == "mprpc-be"

        def frame(_: int, payload: bytes) -> bytes:
            return encode_request(service, method, payload, "big" if big else "little")

        lookup = f"{service}/{method}" if self._per_method else spec.service
        return replace(spec, lookup=lookup, foreign=frame)

    def object_spec(self, name: str, content_type: int, result: Any) -> MethodSpec:
        split_method(name)
        raise UsageError(
            f"wire = {self._name} carries protobuf messages only: call {name} by a stub,"
            " client.stub(...)"
        )

    def body(self, positional: tuple[Any, ...], keywords: dict[str, Any], content_type: int) -> Any:
        raise AssertionError("no method of a plain object is ever called")


class _Streams:
    """TinyRPC and gee-rpc: plain objects, one argument and one result each, typed in gob."""

    def __init__(self, settings: ClientSettings) -> None:
        from libevrpc.channel.stream import StreamWire
        from libevrpc.core.tinyrpc import Option
        from libevrpc.core.tinyrpc_codecs import open_codec

        dialect, _, http = settings.wire.partition("-")
        option = Option(
            f"application/{settings.codec}",
            round(settings.connect_timeout_s * _NS),
            round(settings.handle_timeout_s * _NS),
        )
        self._name = settings.wire
        self._writer = open_codec(option.codec)[1]
        self.connections: ClientWire = StreamWire(
            "tinyrpc" if dialect == "tinyrpc" else "geerpc", bool(http), option
        )

    def protobuf_spec(self, descriptor: MethodDescriptor) -> MethodSpec:
        raise UsageError(
            f"wire = {self._name} carries plain objects only: client.call("
            f'"{descriptor.containing_service.name}.{descriptor.name}", argument, result=type)'
        )

    def object_spec(self, name: str, content_type: int, result: Any) -> MethodSpec:
        from libevrpc.channel.stream import StreamRequest

        spec = object_method(name, content_type)
        label = spec.label
        if len(label.encode()) > _LABEL_BYTES_MAX:
            raise UsageError(f"method {name[:60]!r}...: over {_LABEL_BYTES_MAX} bytes")

        def parse(body: Body) -> Any:
            try:
                return body.decode(result)
            except ProtocolError as exc:
                text = f"reply of {label}: {exc}"
                raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None

        def frame(call_id: int, payload: Any) -> StreamRequest:
            return StreamRequest(label, call_id, payload)

        return replace(spec, parse=parse, foreign=frame)

    def body(self, positional: tuple[Any, ...], keywords: dict[str, Any], content_type: int) -> Any:
        if keywords or len(positional) != 1:
            raise UsageError(
                f"wire = {self._name}: a method takes exactly one argument, without a name, such"
                f" as a dataclass; here are {len(positional)} and {len(keywords)} with names"
            )
        try:
            return self._writer.body(positional[0])
        except ProtocolError as exc:
            raise RpcError.from_errno(Errno.BAD_REQUEST, f"argument: {exc}") from None
