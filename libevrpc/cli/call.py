"""`libevrpc call`: one call with a request in JSON."""

from __future__ import annotations

import argparse

from libevrpc import ClientController, RpcClient
from libevrpc.cli.arguments import add_call_arguments, at_service, metadata_of
from libevrpc.cli.output import ExitStatus, print_json
from libevrpc.cli.request import prepare
from libevrpc.client.method import split_method

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_call_arguments(parser)
    parser.add_argument(
        "--metadata", action="append", default=[], metavar="K=V", help="to send; may be repeated"
    )


def run(given: argparse.Namespace) -> ExitStatus:
    """Call and print the response.

    Raises:
        EvrpcError: it failed.
    """
    controller = ClientController()
    controller.metadata = metadata_of(given.metadata)
    service, _ = split_method(given.method)
    target = at_service(given.target, service)
    with RpcClient(target, timeout_s=given.timeout, token_file=given.token_file) as client:
        prepared = prepare(client, given)
        response = prepared.bind(client).wait(timeout_s=given.timeout, controller=controller)
    print_json(prepared.plain(response), given.json)
    return ExitStatus.OK
