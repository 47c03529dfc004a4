"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

from libevrpc.core.targets import parse_target
from libevrpc.errors import UsageError

__all__ = [
    "Parser",
    "add_call_arguments",
    "add_common",
    "at_service",
    "json_of",
    "metadata_of",
    "positive_count",
    "seconds",
]


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as one `UsageError` instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raise the UsageError.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; see {self.prog} --help")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command that asks a server takes."""
    parser.add_argument("--timeout", type=seconds, metavar="S", help="deadline, seconds (5)")
    parser.add_argument(
        "--token-file", metavar="FILE", help="the cluster's token (LIBEVRPC_CLIENT_TOKEN_FILE)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, errors too")


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target, the method and its request."""
    parser.add_argument(
        "target", help="host:port, unix:///path, list://a,b, center://host:port, another registry"
    )
    parser.add_argument("method", help="pkg.Service/Method or Service.Method")
    parser.add_argument(
        "-d",
        "--data",
        metavar="JSON",
        help="request: a message as JSON; for a plain object an array of arguments or an object"
        " of named ones; @FILE reads a file, - standard input",
    )
    parser.add_argument(
        "--proto", metavar="FILE", help="the service's .proto, for servers that do not describe it"
    )
    add_common(parser)


def seconds(text: str) -> float:
    """Read a span.

    Raises:
        ArgumentTypeError: it is no positive number of seconds.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 7 * 86400.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def positive_count(text: str) -> int:
    """Read a count.

    Raises:
        ArgumentTypeError: it is no whole number from 1 on.
    """
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def metadata_of(pairs: list[str]) -> dict[str, str]:
    """Read ``key=value`` pairs.

    Raises:
        UsageError: one has no key.
    """
    metadata = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"metadata {pair!r}: write key=value")
        metadata[key] = value
    return metadata


def json_of(text: str | None) -> Any:
    """Read what follows ``-d``; None if nothing was given.

    Raises:
        UsageError: the file cannot be read, or it is not JSON.
    """
    if text is None:
        return None
    origin = "-d"
    try:
        if text == "-":
            origin, text = "standard input", sys.stdin.read()
        elif text.startswith("@"):
            origin = text[1:]
            text = Path(origin).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as exc:
        raise UsageError(f"{origin}: cannot read it: {exc.strerror or exc}") from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"{origin}: not UTF-8 text: {exc.reason} at byte {exc.start}") from None
    except RecursionError:
        raise UsageError(f"{origin}: JSON is nested too deeply") from None
    except ValueError as exc:
        raise UsageError(f"{origin}: not JSON: {exc}") from None


def at_service(target: str, service: str) -> str:
    """Return the target whose servers offer `service`; only registries hold several kinds.

    Raises:
        ConfigError: the target is wrong.
    """
    return parse_target(target).naming(service)
