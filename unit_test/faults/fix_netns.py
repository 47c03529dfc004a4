"""Hosts of our own: network namespaces on one bridge, and the cuts between them.

Nothing of it is visible outside and nothing has a name there: a namespace lives as long as
the process that holds it, and that one ends with its standard input. However the test
process ends, SIGKILL included, namespaces, links, rules and the processes inside go with it.
Addresses are of 192.0.2.0/24, which is kept for examples, and exist only inside.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

__all__ = ["Host", "Network", "NetworkError", "missing"]

CLONE_NEWNET = 0x40000000
COMMAND_S = 30.0
"""Longest that a program which sets something up may take."""
HOSTS_MAX = 32
OWN_NETWORK = Path("/proc/thread-self/ns/net")
PACKAGES = {
    "ip": "iproute2",
    "iptables-restore": "iptables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
"""The programs that are needed, and the Debian packages that bring them."""

_libc = ctypes.CDLL(None, use_errno=True)


class NetworkError(Exception):
    """A program that sets something up failed; the text has its words."""


def missing() -> str:
    """Return what keeps us from making networks here; empty: nothing does."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacking = [name for name in PACKAGES if shutil.which(name, path=path) is None]
    if lacking:
        packages = " ".join(sorted({PACKAGES[name] for name in lacking}))
        return f"no program {', '.join(lacking)} here: make services, or install {packages}"
    try:
        with Network(["a", "b"]) as network:
            network.cut("a", "b")
            network.heal()
    except NetworkError as exc:
        return f"no right to make network namespaces (root, or CAP_SYS_ADMIN and NET_ADMIN): {exc}"
    return ""


def run(words: Sequence[str], said: str = "") -> str:
    """Run a program to its end; returns what it printed.

    Raises:
        NetworkError: it failed, or took too long.
    """
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            words, input=said, capture_output=True, text=True, timeout=COMMAND_S, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NetworkError(f"{' '.join(words)}: {exc}") from None
    if done.returncode:
        raise NetworkError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """One namespace, held by a process of its own. One thread."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        try:
            self._holder = subprocess.Popen(
                ["unshare", "--net", "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        except OSError as exc:
            raise NetworkError(str(exc)) from None

    def await_made(self) -> None:
        """Wait until the namespace exists: what holds it answers from inside.

        Raises:
            NetworkError: it cannot be made.
        """
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        try:
            self._holder.stdin.write("made\n")
            made = self._holder.stdout.readline()
        except OSError:
            made = ""
        if not made:
            assert self._holder.stderr is not None
            raise NetworkError(self._holder.stderr.read().strip())

    @property
    def pid(self) -> int:
        """Id of the process that holds the namespace."""
        return self._holder.pid

    @property
    def words(self) -> list[str]:
        """Return what runs a program inside: it keeps its process id, and dies with us."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "setpriv", "--pdeathsig", "KILL"]

    def run(self, words: Sequence[str], said: str = "") -> str:
        """Run a program inside to its end; returns what it printed."""
        return run([*self.words, *words], said)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let the calling thread's new sockets and processes be inside."""
        with OWN_NETWORK.open() as before, Path(f"/proc/{self.pid}/ns/net").open() as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def close(self) -> None:
        """Let the namespace go; it ends with the last process inside."""
        self._holder.kill()
        self._holder.wait()
        for pipe in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what was said to one that had ended
                pipe.close()


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise NetworkError(f"setns: {os.strerror(ctypes.get_errno())}")


class Network:
    """Hosts on one bridge; `with` makes and removes them. One thread.

    A cut is a rule of the host that would receive, so it works in one direction. Rules of
    several hosts do not come into force at one instant, but within some milliseconds.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        if len(self._names) > HOSTS_MAX:
            raise ValueError(f"over {HOSTS_MAX} hosts")
        self.hosts: dict[str, Host] = {}
        self._bridge: Host | None = None
        self._ruled: set[str] = set()

    def __enter__(self) -> Network:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make(self) -> None:
        self._bridge = Host("bridge", "")
        for number, name in enumerate(self._names, start=1):
            self.hosts[name] = Host(name, f"192.0.2.{number}")
        for host in (self._bridge, *self.hosts.values()):
            host.await_made()
        lines = ["link add bridge type bridge forward_delay 0", "link set bridge up"]
        for number, host in enumerate(self.hosts.values(), start=1):
            lines += [
                f"link add port{number} type veth peer name eth0 netns {host.pid}",
                f"link set port{number} master bridge up",
            ]
        self._bridge.run(["ip", "-batch", "-"], "\n".join(lines))
        for host in self.hosts.values():
            mine = f"address add {host.address}/24 dev eth0"
            host.run(["ip", "-batch", "-"], f"link set lo up\n{mine}\nlink set eth0 up\n")

    def close(self) -> None:
        """Let every namespace go. Any number of times."""
        for host in self.hosts.values():
            host.close()
        self.hosts.clear()
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None

    # -- cuts ---------------------------------------------------------------------------

    def block(self, pairs: Iterable[tuple[str, str]], *, refuse: bool = False) -> None:
        """Drop what `source` sends to `receiver`, for each pair of these.

        Args:
            pairs: names of (source, receiver).
            refuse: answer with a reset instead.
        """
        rules: dict[str, list[str]] = {}
        for source, receiver in pairs:
            rule = f"-I INPUT -s {self.hosts[source].address}"
            rule += " -p tcp -j REJECT --reject-with tcp-reset" if refuse else " -j DROP"
            rules.setdefault(receiver, []).append(rule)
        for receiver, lines in rules.items():
            self._ruled.add(receiver)
            table = "\n".join(["*filter", *lines, "COMMIT", ""])
            self.hosts[receiver].run(["iptables-restore", "--noflush", "--wait"], table)

    def cut(self, one: str, *others: str) -> None:
        """Cut the links between `one` and each of `others`, both ways.

        What comes to `one` is lost first, at one instant.
        """
        self.block((other, one) for other in others)
        self.block((one, other) for other in others)

    def heal(self) -> None:
        """Take back every cut."""
        for name in sorted(self._ruled):
            self.hosts[name].run(
                ["iptables-restore", "--noflush", "--wait"], "*filter\n-F INPUT\nCOMMIT\n"
            )
        self._ruled.clear()
