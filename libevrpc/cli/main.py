"""The `libevrpc` program."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from libevrpc import __version__
from libevrpc.cli import bench, call, keygen, listing, registry, status
from libevrpc.cli.arguments import Parser
from libevrpc.cli.output import ExitStatus, print_error, status_of_error
from libevrpc.errors import EvrpcError

__all__ = ["main"]

COMMANDS = {
    "call": (call, "call a method with a request in JSON"),
    "list": (listing, "list services and methods"),
    "bench": (bench, "measure a method: closed loop, percentiles"),
    "status": (status, "show what a center is and knows"),
    "registry": (registry, "serve TinyRPC's HTTP registry"),
    "keygen": (keygen, "make the keys and the token of a cluster"),
}


def parser() -> Parser:
    """Return the command line."""
    made = Parser(
        prog="libevrpc",
        description="Asks servers and centers; makes their keys; serves an HTTP registry.",
        epilog="exit status: 0 ok, 1 the call failed, 2 usage or configuration, 3 unreachable,"
        " 130 interrupted",
    )
    made.add_argument("--version", action="version", version=f"libevrpc {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, about) in COMMANDS.items():
        each = commands.add_parser(name, help=about, description=about)
        module.add_arguments(each)
        each.set_defaults(run=module.run)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    logging.getLogger("libevrpc").addHandler(logging.NullHandler())  # what fails is printed below
    if logging.lastResort is not None:  # a mistyped variable is told nowhere else
        logging.getLogger("libevrpc.variables").addHandler(logging.lastResort)
    as_json = "--json" in words
    try:
        result = _run(words, as_json)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED
    return result


def _run(words: list[str], as_json: bool) -> int:
    try:
        given = parser().parse_args(words)
        result: ExitStatus = given.run(given)
    except EvrpcError as exc:
        print_error(exc, as_json)
        return status_of_error(exc)
    except KeyboardInterrupt as exc:
        print_error(exc, as_json)
        return ExitStatus.INTERRUPTED
    return result
