"""Centers and servers as processes of this machine, and questions to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.prpc import PrpcDecoder, Reply, WireLimits
from libevrpc.core.prpc_encode import encode_request
from libevrpc.gen import center_pb2
from unit_test.fix_net import free_ports

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 20.0
"""Longest wait for what must happen; a measured time has its own bound."""
LOOK_EVERY_S = 0.01
STOOD_STILL_S = 0.1
"""A thread that was to look again so much earlier: the machine stood still meanwhile."""
MEASURED_AGAIN = 4
CALM = "lease_s = 1.0\npatience_s = 1.5\n"
"""Settings for centers whose leader must stay: none loses its lease because the machine is busy,
or stood still for half a second."""
Status = center_pb2.StatusResponse


def wait_until(holds: Callable[[], object], within_s: float = WAIT_S, what: str = "") -> None:
    """Look again and again until `holds`; fail after `within_s`."""
    pause = threading.Event()
    until_s = monotonic_s() + within_s
    while not holds():
        if monotonic_s() > until_s:
            pytest.fail(f"did not happen within {within_s:g} s: {what}", pytrace=False)
        pause.wait(LOOK_EVERY_S)


def require_soon(measure: Callable[[], float], within_s: float) -> float:
    """Return what `measure` does; fail unless it is less than `within_s`.

    It is measured again, a few times, where the machine stood still meanwhile: such a time says
    nothing. A time that is too long on a machine that went on is final.
    """
    for _ in range(MEASURED_AGAIN):
        with Standstill() as still:
            took_s = measure()
        if took_s < within_s or still.longest_s < STOOD_STILL_S:
            break
    assert took_s < within_s
    return took_s


class Standstill:
    """Looks at the clock again and again, and keeps by how much it was late at most."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        before_s = monotonic_s()
        while not self._ended.wait(LOOK_EVERY_S):
            now_s = monotonic_s()
            self.longest_s = max(self.longest_s, now_s - before_s - LOOK_EVERY_S)
            before_s = now_s

    def __enter__(self) -> Standstill:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def ask(
    address: str, method: str, request: Any, response_class: Any, timeout_s: float = 2.0
) -> Any:
    """Ask one center; None if it does not answer, or with an error."""
    host, _, port = address.rpartition(":")
    timeout_ms = int(timeout_s * 1000)
    frame = encode_request(
        "evrpc.Center", method, 1, request.SerializeToString(), timeout_ms=timeout_ms
    )
    decoder = PrpcDecoder("client", WireLimits())
    try:
        with socket.create_connection((host, int(port)), timeout_s) as sock:
            sock.sendall(frame)
            while data := sock.recv(1 << 20):
                for event in decoder.receive_data(data):
                    if isinstance(event, Reply):
                        failed = event.error_code
                        return None if failed else response_class.FromString(event.payload)
    except OSError:
        return None
    return None


