"""The command line of `libevrpc`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from libevrpc.cli.bench import bench
from libevrpc.cli.call import call, list_services
from libevrpc.cli.output import INTERRUPTED, fail
from libevrpc.cli.status import status
from libevrpc.errors import EvrpcError

__all__ = ["main"]

Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="libevrpc", description="Call and watch libevrpc servers.")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    calling = _command(commands, "call", call, "call one method with a JSON request")
    calling.add_argument("method", metavar="pkg.Service/Method")
    _body(calling)
    calling.add_argument(
        "--metadata", metavar="KEY=VALUE", action="append", default=[], help="send with the request"
    )
    _command(commands, "list", list_services, "list the services of a server")
    loading = _command(commands, "bench", bench, "load one method and measure")
    loading.add_argument("method", metavar="pkg.Service/Method")
    _body(loading)
    loading.add_argument("-c", "--callers", type=_positive, default=16, help="calls in flight")
    loading.add_argument("-t", "--seconds", type=float, default=5.0, help="for how long")
    _command(commands, "status", status, "show what a center is and knows", "CENTER[,CENTER...]")
    return made


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Command,
    about: str,
    target: str = "TARGET",
) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=about, description=about)
    made.add_argument("target", metavar=target, help="such as 127.0.0.1:9998")
    made.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS")
    made.add_argument("--json", action="store_true", help="print one line of JSON")
    made.set_defaults(run=run)
    return made


def _body(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "-d", "--data", default="{}", metavar="JSON", help="the request; @FILE, or - for stdin"
    )
    made.add_argument("--proto", metavar="FILE", help="for servers that do not describe themselves")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = parser().parse_args(arguments)
    try:
        run: Command = given.run
        return run(given)
    except EvrpcError as exc:
        return fail(exc, given.json)
    except KeyboardInterrupt:
        return INTERRUPTED
