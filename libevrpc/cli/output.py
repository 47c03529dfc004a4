"""What the program prints, for people and for programs; and its exit statuses."""

from __future__ import annotations

import json
import sys
from typing import Any

from libevrpc.errors import ConfigError, EvrpcError, RpcError, StatusCode

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "UNREACHABLE",
    "USAGE",
    "fail",
    "print_json",
    "table",
]

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(value, ensure_ascii=False))


def fail(error: EvrpcError, as_json: bool) -> int:
    """Print an error; returns the exit status that says what kind it was."""
    if isinstance(error, RpcError):
        code, status = error.code.name, FAILED
        if error.code is StatusCode.UNAVAILABLE:
            status = UNREACHABLE
        text = error.text
    else:
        code = "CONFIG" if isinstance(error, ConfigError) else "USAGE"
        text, status = str(error), USAGE
    if as_json:
        print_json({"error": {"code": code, "text": text}})
    else:
        label = f"{code}: " if isinstance(error, RpcError) else ""
        print(f"libevrpc: {label}{text}", file=sys.stderr)
    return status


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
