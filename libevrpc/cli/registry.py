"""`libevrpc registry`: TinyRPC's HTTP registry as a program."""

from __future__ import annotations

import argparse
import logging
import sys

from libevrpc.cli.arguments import positive_count
from libevrpc.cli.output import ExitStatus
from libevrpc.server.http.registry import EXPIRY_S, SERVERS_MAX, HttpRegistry
from libevrpc.server.server import RpcServer

__all__ = ["add_arguments", "run"]

LISTEN = "127.0.0.1:9999"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--listen", metavar="HOST:PORT", default=LISTEN, help=f"({LISTEN})")
    parser.add_argument("--state", metavar="FILE", help="keeps the servers over a restart")
    parser.add_argument(
        "--expiry",
        metavar="S",
        type=float,
        default=EXPIRY_S,
        help=f"a server silent for longer is dropped, seconds; 0: never ({EXPIRY_S:g})",
    )
    parser.add_argument(
        "--servers-max",
        metavar="N",
        type=positive_count,
        default=SERVERS_MAX,
        help=f"one server more is refused ({SERVERS_MAX})",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="a token that servers and clients must show"
    )
    parser.add_argument("--config", metavar="FILE", help="settings of the server, as server.ini")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    parser.add_argument("--json", action="store_true", help="print errors as JSON")


def run(given: argparse.Namespace) -> ExitStatus:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: an argument is wrong, the port taken, or the file another program's.
    """
    logging.basicConfig(level=given.log_level.upper(), stream=sys.stderr)
    server = RpcServer(
        given.listen, token_file=given.token_file, config=given.config, registry="", wires=["http"]
    )
    registry = HttpRegistry(
        server,
        expiry_s=given.expiry,
        state_file=given.state,
        servers_max=given.servers_max,
    )
    with registry:
        server.start()
        print(f"listening on {server.address}", flush=True)
        server.run()
    return ExitStatus.OK
