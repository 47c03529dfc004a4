"""What a server offers, learned from the server itself or from a .proto file."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from libevrpc.client.client import RpcClient
from libevrpc.core.protobufs import message_class
from libevrpc.errors import ConfigError, Errno, RpcError
from libevrpc.gen import internal_pb2

__all__ = ["Schema", "ask_schema", "compile_schema"]


@dataclass(frozen=True, slots=True)
class Schema:
    """Services and their methods.

    Attributes:
        services: protobuf services by full name.
        plain: signatures of plain objects' methods, by service and method.
    """

    services: dict[str, ServiceDescriptor] = field(default_factory=dict)
    plain: dict[str, dict[str, str]] = field(default_factory=dict)

    def find(self, service: str, method: str) -> MethodDescriptor | None:
        """Return a protobuf method by full or unique short service name; None: a plain one.

        Raises:
            RpcError: UNIMPLEMENTED, there is no such service or method; says what there is.
        """
        names = [*self.services, *self.plain]
        found = [name for name in names if service in (name, name.rpartition(".")[2])]
        if len(found) != 1:
            text = f"no service {service!r} there; services: {', '.join(names) or 'none'}"
            raise RpcError.from_errno(Errno.NO_SERVICE, text)
        name = found[0]
        methods = self.plain.get(name) or self.services[name].methods_by_name
        if method not in methods:
            text = f"service {name} has no method {method!r}; methods: {', '.join(methods)}"
            raise RpcError.from_errno(Errno.NO_METHOD, text)
        return None if name in self.plain else self.services[name].methods_by_name[method]


def ask_schema(client: RpcClient, timeout_s: float) -> Schema:
    """Ask a server of ours for its descriptors.

    Raises:
        RpcError: it cannot be reached, or is no server of ours.
    """
    internal = internal_pb2.DESCRIPTOR.services_by_name["Internal"]
    stub = client.stub(internal)
    told = stub.Describe(internal_pb2.DescribeRequest(), timeout_s=timeout_s, idempotent=True)
    pool = DescriptorPool()
    for file in told.files:
        pool.AddSerializedFile(file)
    schema = Schema()
    for service in told.services:
        if service.plain:
            schema.plain[service.name] = {each.name: each.signature for each in service.methods}
        else:
            schema.services[service.name] = pool.FindServiceByName(service.name)
    return schema


def compile_schema(proto: str) -> Schema:
    """Read the services of a .proto file, for servers that are not ours.

    Raises:
        ConfigError: no such file, it does not compile, or no compiler is installed.
    """
    path = Path(proto)
    if not path.is_file():
        raise ConfigError(f"--proto {proto}: no such file")
    try:
        from grpc_tools import protoc  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ConfigError("--proto needs a protobuf compiler: pip install grpcio-tools") from None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        status = protoc.main(
            [
                "protoc",
                f"-I{path.parent}",
                "--include_imports",
                f"--descriptor_set_out={out}",
                path.name,
            ]
        )
        if status:
            raise ConfigError(f"--proto {proto}: does not compile")
        files = FileDescriptorSet.FromString(out.read_bytes())
    pool = DescriptorPool()
    schema = Schema()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
        for each in file.service:
            name = f"{file.package}.{each.name}" if file.package else each.name
            schema.services[name] = pool.FindServiceByName(name)
    return schema


def request_class_name(method: MethodDescriptor) -> str:
    """Return the full name of a method's request, for messages."""
    return str(message_class(method.input_type).DESCRIPTOR.full_name)


def read_body(argument: str) -> str:
    """Return the JSON of ``-d``: the text itself, ``@file``, or ``-`` for standard input.

    Raises:
        ConfigError: the file cannot be read.
    """
    if argument == "-":
        return sys.stdin.read()
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text()
    except OSError as exc:
        raise ConfigError(f"-d {argument}: {exc.strerror}") from None
