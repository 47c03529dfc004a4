"""Base classes for services that are written by subclassing."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from libevrpc.errors import Errno, RpcError

__all__ = ["service_base"]


def service_base(descriptor: ServiceDescriptor) -> type[Any]:
    """Return a base class for a protobuf service: override its methods, add an instance.

    Methods are named as in the .proto, or in snake_case, which wins; those that are not
    overridden answer UNIMPLEMENTED. Any thread.

    Example::

        class Echo(service_base(echo_pb2.DESCRIPTOR.services_by_name["EchoService"])):
            def Echo(self, request): ...

        server.add_service(Echo())
    """
    members: dict[str, Any] = {
        "DESCRIPTOR": descriptor,
        "__doc__": f"Base of {descriptor.full_name}.",
    }
    for method in descriptor.methods:
        members[method.name] = _unimplemented(method)
    return type(f"{descriptor.name}Base", (), members)


def _unimplemented(method: MethodDescriptor) -> Any:
    def handler(self: Any, request: Any) -> Any:
        name = f"{method.containing_service.full_name}.{method.name}"
        raise RpcError.from_errno(Errno.NO_METHOD, f"{name} is not implemented here")

    return handler
