"""What a server offers, from its own description or from a .proto file."""

from __future__ import annotations

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from libevrpc import RpcClient
from libevrpc.errors import Errno, RpcError
from libevrpc.gen import internal_pb2

__all__ = ["describe", "method_of", "pool_of", "service_of"]

_INTERNAL = internal_pb2.DESCRIPTOR.services_by_name["Internal"]
_UNKNOWN = (Errno.NO_SERVICE, Errno.NO_METHOD)


def describe(
    client: RpcClient, service: str, timeout_s: float | None
) -> internal_pb2.DescribeResponse:
    """Ask the server for its description.

    Args:
        client: of the server.
        service: full or short name; empty: all.
        timeout_s: deadline.

    Raises:
        RpcError: no answer, no such service, or a server that does not describe itself.
    """
    ask = client.stub(_INTERNAL).Describe
    response: internal_pb2.DescribeResponse
    try:
        wanted = internal_pb2.DescribeRequest(service=service)
        response = ask(wanted, timeout_s=timeout_s, idempotent=True)
    except RpcError as exc:
        if exc.errno not in _UNKNOWN:
            raise
        if service:
            describe(client, "", timeout_s)  # does it describe anything?
            raise
        text = "the server does not describe its services; pass --proto FILE"
        raise RpcError.from_errno(exc.errno, text) from None
    return response


def pool_of(files: list[bytes]) -> DescriptorPool:
    """Make a pool of serialized files, each after those it imports.

    Raises:
        RpcError: 2002, they do not make sense.
    """
    pool = DescriptorPool()
    try:
        for serialized in files:
            name = FileDescriptorProto.FromString(serialized).name
            pool.AddSerializedFile(serialized)
            pool.FindFileByName(name)  # not every runtime looks at imports before
    except (TypeError, ValueError, KeyError, DecodeError) as exc:
        text = f"the server's description makes no sense: {exc}"
        raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None
    return pool


def service_of(pool: DescriptorPool, name: str) -> ServiceDescriptor:
    """Find a described service.

    Raises:
        RpcError: 2002, the description lacks it.
    """
    try:
        return pool.FindServiceByName(name)
    except KeyError:
        text = f"the server's description of {name} lacks its file"
        raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None


def method_of(service: ServiceDescriptor, name: str) -> MethodDescriptor:
    """Find a method.

    Raises:
        RpcError: 1002, the service has none of that name.
    """
    method = service.methods_by_name.get(name)
    if method is None:
        raise unknown_method(service.full_name, name, list(service.methods_by_name))
    return method


def unknown_method(service: str, name: str, known: list[str]) -> RpcError:
    """Return the error that names the methods there are."""
    text = f"service {service} has no method {name!r}; methods: {', '.join(known) or 'none'}"
    return RpcError.from_errno(Errno.NO_METHOD, text)