class Process:
    """One child; its standard error is kept in `log`.

    Args:
        words: what our interpreter gets.
        log: where its standard error is kept.
        around: the words of a program that runs it in its own place.
    """

    def __init__(self, words: list[str], log: Path, around: Sequence[str] = ()) -> None:
        self.log = log
        self.began_s = monotonic_s()
        with log.open("ab") as errors:
            self._child = subprocess.Popen(
                [*around, sys.executable, *words],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def first_line(self) -> str:
        """Wait for the first line of standard output."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline().decode().strip()
        if not line:
            self.end()
            pytest.fail(f"ended at start:\n{self.log.read_text()}", pytrace=False)
        return line

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; returns the moment."""
        sent_s = monotonic_s()
        self._child.send_signal(number)
        return sent_s

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Wait for the end; returns the exit status."""
        status = self._child.wait(timeout_s)
        assert self._child.stdout is not None
        self._child.stdout.close()
        return status

    def end(self) -> None:
        """End it if it still runs: politely, so that its coverage counts."""
        self.ask_to_end()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self._child.kill()
            self.wait()
            pytest.fail(f"did not end when asked:\n{self.log.read_text()}", pytrace=False)

    def ask_to_end(self) -> None:
        """Send SIGTERM, also to a frozen one."""
        self._child.terminate()
        self._child.send_signal(signal.SIGCONT)


class Cluster:
    """Centers with folders below `folder`; `with` ends every process it started."""

    answer_s = 10.0
    """Longest wait for the answer of a center that runs; one that is dead refuses at once."""

    def __init__(self, folder: Path, centers: int = 3, settings: str = "") -> None:
        self.folder = folder
        self._config = folder / "center.ini"
        self._config.write_text(f"[center]\n{settings}")
        self.ids = list(range(1, centers + 1))
        ports = free_ports(2 * centers)
        self.peer_port = dict(zip(self.ids, ports[::2], strict=True))
        self.client_port = dict(zip(self.ids, ports[1::2], strict=True))
        self.list_path = folder / "centers_list"
        self._settings = settings
        self._write_list()
        self.processes: dict[int, Process] = {}
        self.servers: list[Process] = []

    def __enter__(self) -> Cluster:
        try:
            self.start_all()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start_all(self) -> None:
        """Start every center at once, and wait until they listen."""
        for center in self.ids:
            self.launch(center)
        for center in self.ids:
            self.processes[center].first_line()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [*self.servers, *self.processes.values()]
        for process in running:
            process.ask_to_end()
        for process in running:
            process.end()

    # -- centers ------------------------------------------------------------------------

    def host(self, center: int) -> str:
        """Return the address that a center is listed with."""
        return "127.0.0.1"

    def around(self, center: int) -> list[str]:
        """Return the words of a program that runs a center in its own place."""
        return []

    def beside(self) -> list[str]:
        """Return the words of a program that runs a server in its own place."""
        return []

    def words(self, center: int, **options: str) -> list[str]:
        """Return the command line of one center."""
        given = {
            "id": str(center),
            "centers_list": str(self.list_path),
            "data_dir": str(self.folder / f"data-{center}"),
            "config": str(self._config),
            **options,
        }
        pairs = [(f"--{name.replace('_', '-')}", value) for name, value in given.items()]
        return ["-m", "center", *(word for pair in pairs for word in pair)]

    def launch(self, center: int) -> Process:
        """Start one center without waiting for it."""
        log = self.folder / f"center-{center}.log"
        self.processes[center] = Process(self.words(center), log, self.around(center))
        return self.processes[center]

    def relist(self, generation: int, ids: list[int]) -> None:
        """Write another list; centers that are started from now on read it."""
        self.ids = ids
        known = self.peer_port.keys()
        new = [each for each in ids if each not in known]
        ports = free_ports(2 * len(new))
        self.peer_port |= dict(zip(new, ports[::2], strict=True))
        self.client_port |= dict(zip(new, ports[1::2], strict=True))
        self.list_path = self.folder / f"centers_list-{generation}"
        self._write_list()
        self._config = self.folder / f"center-{generation}.ini"
        self._config.write_text(f"[center]\nlist_generation = {generation}\n{self._settings}")

    def _write_list(self) -> None:
        lines = (
            f"{each} {self.host(each)} {self.peer_port[each]} {self.client_port[each]}\n"
            for each in self.ids
        )
        self.list_path.write_text("".join(lines))

    def stop(self, center: int) -> None:
        """End a center politely."""
        self.processes.pop(center).end()

    def restart(self, center: int) -> None:
        """Start a center that has ended, and wait until it listens."""
        self.launch(center).first_line()

    def kill(self, center: int) -> float:
        """SIGKILL a center; returns the moment."""
        process = self.processes.pop(center)
        sent_s = process.signal(signal.SIGKILL)
        process.wait()
        return sent_s

    def address(self, center: int) -> str:
        """Return a center's client address."""
        return f"{self.host(center)}:{self.client_port[center]}"

    def target(self, *centers: int) -> str:
        """Return the target that names these centers; all of them if none is given."""
        return "center://" + ",".join(self.address(each) for each in centers or self.ids)

    def logs(self) -> str:
        """Return what every process has said, for a failing test."""
        return "\n".join(f"{path.name}\n{path.read_text()}" for path in self.folder.glob("*.log"))

    # -- questions ----------------------------------------------------------------------

    def status(self, center: int) -> Status | None:
        """Return what a center says of itself."""
        found: Status | None = ask(
            self.address(center),
            "Status",
            center_pb2.StatusRequest(),
            center_pb2.StatusResponse,
            self.answer_s,
        )
        return found

    def map(self, center: int, service: str = "") -> ClusterMap | None:
        """Return the map that a center serves."""
        found = ask(
            self.address(center),
            "Pull",
            center_pb2.PullRequest(service=service),
            center_pb2.PullResponse,
            self.answer_s,
        )
        return ClusterMap.decode(found.map) if found is not None and found.map else None

    def servers_at(self, center: int) -> list[str]:
        """Return the addresses in the map that a center serves."""
        found = self.map(center)
        return [] if found is None else [entry.address for entry in found.servers]

    def leader(self) -> int:
        """Wait until all running centers follow one leader with a map; returns it."""
        named: list[int] = []

        def settled() -> bool:
            seen = [self.status(each) for each in self.processes]
            if any(each is None or not each.leader or not each.map_epoch for each in seen):
                return False
            leaders = {each.leader for each in seen if each is not None}
            named[:] = leaders
            return len(leaders) == 1

        wait_until(settled, what=f"one leader\n{self.logs()}")
        return named[0]

    def epoch(self, center: int) -> int:
        """Return the epoch of the map that a center serves."""
        found = self.map(center)
        return 0 if found is None else found.epoch

    def newer_epoch(self, than: int, centers: list[int]) -> float:
        """Wait until one of `centers` serves a map of a newer epoch; returns the moment."""

        def newer() -> bool:
            maps = [self.map(each) for each in centers]
            return any(each is not None and each.epoch > than for each in maps)

        wait_until(newer, what=f"epoch above {than}\n{self.logs()}")
        return monotonic_s()

    # -- servers ------------------------------------------------------------------------

    def server(self, target: str = "", listen: str = "127.0.0.1:0") -> tuple[Process, str]:
        """Start a server; returns it and its address once it listens."""
        state_dir = str(self.folder / "server-state")
        return self.program("echo_process.py", listen, target or self.target(), state_dir)

    def program(self, name: str, *words: str) -> tuple[Process, str]:
        """Start a server program of this folder; returns it and its address once it listens."""
        script = str(Path(__file__).with_name(name))
        log = self.folder / f"server-{len(self.servers)}.log"
        process = Process([script, *words], log, self.beside())
        self.servers.append(process)
        return process, process.first_line().removeprefix("listening on ")

    def await_servers(self, *addresses: str, within_s: float = WAIT_S) -> float:
        """Wait until every running center serves exactly these servers; returns the moment."""
        wanted = sorted(addresses)
        wait_until(
            lambda: all(sorted(self.servers_at(each)) == wanted for each in self.processes),
            within_s,
            f"servers {wanted}\n{self.logs()}",
        )
        return monotonic_s()
