"""`libevrpc call` and `libevrpc list`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from google.protobuf import json_format

from libevrpc.cli.output import OK, print_json, table
from libevrpc.cli.schema import ask_schema, compile_schema, read_body
from libevrpc.client.client import RpcClient
from libevrpc.client.controller import ClientController
from libevrpc.client.method import split_method
from libevrpc.client.stub import StubMethod
from libevrpc.core.protobufs import message_class
from libevrpc.errors import ConfigError

__all__ = ["call", "list_services"]


def call(arguments: argparse.Namespace) -> int:
    """Call one method with a JSON request and print the JSON response."""
    service, method = split_method(arguments.method)
    body = read_body(arguments.data)
    controller = ClientController()
    controller.metadata = metadata_of(arguments.metadata)
    with RpcClient(arguments.target, timeout_s=arguments.timeout) as client:
        if arguments.proto:
            schema = compile_schema(arguments.proto)
        else:
            schema = ask_schema(client, arguments.timeout)
        descriptor = schema.find(service, method)
        if descriptor is None:
            value = call_plain(client, f"{service}/{method}", body, controller)
        else:
            request = message_class(descriptor.input_type)()
            try:
                json_format.Parse(body, request)
            except json_format.ParseError as exc:
                name = descriptor.input_type.full_name
                raise ConfigError(f"-d: not a {name} in JSON: {exc}") from None
            response = StubMethod(client, descriptor)(request, controller=controller)
            value = json_format.MessageToDict(response)
    if arguments.json:
        print_json(value)
    else:
        print(json.dumps(value, ensure_ascii=False, indent=2))
    return OK


def call_plain(client: RpcClient, method: str, body: str, controller: ClientController) -> Any:
    """Call a plain object: an array is positional arguments, an object is keywords."""
    try:
        arguments = json.loads(body) if body else []
    except ValueError as exc:
        raise ConfigError(f"-d: not JSON: {exc}") from None
    if isinstance(arguments, dict):
        return client.call(method, controller=controller, **arguments)
    if not isinstance(arguments, list):
        arguments = [arguments]
    return client.call(method, *arguments, controller=controller)


def metadata_of(pairs: list[str]) -> dict[str, str]:
    """Return ``key=value`` arguments as a dict.

    Raises:
        ConfigError: one has no `=`.
    """
    found = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--metadata {pair}: write key=value")
        found[key] = value
    return found


def list_services(arguments: argparse.Namespace) -> int:
    """Print the services of a server and their methods."""
    with RpcClient(arguments.target, timeout_s=arguments.timeout) as client:
        schema = ask_schema(client, arguments.timeout)
    rows = [
        [f"{name}/{each.name}", each.input_type.full_name, each.output_type.full_name]
        for name, service in schema.services.items()
        for each in service.methods
    ]
    plain = [
        [f"{name}/{method}", signature, ""]
        for name, methods in schema.plain.items()
        for method, signature in methods.items()
    ]
    if arguments.json:
        print_json(
            [
                {"method": method, "request": taken, "response": given}
                for method, taken, given in rows
            ]
            + [{"method": method, "signature": signature} for method, signature, _ in plain]
        )
    else:
        table(["METHOD", "TAKES", "GIVES"], rows + plain)
    return OK
