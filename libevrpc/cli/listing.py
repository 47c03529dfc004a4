"""`libevrpc list`: what a server, or a whole cluster, offers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from libevrpc import RpcClient
from libevrpc.cli.arguments import add_common
from libevrpc.cli.catalog import describe
from libevrpc.cli.cluster import ask_map
from libevrpc.cli.output import ExitStatus, print_json
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServerState
from libevrpc.core.targets import Target, parse_target
from libevrpc.errors import ConfigError, Errno, RpcError, StatusCode
from libevrpc.gen import internal_pb2

__all__ = ["add_arguments", "run"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One service, and in a cluster who offers it.

    Attributes:
        service: None where no server describes it.
        servers: of the map; None where a server itself was asked.
        flaw: why no server describes it.
    """

    name: str
    service: internal_pb2.ServiceDescription | None
    servers: tuple[ServerEntry, ...] | None = None
    flaw: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "target", help="host:port, unix:///path, list://a,b, center://host:port, another registry"
    )
    add_common(parser)


def run(given: argparse.Namespace) -> ExitStatus:
    """Print services, their methods, and types or signatures; of a cluster the servers too.

    Raises:
        EvrpcError: it failed.
    """
    target = parse_target(given.target)
    if target.scheme == "center":
        offers = _of_cluster(target, given.timeout, given.token_file)
    else:
        if _by_service(target) and not target.service:
            raise ConfigError(
                f"target {target.text}: name a service to list, such as"
                f" {target.naming('package.Service')}"
            )
        found = _of_server(given.target, "", given.timeout, given.token_file)
        offers = [Offer(each.name, each) for each in found]
    if given.json:
        print_json({"services": [_plain(each) for each in offers]})
        return ExitStatus.OK
    for offer in offers:
        _show(offer)
    return ExitStatus.OK


def _by_service(target: Target) -> bool:
    """Tell whether servers are found there by a service's name alone."""
    if target.scheme == "etcd":  # TinyRPC's layout has addresses, no services
        return target.query.get("layout") != "tinyrpc"
    return target.scheme == "zk"


def _of_server(
    target: str, service: str, timeout_s: float | None, token_file: str | None
) -> Sequence[internal_pb2.ServiceDescription]:
    with RpcClient(target, timeout_s=timeout_s, token_file=token_file) as client:
        return describe(client, service, timeout_s).services


def _of_cluster(target: Target, timeout_s: float | None, token_file: str | None) -> list[Offer]:
    """Return what the map has, with the words of one server of each service.

    Raises:
        RpcError: no center can tell, or there is nothing to tell of.
    """
    found = ask_map(target, timeout_s, token_file)
    names = sorted({name for table in found.tables for name in table.services})
    if target.path and target.path in names:
        names = [target.path]
    elif not names or target.path:
        raise _nothing(target, names)
    return [_offer(found, name, timeout_s, token_file) for name in names]


def _nothing(target: Target, names: list[str]) -> RpcError:
    if not names:
        return RpcError(StatusCode.UNAVAILABLE, f"no server is registered at {target.text}")
    text = f"service {target.path} is not in the map; known services: {', '.join(names)}"
    return RpcError(StatusCode.UNIMPLEMENTED, text, errno=Errno.NO_SERVICE)


def _offer(found: ClusterMap, name: str, timeout_s: float | None, token_file: str | None) -> Offer:
    """Ask the servers of a service, those in the best state first, until one describes it."""
    table = found.table_of(name)
    members = table.members if table is not None else ()
    servers = tuple(found.servers[member] for member in members)
    flaw = "no server"
    for entry in sorted(servers, key=lambda each: each.state):
        try:
            for each in _of_server(entry.address, name, timeout_s, token_file):
                return Offer(name, each, servers)
        except RpcError as exc:
            flaw = exc.text
    return Offer(name, None, servers, flaw)


def _show(offer: Offer) -> None:
    service = offer.service
    print(f"{offer.name}  (plain object)" if service is not None and service.plain else offer.name)
    for method in service.methods if service is not None else ():
        types = method.signature or f"({method.input_type}) -> {method.output_type}"
        print(f"  {method.name}{types}")
    if offer.flaw:
        print(f"  not described: {offer.flaw}")
    if offer.servers is not None:
        told = ", ".join(
            each.address if each.state is ServerState.UP else f"{each.address} ({each.state.name})"
            for each in offer.servers
        )
        print(f"  at {told}")


def _plain(offer: Offer) -> dict[str, Any]:
    service = offer.service
    plain: dict[str, Any] = {"name": offer.name}
    if service is not None:
        plain["plain"] = service.plain
        plain["methods"] = [
            {"name": each.name, "signature": each.signature}
            if service.plain
            else {"name": each.name, "input_type": each.input_type, "output_type": each.output_type}
            for each in service.methods
        ]
    else:
        plain["flaw"] = offer.flaw
    if offer.servers is not None:
        plain["servers"] = [
            {"address": each.address, "state": each.state.name} for each in offer.servers
        ]
    return plain
