"""A program that announces a server and then waits for its end: TARGET FOLDER ADDRESS SERVICE..."""

from __future__ import annotations

import sys

from libevrpc.core.targets import parse_target
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.opening import open_registrar
from libevrpc.settings import ServerSettings


def main() -> None:
    """Announce, until standard input ends."""
    target, folder, address, *services = sys.argv[1:]
    registrar = open_registrar(parse_target(target), ServerSettings(state_dir=folder, report_s=0.2))
    announcement = Announcement(address, tuple(services))
    registrar.start(announcement, lambda: LoadSample(0.1, 0.1, 1 << 20, 0, 0.0, 0))
    sys.stdin.read()
    registrar.withdraw(2.0)
    registrar.close()


if __name__ == "__main__":
    main()
