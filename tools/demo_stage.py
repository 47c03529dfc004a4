"""The processes of the demo: started, signalled and ended by their own ids."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

__all__ = ["Process", "Stage", "StageError"]

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0
END_S = 20.0
LOG_LINES_SHOWN = 15
LEASH = """
import ctypes, os, signal, sys
parent, *words = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it holds beyond the exec
if os.getppid() == int(parent):  # else it has ended before that
    os.execv(sys.executable, [sys.executable, *words])
"""
"""What a child runs first: it must not outlive the thread that launched it, even a killed one."""
PORTS = range(15000, 32000)
"""Below those that the system gives to outgoing connections: a port stays ours between a
kill and the restart."""


class StageError(Exception):
    """A process did not do what it must; the text ends with its log."""


class Process:
    """One child with its log. Its lines are read by a thread. It ends with who launched it."""

    def __init__(self, name: str, words: list[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name.replace(' ', '-')}.log"
        self.lines: SimpleQueue[str | None] = SimpleQueue()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LIBEVRPC_")}
        environment["XDG_STATE_HOME"] = str(folder / "state")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-c", LEASH, str(os.getpid()), *words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the demo alone, which ends us in order
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def first_line(self) -> str:
        """Wait for the first line.

        Raises:
            StageError: there was none.
        """
        try:
            line = self.lines.get(timeout=START_S)
        except Empty:
            line = None
        if line is None:
            raise StageError(f"{self.name} did not start:\n{self.log_tail()}")
        return line

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def close_input(self) -> None:
        """End its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.close()

    def wait(self) -> int:
        """Wait for its end; returns the exit status.

        Raises:
            StageError: it did not end.
        """
        try:
            status = self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            raise StageError(f"{self.name} did not end:\n{self.log_tail()}") from None
        self._reader.join()
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.stdout.close()
        return status

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._child.kill()
        self.wait()


class Stage:
    """Centers and servers of one demo, below one folder."""

    def __init__(self, folder: Path, centers: int, servers: int, rng: random.Random) -> None:
        self.folder = folder
        ports = free_ports(2 * centers + servers, rng)
        self.center_address = {
            number: f"127.0.0.1:{ports[2 * number - 1]}" for number in range(1, centers + 1)
        }
        self.server_address = {
            number: f"127.0.0.1:{ports[2 * centers + number - 1]}"
            for number in range(1, servers + 1)
        }
        lines = [
            f"{number} 127.0.0.1 {ports[2 * number - 2]} {ports[2 * number - 1]}\n"
            for number in self.center_address
        ]
        self._list = folder / "centers_list"
        self._list.write_text("".join(lines))
        self.centers: dict[int, Process] = {}
        self.servers: dict[int, Process] = {}
        self._others: list[Process] = []

    @property
    def target(self) -> str:
        """What servers and clients are told."""
        return "center://" + ",".join(self.center_address.values())

    def start_center(self, number: int) -> None:
        """Launch a center; `Process.first_line` waits until it listens."""
        words = ["-m", "center", "--id", str(number), "--centers-list", str(self._list)]
        words += ["--data-dir", str(self.folder / f"center-{number}")]
        self.centers[number] = Process(f"center {number}", words, self.folder)

    def start_server(self, number: int) -> None:
        """Launch a server at its own address."""
        program = str(ROOT / "samples" / "echo" / "server.py")
        words = [program, "--listen", self.server_address[number], "--registry", self.target]
        self.servers[number] = Process(f"server {number}", words, self.folder)

    def start_load(self, rate: float, key_seed: int) -> Process:
        """Launch the client."""
        program = str(ROOT / "tools" / "demo_load.py")
        words = [program, self.target, "--rate", str(rate), "--key-seed", str(key_seed)]
        self._others.append(Process("client", words, self.folder))
        return self._others[-1]

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in [*self._others, *self.servers.values(), *self.centers.values()]:
            process.kill()


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Return ports that nobody listens on now."""
    found: list[int] = []
    for port in rng.sample(PORTS, len(PORTS)):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise StageError(f"fewer than {count} free ports in {PORTS}")
