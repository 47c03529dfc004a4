"""`python -m center`: one center node."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
from typing import NoReturn

from center.opening import open_center
from libevrpc.errors import ConfigError

__all__ = ["REFUSAL", "main"]

log = logging.getLogger("center")

USAGE_STATUS = 2
REFUSAL = "refused: "
"""What the one line of a child that cannot start begins with, on its standard output."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as one `ConfigError` instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raise the error.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message}; see {self.prog} --help")


def parser() -> Parser:
    """Return the command line."""
    made = Parser(
        prog="python -m center",
        description="One center: elects a leader with the others of the list, and tells"
        " servers and clients of each other.",
    )
    made.add_argument("--id", type=int, help="own id; may be left out if one line is local")
    made.add_argument(
        "--centers-list", metavar="FILE", help="./centers_list, then /tmp/centers_list"
    )
    made.add_argument("--config", metavar="FILE", help="ini file, section [center]")
    made.add_argument("--data-dir", metavar="DIR", help="where the durable state lies")
    made.add_argument(
        "--new-cluster",
        action="store_true",
        help="vote at once although the disk is empty: this cluster has never run before",
    )
    made.add_argument("--parent-fd", type=int, help=argparse.SUPPRESS)
    made.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run a center until SIGTERM or SIGINT; returns the exit status."""
    given = None
    try:
        given = parser().parse_args(arguments)
        return run(given)
    except ConfigError as exc:
        print(f"center: {exc}", file=sys.stderr)
        if given is not None and given.parent_fd is not None:  # the parent reads only this line
            print(f"{REFUSAL}{exc}", flush=True)
        return USAGE_STATUS


def run(given: argparse.Namespace) -> int:
    """Build the center from its arguments and serve.

    Raises:
        ConfigError: something is wrong with arguments, files or addresses.
    """
    opening = open_center(
        given.id,
        given.centers_list,
        config=given.config,
        new_cluster=given.new_cluster,
        settings={"data_dir": given.data_dir, "log_level": given.log_level},
    )
    logging.basicConfig(
        level=opening.settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for warning in opening.warnings:
        log.warning("%s", warning)
    bell = Bell()
    runner = opening.runner(bell.ring)
    runner.start()
    print(f"center {opening.id} listening on {runner.address}", flush=True)
    bell.wait(given.parent_fd)
    runner.stop()
    return int(runner.failed)


class Bell:
    """Wakes the main thread: a signal, the end of the node, or the end of the parent process.

    A pipe, since a signal handler must not touch a lock that the main thread may hold.
    """

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        signal.set_wakeup_fd(self._write_fd)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: None)

    def ring(self) -> None:
        """Wake the main thread. Any thread."""
        os.write(self._write_fd, b"!")

    def wait(self, parent_fd: int | None) -> None:
        """Block until it is rung, or `parent_fd` is at its end."""
        watched = [self._read_fd] if parent_fd is None else [self._read_fd, parent_fd]
        select.select(watched, [], [])


if __name__ == "__main__":
    sys.exit(main())
