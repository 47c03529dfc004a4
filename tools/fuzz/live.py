"""Bad streams to a real server over sockets, and good calls between them."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil

from fuzz.target import ECHO, echo_pb2
from libevrpc import RpcClient

__all__ = ["Live"]

HERE = Path(__file__).resolve().parent
WAIT_S = 10.0
READ_S = 0.02
"""How long a bad peer waits for an answer, if it does."""
_TEXT = "still right"


class Live:
    """One server process under test, and its good clients.

    Args:
        wires: names; a good client is kept for those that have one.
    """

    def __init__(self, wires: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the server
        words = [sys.executable, str(HERE / "target.py"), *wires]
        self._process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=HERE.parent.parent
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]
        host, _, port = self.address.rpartition(":")
        self._at = host, int(port)
        self._server = psutil.Process(self._process.pid)
        self._clients = {
            wire: RpcClient(self.address, wire=wire, timeout_s=WAIT_S)
            for wire in ("prpc", "mprpc", "mprpc-be", "tinyrpc")
            if wire in (*wires, "prpc")
        }
        self._http = "http" in wires
        self.check()
        self._descriptors = self._server.num_fds()
        self.memory_mib = self._memory_mib()

    def throw(self, rng: Random, pieces: Sequence[bytes]) -> None:
        """Send one bad stream over a connection of its own, and leave in some way."""
        with socket.create_connection(self._at, WAIT_S) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            leave = rng.randrange(4)
            try:
                for piece in pieces:
                    sock.sendall(piece)
                if leave == 0:
                    sock.shutdown(socket.SHUT_WR)
                if leave < 3:
                    sock.settimeout(READ_S)
                    while sock.recv(1 << 16):
                        pass
            except (TimeoutError, ConnectionError, OSError):
                pass
            if leave == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset

    def check(self) -> None:
        """See that the server is alive and answers on every wire.

        Raises:
            AssertionError: it does not, or its log tells of a fault of ours.
        """
        assert self._process.poll() is None, f"the server has ended:\n{self.log()}"
        for wire, client in self._clients.items():
            if wire == "tinyrpc":
                assert client.call("Foo.same", _TEXT) == _TEXT, wire
            else:
                request = echo_pb2.EchoRequest(request=_TEXT)
                assert client.stub(ECHO).Echo(request).response == _TEXT, wire
        if self._http:
            connection = http.client.HTTPConnection(*self._at, timeout=WAIT_S)
            headers = {"Content-Type": "application/json"}
            body = f'{{"request": "{_TEXT}"}}'
            connection.request("POST", "/echo.EchoService/Echo", body, headers)
            answer = connection.getresponse().read().decode()
            assert _TEXT in answer, answer
            connection.close()
        log = self.log()
        assert "Traceback" not in log, log

    def log(self) -> str:
        """Return the server's log."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def close(self) -> dict[str, Any]:
        """See that nothing is left of the bad peers; stop the server, which must end well."""
        for client in self._clients.values():
            client.close()
        self._await(lambda: self._server.num_fds() <= self._descriptors, "descriptors are left")
        memory_mib = self._memory_mib()
        self._process.terminate()
        status = self._process.wait(WAIT_S)
        log = self.log()
        self._log.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert status == 0, f"exit status {status}:\n{log}"
        assert "Traceback" not in log, log
        return {"server_memory_mib": [round(self.memory_mib, 1), round(memory_mib, 1)]}

    def kill(self) -> None:
        """End what is left, whatever its state."""
        for client in self._clients.values():
            client.close()
        self._process.kill()
        self._process.wait()

    def _memory_mib(self) -> float:
        return float(self._server.memory_info().rss) / 2**20

    def _await(self, holds: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < until_s, what
            time.sleep(0.05)
