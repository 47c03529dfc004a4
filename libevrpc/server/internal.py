"""`evrpc.Internal`: heartbeats, cancels, and descriptors for callers without files."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from libevrpc.core.hello import INTERNAL_SERVICE
from libevrpc.errors import Errno, RpcError
from libevrpc.gen import internal_pb2
from libevrpc.server.calls import ServerCall
from libevrpc.server.methods import Handling, MethodEntry, service_entries, shown_signature

__all__ = ["Offer", "internal_entries"]

Offer = ServiceDescriptor | tuple[str, dict[str, str]]
"""What a server offers: a protobuf service, or a plain object's name and signatures."""


def internal_entries(offers: Callable[[], dict[str, Offer]]) -> list[MethodEntry]:
    """Make the entries of the internal service; `offers` tells what can be described now."""

    def ping(request: internal_pb2.PingRequest, call: ServerCall) -> internal_pb2.PingResponse:
        return internal_pb2.PingResponse()

    def cancel(
        request: internal_pb2.CancelRequest, call: ServerCall
    ) -> internal_pb2.CancelResponse:
        return internal_pb2.CancelResponse(found=call.session.cancel(request.correlation_id))

    def describe(
        request: internal_pb2.DescribeRequest, call: ServerCall
    ) -> internal_pb2.DescribeResponse:
        return _describe(offers(), request.service)

    descriptor = internal_pb2.DESCRIPTOR.services_by_name["Internal"]
    assert descriptor.full_name == INTERNAL_SERVICE
    entries = service_entries(
        descriptor, {"Ping": ping, "Cancel": cancel, "Describe": describe}, inline=True
    )
    for entry in entries:
        entry.handling = Handling.CALL
    return entries


def _describe(offers: dict[str, Offer], wanted: str) -> internal_pb2.DescribeResponse:
    names = list(offers)
    if wanted:
        names = [name for name in names if wanted in (name, name.rpartition(".")[2])]
        if len(names) != 1:
            known = ", ".join(offers) or "none"
            raise RpcError.from_errno(
                Errno.NO_SERVICE, f"no service {wanted!r} here; services: {known}"
            )
    response = internal_pb2.DescribeResponse()
    files: dict[str, bytes] = {}
    for name in names:
        offer = offers[name]
        described = response.services.add(name=name)
        if isinstance(offer, tuple):
            described.plain = True
            for method, signature in offer[1].items():
                described.methods.add(name=method, signature=signature)
            continue
        for each in offer.methods:
            described.methods.add(
                name=each.name,
                input_type=each.input_type.full_name,
                output_type=each.output_type.full_name,
            )
        _add_file(offer.file, files)
    response.files.extend(files.values())
    return response


def _add_file(file: FileDescriptor, files: dict[str, bytes]) -> None:
    """Add a file behind everything it imports."""
    if file.name in files:
        return
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    for imported in file.dependencies:
        _add_file(imported, files)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    files[file.name] = proto.SerializeToString()


def signatures_of(target: object, entries: list[MethodEntry]) -> dict[str, str]:
    """Describe a plain object's methods for a caller."""
    return {entry.method: shown_signature(getattr(target, entry.method)) for entry in entries}
