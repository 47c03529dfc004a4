"""`python -m center`: one center node."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import socket
import sys
from pathlib import Path

import psutil

from center.centers_list import CentersList, default_path, read_centers_list
from center.runner import Runner
from libevrpc.errors import ConfigError
from libevrpc.settings import CenterSettings, load_settings

__all__ = ["main"]

USAGE_STATUS = 2


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
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
    given = parser().parse_args(arguments)
    try:
        return run(given)
    except ConfigError as exc:
        print(f"center: {exc}", file=sys.stderr)
        return USAGE_STATUS


def run(given: argparse.Namespace) -> int:
    """Build the center from its arguments and serve.

    Raises:
        ConfigError: something is wrong with arguments, files or addresses.
    """
    settings = load_settings(
        CenterSettings,
        config=given.config,
        arguments={"data_dir": given.data_dir, "log_level": given.log_level},
    )
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    centers = read_centers_list(given.centers_list or default_path())
    center_id = centers.local_id(is_local) if given.id is None else given.id
    centers.center(center_id)
    check_security(centers, settings)
    for warning in centers.warnings():
        logging.getLogger("center").warning("%s", warning)
    bell = Bell()
    runner = Runner(
        center_id,
        centers,
        settings,
        data_folder(settings, center_id),
        new_cluster=given.new_cluster,
        on_end=bell.ring,
    )
    runner.start()
    print(f"center {center_id} listening on {runner.address}", flush=True)
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


def data_folder(settings: CenterSettings, center_id: int) -> Path:
    """Return where center `center_id` keeps its state: configured, or the user's state folder."""
    if settings.data_dir:
        return Path(settings.data_dir)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "libevrpc" / f"center-{center_id}"


def check_security(centers: CentersList, settings: CenterSettings) -> None:
    """Refuse to speak beyond this machine unless the configuration says so.

    Raises:
        ConfigError: a center is elsewhere and `security` is not none.
    """
    if settings.security == "none":
        return
    for center in centers.centers:
        if not center.host.startswith("127.") and center.host not in ("::1", "localhost"):
            raise ConfigError(
                f"center {center.id} is at {center.host}, beyond this machine, and nothing"
                " protects the links; write security = none in [center] to allow that"
            )


def is_local(host: str) -> bool:
    """True if `host` is an address of this machine, or a name of one."""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except socket.gaierror:
        return False
    own = {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
    }
    return not found.isdisjoint(own) or any(str(each).startswith("127.") for each in found)


if __name__ == "__main__":
    sys.exit(main())
