"""One process of a cluster: started, frozen, continued and ended by its own id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["Node", "ServiceError", "free_ports"]

PORTS = range(15000, 32000)
"""Below those that the system gives to outgoing connections: a port stays a node's own
between a kill and the restart."""
_not_given: list[int] = []
"""Ports that `free_ports` has not yet given, in any order."""
FOREIGN_SETTINGS = ("ETCD_", "ETCDCTL_", "ZK_", "ZOO_", "LIBEVRPC_")
"""Environment variables that would reconfigure a node behind our back."""
END_S = 15.0
LOG_LINES_SHOWN = 30


class ServiceError(Exception):
    """A process did not do what it must; the text ends with its log."""


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return different TCP ports of `host` that nobody listens on now. One thread.

    Each is given once before any comes again: who was given it may not listen yet, or not just now.

    Raises:
        ServiceError: there are not so many.
    """
    found: list[int] = []
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in PORTS:
        if len(found) == count:
            return found
        if not _not_given:
            _not_given.extend(shuffled_share())
        port = _not_given.pop()
        with socket.socket(family) as sock, suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            found.append(port)
    raise ServiceError(f"fewer than {count} free ports in {PORTS}")


def shuffled_share() -> list[int]:
    """Return the ports of this process; those that share a run of tests have their own each."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = PORTS[number % count :: count]
    return random.SystemRandom().sample(mine, len(mine))


class Node:
    """A process that can be killed, frozen and started again. One thread.

    It dies with the thread that started it, even if that one is killed: the kernel sees to it.
    Its output goes to `log`, which is kept.

    Args:
        name: for error texts.
        words: command line.
        log: where its output is appended.
        environment: beside what is inherited.
    """

    def __init__(
        self, name: str, words: Sequence[str], log: Path, environment: Mapping[str, str] = {}
    ) -> None:
        guard = shutil.which("setpriv")  # of util-linux, which every Debian has
        if guard is None:
            raise ServiceError("no setpriv here: install util-linux")
        self.name = name
        self.log = log
        self._words = [guard, "--pdeathsig", "KILL", *words]
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None
        self.frozen = False

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            ServiceError: it does not run.
        """
        if self._child is None:
            raise ServiceError(f"{self.name} does not run")
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, frozen or not."""
        return self._child is not None and self._child.poll() is None

    @property
    def ended(self) -> bool:
        """Whether it was started and has ended, and not by us."""
        return self._child is not None and self._child.poll() is not None

    def start(self) -> None:
        """Start it; do not wait until it answers."""
        if self.alive:
            raise ServiceError(f"{self.name} runs already")
        self.frozen = False
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_SETTINGS)}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._words,
                env={**inherited, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent alone, which ends us in order
            )

    def freeze(self) -> None:
        """Send SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self.frozen = False

    def kill(self) -> None:
        """Send SIGKILL and wait for the end; nothing happens to one that does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it politely, also if it is frozen; with SIGKILL if it does not end in time."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(number)
        child.send_signal(signal.SIGCONT)
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self.frozen = False

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def processor_s(self) -> float:
        """Return the processor time it has used, in user and kernel mode."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def log_tail(self) -> str:
        """Return the last lines of its log, under its name."""
        lines: Iterable[str] = ()
        if self.log.exists():
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join([f"--- {self.name}", *lines])
