"""A cluster whose every center is a host of its own, with observers, and faults to order.

Centers are the hosts `center-1`, `center-2` and so on. Servers, clients, observers and the
calling thread itself are on the host `edge`, which no cut touches unless a test says so.
"""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.gen import center_pb2
from unit_test.faults.fix_netns import Host, Network
from unit_test.faults.history import History
from unit_test.interop.clusters import CALM, WAIT_S, Cluster, Process, ask, wait_until

__all__ = ["CALM", "EDGE", "Stage"]

CALLS_MIN = 20
EDGE = "edge"
FILLER = "filler"
PEER_PORT, CLIENT_PORT = 8898, 8899
UNPROTECTED = {"LIBEVRPC_SERVER_SECURITY": "none"}
"""No address is loopback here."""


def name_of(center: int) -> str:
    """Return the name of a center's host."""
    return f"center-{center}"


class Stage(Cluster):
    """Centers on hosts of their own; `with` makes and removes all of it. One thread.

    Args:
        folder: for lists, logs, data and histories.
        centers: how many.
        settings: further lines of the centers' ini file.
        hosts: names of further hosts.
        disk_kib: size of a disk of its own for each center; 0: all share ours.
    """

    answer_s = 2.0  # one that is cut off does not even refuse

    def __init__(
        self,
        folder: Path,
        centers: int = 3,
        settings: str = "",
        hosts: tuple[str, ...] = (),
        disk_kib: int = 0,
    ) -> None:
        ids = range(1, centers + 1)
        self._disk_kib = disk_kib
        self.network = Network([*map(name_of, ids), EDGE, *hosts])
        self._addresses = {each: f"192.0.2.{each}" for each in ids}
        super().__init__(folder, centers, f"security = none\n{settings}")
        self.peer_port = dict.fromkeys(self.ids, PEER_PORT)
        self.client_port = dict.fromkeys(self.ids, CLIENT_PORT)
        self._write_list()
        self._observers: list[Process] = []
        self._histories: list[Path] = []
        self._exit = ExitStack()

    def __enter__(self) -> Stage:
        try:
            self._exit.enter_context(self.network)
            self._exit.enter_context(self.edge.inside())
            patch = self._exit.enter_context(pytest.MonkeyPatch.context())
            for name, value in UNPROTECTED.items():
                patch.setenv(name, value)
            super().__enter__()
            self._watch()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._exit:
            for process in self._observers:
                process.end()
            self._observers.clear()
            super().__exit__(kind, error, trace)
            self.servers.clear()
            self.processes.clear()

    # -- places -------------------------------------------------------------------------

    @property
    def edge(self) -> Host:
        """Where servers, clients and observers are."""
        return self.network.hosts[EDGE]

    def host(self, center: int) -> str:
        return self._addresses[center]

    def around(self, center: int) -> list[str]:
        words = self.network.hosts[name_of(center)].words
        if not self._disk_kib:
            return words
        folder = self.folder / f"data-{center}"
        folder.mkdir(exist_ok=True)
        mount = f'mount -t tmpfs -o size={self._disk_kib}k,mode=0700 none "$0" && exec "$@"'
        return [*words, "unshare", "--mount", "sh", "-c", mount, str(folder)]

    def beside(self) -> list[str]:
        return self.edge.words

    def disk(self, center: int) -> Path:
        """Return the folder of a center that has a disk of its own, as seen from here."""
        return Path(f"/proc/{self.processes[center].pid}/root{self.folder}/data-{center}")

    def others(self, *centers: int) -> list[int]:
        """Return the centers but these."""
        return [each for each in self.ids if each not in centers]

    # -- observers ----------------------------------------------------------------------

    def _watch(self) -> None:
        centers = [f"{each}={self.address(each)}" for each in self.ids]
        self._observe("witness", *centers)

    def call(self, calls_per_s: float = 200.0) -> None:
        """Start a client at steady load."""
        name = f"client-{len(self._observers)}"
        state_dir = str(self.folder / name)
        self._observe("caller", name, self.target(), str(calls_per_s), state_dir)

    def _observe(self, program: str, *words: str) -> None:
        number = len(self._observers)
        history = self.folder / f"history-{number}"
        process = self.spawn(f"observer-{number}", program, str(history), *words)
        self._observers.append(process)
        process.first_line()
        self._histories.append(history)

    def spawn(self, log: str, program: str, *words: str, host: str = EDGE) -> Process:
        """Start a program of this folder on a host; whoever asks for it ends it."""
        around = self.network.hosts[host].words
        words = ("-m", f"unit_test.faults.{program}", *words)
        return Process(list(words), self.folder / f"{log}.log", around)

    def flock(self, count: int, service: str) -> tuple[Process, list[str]]:
        """Start one process with several servers; returns it and their addresses."""
        words = (self.edge.address, self.target(), str(self.folder / "server-state"))
        log = f"server-{len(self.servers)}"
        process = self.spawn(log, "flock", *words, str(count), service)
        self.servers.append(process)
        return process, process.first_line().removeprefix("listening on ").split()

    def history(self) -> History:
        """Return what all observers have seen until now."""
        return History.load(*self._histories)

    def server(self, target: str = "", listen: str = "") -> tuple[Process, str]:
        return super().server(target, listen or f"{self.edge.address}:0")

    def populate(self, servers: int = 2) -> None:
        """Start servers and a client; return when it calls by the map of all centers."""
        _, addresses = self.flock(servers, "Echo")
        self.leader()
        self.await_servers(*addresses)
        self.call()
        wait_until(lambda: len(self.history().calls) >= CALLS_MIN, what=self.logs())

    # -- faults -------------------------------------------------------------------------

    def cut(self, center: int, *others: int) -> float:
        """Cut links of a center, both ways; returns the moment just before."""
        since_s = monotonic_s()
        self.network.cut(name_of(center), *map(name_of, others))
        return since_s

    def silence(self, sources: list[int], receivers: list[int], *, refuse: bool = False) -> float:
        """Cut one direction; returns the moment just before."""
        since_s = monotonic_s()
        pairs = [(name_of(one), name_of(two)) for one in sources for two in receivers]
        self.network.block(pairs, refuse=refuse)
        return since_s

    def thaw(self, center: int) -> None:
        """Let a frozen center go on."""
        self.processes[center].signal(signal.SIGCONT)

    def fill_disk(self, center: int) -> None:
        """Leave not a byte on a center's own disk.

        A write that is under way meanwhile gives room back: its second file replaces the first.
        """
        with (self.disk(center) / FILLER).open("ab", buffering=0) as file:
            for size in (4096, 512, 1):
                try:
                    while file.write(bytes(size)) == size:
                        continue
                except OSError as exc:
                    if exc.errno != errno.ENOSPC:
                        raise

    def free_disk(self, center: int) -> None:
        """Give a center's disk its room back."""
        (self.disk(center) / FILLER).unlink()

    def heal(self) -> None:
        """Take back every cut."""
        self.network.heal()

    def pull(self, center: int) -> center_pb2.PullResponse:
        """Return what a center answers who asks for the whole map."""
        found: center_pb2.PullResponse | None = ask(
            self.address(center), "Pull", center_pb2.PullRequest(), center_pb2.PullResponse, WAIT_S
        )
        assert found is not None, f"no answer of center {center}\n{self.logs()}"
        return found

    # -- registrations ------------------------------------------------------------------

    @contextmanager
    def beacon(self) -> Iterator[str]:
        """Give the address of a server that only listens: no dial proves it dead."""
        with socket.create_server((self.edge.address, 0)) as listening:
            yield f"{self.edge.address}:{listening.getsockname()[1]}"

    def report(self, center: int, address: str) -> center_pb2.ReportResponse:
        """Report a server, to one center."""
        request: Any = center_pb2.ReportRequest(address=address, services=["x.Y"], session="s")
        found: center_pb2.ReportResponse | None = ask(
            self.address(center), "Report", request, center_pb2.ReportResponse, WAIT_S
        )
        assert found is not None, f"no answer of center {center}\n{self.logs()}"
        return found

    def register(self, address: str, at: int, seen_by: list[int]) -> float:
        """Report a server to center `at` until `seen_by` all serve it; returns the moment."""

        def seen() -> bool:
            missing = [each for each in seen_by if address not in self.servers_at(each)]
            if missing and at in self.processes:
                self.report(at, address)
            return not missing

        wait_until(seen, what=f"{address} at {seen_by}\n{self.logs()}")
        return monotonic_s()
