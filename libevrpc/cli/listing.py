"""`libevrpc list`: what a server, or a whole cluster, offers."""

from __future__ import annotations

import argparse
from typing import Any

from libevrpc import RpcClient
from libevrpc.cli.arguments import add_common
from libevrpc.cli.catalog import describe
from libevrpc.cli.output import ExitStatus, print_json
from libevrpc.cli.status import ask_center
from libevrpc.core.targets import Target, parse_target
from libevrpc.gen import internal_pb2

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("target", help="host:port, unix:///path, list://a,b, center://host:port")
    add_common(parser)


def run(given: argparse.Namespace) -> ExitStatus:
    """Print services, their methods, and types or signatures.

    Raises:
        EvrpcError: it failed.
    """
    target = parse_target(given.target)
    if target.scheme == "center" and not target.path:
        services = _of_cluster(target, given)
    else:
        services = _of_target(given.target, target.path, given)
    if given.json:
        print_json({"services": [_plain(each) for each in services]})
        return ExitStatus.OK
    for each in services:
        print(f"{each.name}  (plain object)" if each.plain else each.name)
        for method in each.methods:
            types = method.signature or f"({method.input_type}) -> {method.output_type}"
            print(f"  {method.name}{types}")
    return ExitStatus.OK


def _of_target(
    target: str, service: str, given: argparse.Namespace
) -> list[internal_pb2.ServiceDescription]:
    with RpcClient(target, timeout_s=given.timeout) as client:
        return list(describe(client, service, given.timeout).services)


def _of_cluster(target: Target, given: argparse.Namespace) -> list[internal_pb2.ServiceDescription]:
    """Ask one server of each service that the centers know."""
    status = ask_center(target, given.timeout)
    server_of = {name: each.address for each in status.servers for name in each.services}
    services: list[internal_pb2.ServiceDescription] = []
    for name, address in sorted(server_of.items()):
        services += _of_target(address, name, given)
    return services


def _plain(service: internal_pb2.ServiceDescription) -> dict[str, Any]:
    methods = [
        {"name": each.name, "signature": each.signature}
        if service.plain
        else {"name": each.name, "input_type": each.input_type, "output_type": each.output_type}
        for each in service.methods
    ]
    return {"name": service.name, "plain": service.plain, "methods": methods}
