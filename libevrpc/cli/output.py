"""What the program prints, and the exit status that a failure has."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from libevrpc.errors import Errno, EvrpcError, RpcError, StatusCode, UsageError, errno_of

__all__ = ["ExitStatus", "print_error", "print_json", "print_table", "status_of_error"]

_SYSTEM_ERRNO_MAX = 133


class ExitStatus(IntEnum):
    """Exit statuses of the program."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


def status_of_error(error: EvrpcError) -> ExitStatus:
    """Return the exit status: usage, nobody reached, or a call that failed."""
    if isinstance(error, UsageError):
        return ExitStatus.USAGE
    if isinstance(error, RpcError) and (
        error.errno == Errno.FAILED_SOCKET
        or (0 < error.errno <= _SYSTEM_ERRNO_MAX and error.errno != Errno.CANCELLED)
    ):
        return ExitStatus.UNREACHABLE
    return ExitStatus.FAILED


def print_error(error: EvrpcError | KeyboardInterrupt, as_json: bool) -> None:
    """Print one line: on standard output with `as_json`, else on standard error."""
    errno: int | None = None
    match error:
        case RpcError():
            code, text, errno = error.code, error.text, error.errno
        case UsageError():
            code, text = StatusCode.INVALID_ARGUMENT, str(error)
        case KeyboardInterrupt():
            code, text = StatusCode.CANCELLED, "interrupted"
        case _:
            code, text = StatusCode.INTERNAL, str(error)
    if errno is None:
        errno = errno_of(code)
    if as_json:
        print(json.dumps({"error": {"code": code.name, "errno": errno, "text": text}}))
        return
    line = " ".join(text.split())
    if isinstance(error, RpcError):
        line = f"{code.name} ({error.errno}): {line}"
    print(f"libevrpc: {line}", file=sys.stderr)


def print_json(value: Any, as_json: bool = True) -> None:
    """Print a value: on one line with `as_json`, else for people. Bytes are spelled in hex."""
    indent = None if as_json else 2
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, default=_spelled)
        text.encode()
    except (TypeError, ValueError):  # map keys of other types, or lone surrogates
        text = json.dumps(_plain(value), indent=indent)
    print(text)


def _spelled(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """Return `value` with map keys as texts."""
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else _spelled(key): _plain(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | None) else _spelled(value)


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below a title, with colours where there is a terminal and `rich`."""
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and _print_rich(title, heads, cells):
        return
    print(title)
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in (heads, *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line}".rstrip())


def _print_rich(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Print with `rich`; False where it is not installed."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(
        title=Text(title, style="bold"), box=box.SIMPLE_HEAD, title_justify="left", expand=False
    )
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console().print(table)
    return True


_COLOURS = {
    "LEADING": "bold green",
    "FOLLOWING": "green",
    "UP": "green",
    "LOOKING": "yellow",
    "OBSERVING": "yellow",
    "SUSPECT": "yellow",
    "DRAINING": "yellow",
    "UNKNOWN": "red",
}
