"""A call that is described by a method's name and a request in JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor

from libevrpc import CallFuture, RpcClient, StubMethod
from libevrpc.cli.arguments import json_of
from libevrpc.cli.catalog import describe, method_of, pool_of, service_of, unknown_method
from libevrpc.cli.foreign import compiled_service
from libevrpc.client.method import split_method
from libevrpc.core.protobufs import message_class
from libevrpc.core.wording import with_article
from libevrpc.errors import Errno, RpcError, UsageError

__all__ = ["BoundCall", "PreparedCall", "prepare"]

_OPTIONS = ("timeout_s", "controller", "key", "idempotent", "content_type")
"""Keywords of `RpcClient.call` itself."""


@dataclass(frozen=True, slots=True)
class BoundCall:
    """A prepared call at one client; both take ``timeout_s`` and ``controller``. Any thread."""

    wait: Callable[..., Any]
    start: Callable[..., CallFuture]


class PreparedCall(Protocol):
    """One call, ready to be made through any client. Any thread."""

    def bind(self, client: RpcClient) -> BoundCall:
        """Return how `client` makes it."""

    def plain(self, response: Any) -> Any:
        """Return a response as JSON would have it. Raises RpcError 2002 if JSON cannot."""


@dataclass(frozen=True, slots=True)
class ProtobufCall:
    """Of a protobuf service."""

    method: MethodDescriptor
    request: Any

    def bind(self, client: RpcClient) -> BoundCall:
        """See `PreparedCall`."""
        method: StubMethod = getattr(client.stub(self.method.containing_service), self.method.name)
        return BoundCall(partial(method, self.request), partial(method.future, self.request))

    def plain(self, response: Any) -> Any:
        """See `PreparedCall`."""
        try:
            return json_format.MessageToDict(
                response,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=self.method.containing_service.file.pool,
            )
        except (json_format.Error, ValueError, TypeError) as exc:
            text = f"response cannot be shown as JSON: {exc}"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None


@dataclass(frozen=True, slots=True)
class ObjectCall:
    """Of a plain object."""

    method: str
    positional: list[Any]
    named: dict[str, Any]

    def bind(self, client: RpcClient) -> BoundCall:
        """See `PreparedCall`."""
        return BoundCall(
            partial(client.call, self.method, *self.positional, **self.named),
            partial(client.future, self.method, *self.positional, **self.named),
        )

    def plain(self, response: Any) -> Any:
        """See `PreparedCall`: it is what msgpack carried."""
        return response


def prepare(client: RpcClient, given: argparse.Namespace) -> PreparedCall:
    """Find out what is called and read the request.

    Args:
        client: of the server, which is asked to describe the service unless --proto is given.
        given: method, data, proto, timeout.

    Raises:
        UsageError: the request does not fit the method.
        RpcError: the server cannot be asked, or has no such method.
    """
    service, method = split_method(given.method)
    data = json_of(given.data)
    if given.proto is not None:
        return _protobuf_call(method_of(compiled_service(given.proto, service), method), data)
    response = describe(client, service, given.timeout)
    if len(response.services) != 1:
        text = f"the server described {len(response.services)} services instead of {service}"
        raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
    described = response.services[0]
    if described.plain:
        known = [each.name for each in described.methods]
        if method not in known:
            raise unknown_method(described.name, method, known)
        return _object_call(f"{described.name}.{method}", data)
    found = service_of(pool_of(list(response.files)), described.name)
    return _protobuf_call(method_of(found, method), data)


def _protobuf_call(method: MethodDescriptor, data: Any) -> ProtobufCall:
    request = message_class(method.input_type)()
    name = method.input_type.full_name
    pool = method.containing_service.file.pool
    try:
        json_format.ParseDict({} if data is None else data, request, descriptor_pool=pool)
    except (json_format.ParseError, ValueError, TypeError, AttributeError) as exc:
        raise UsageError(f"-d is not {with_article(name)}: {exc}") from None
    except RecursionError:
        raise UsageError(f"-d is not {with_article(name)}: nested too deeply") from None
    return ProtobufCall(method, request)


def _object_call(method: str, data: Any) -> ObjectCall:
    if data is None:
        return ObjectCall(method, [], {})
    if isinstance(data, list):
        return ObjectCall(method, data, {})
    if not isinstance(data, dict):
        raise UsageError(
            f"-d for {method}: write an array of arguments, or an object of named ones"
        )
    taken = [key for key in data if key in _OPTIONS]
    if taken:
        raise UsageError(f"-d for {method}: {taken[0]!r} cannot be named here; write an array")
    return ObjectCall(method, [], data)
