"""`python -m center`: one center node."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import resource
import select
import signal
import sys
from typing import NoReturn

from center.opening import open_center
from libevrpc.errors import ConfigError
from libevrpc.logqueue import LogQueue

__all__ = ["REFUSAL", "main"]

log = logging.getLogger("center")

USAGE_STATUS = 2
DESCRIPTORS_MAX = 65_536
"""Connections that strangers hold open take descriptors, and the disk needs one for each write."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of <malloc.h>."""
LARGE_BYTES = 128 * 1024
"""Blocks from here on are mapped on their own."""
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
    made.add_argument(
        "--parent-fd", type=open_descriptor, action="append", default=[], help=argparse.SUPPRESS
    )
    made.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    return made


def open_descriptor(word: str) -> int:
    """Return the number of a descriptor that is open.

    Raises:
        ArgumentTypeError: it is not.
    """
    try:
        os.fstat(int(word))
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{word!r} is no open descriptor") from None
    return int(word)


def main(arguments: list[str] | None = None) -> int:
    """Run a center until SIGTERM or SIGINT; returns the exit status."""
    given = None
    try:
        given = parser().parse_args(arguments)
        return run(given)
    except ConfigError as exc:
        print(f"center: {exc}", file=sys.stderr)
        if given is not None and given.parent_fd:  # the parent reads only this line
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
    raise_descriptors()
    keep_one_heap()
    # No center may stop because nobody reads what it says.
    logging.basicConfig(level=opening.settings.log_level.upper(), handlers=[LogQueue()])
    for warning in opening.warnings:
        log.warning("%s", warning)
    bell = Bell(interrupts=not given.parent_fd)
    runner = opening.runner(bell.ring)
    runner.start()
    print(f"center {opening.id} listening on {runner.address}", flush=True)
    bell.wait(given.parent_fd)
    runner.stop()
    return int(runner.failed)


def raise_descriptors() -> None:
    """Allow this process as many open files as the system lets it, up to DESCRIPTORS_MAX."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_one_heap() -> None:
    """Let the C library have one heap for all threads, and give back at once what is large.

    Maps pass through five threads. With a heap for each, and large blocks within the heaps, ten
    thousand servers take 10 MB more. Python's lock lets one thread allocate at a time, so none
    waits for another.
    """
    with contextlib.suppress(OSError, AttributeError):  # not every C library can be told
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES)


class Bell:
    """Wakes the main thread: a signal, the end of the node, or the end of the parent process.

    A pipe, since a signal handler must not touch a lock that the main thread may hold.

    Args:
        interrupts: whether Ctrl-C is meant for this process. The parent has it too, and may
            need its center to the end.
    """

    def __init__(self, *, interrupts: bool) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        signal.set_wakeup_fd(self._write_fd)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.signal(signal.SIGINT, (lambda number, frame: None) if interrupts else signal.SIG_IGN)

    def ring(self) -> None:
        """Wake the main thread. Any thread."""
        os.write(self._write_fd, b"!")

    def wait(self, parent_fds: list[int]) -> None:
        """Block until it is rung, or one of `parent_fds` is readable or at its end."""
        poll = select.poll()
        for fd in (self._read_fd, *parent_fds):
            poll.register(fd, select.POLLIN)
        poll.poll()


if __name__ == "__main__":
    sys.exit(main())
