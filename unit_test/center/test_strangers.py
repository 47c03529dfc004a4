"""Strangers at the ports where centers without keys speak to each other."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit_test.interop.clusters import Cluster, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]

IDLE = 350
"""Connections held open at each of three ports; half of them speak ZeroMQ."""
PARTS = 200
BATCHES = 20
PAUSE_S = 0.05
WAIT_S = 20.0
CALM = "lease_s = 1.0\npatience_s = 1.5\n"
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48) + bytes([4, len(READY)]) + READY
BATCH = b"\x01\x20" + bytes(32)
BATCH = BATCH * (PARTS - 1) + b"\x00\x20" + bytes(32)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Let this process hold the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4 * IDLE:
        pytest.skip(f"only {hard} files may be open, {4 * IDLE} are needed")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * IDLE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Flood(threading.Thread):
    """Sends batches of many parts to a port, 80,000 parts a second, until `end`."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ending = threading.Event()
        self.sent = 0

    def run(self) -> None:
        while not self._ending.is_set():
            with (
                contextlib.suppress(OSError),  # its center was killed
                socket.create_connection(("127.0.0.1", self._port), WAIT_S) as sock,
            ):
                sock.sendall(GREETING)
                while not self._ending.wait(PAUSE_S):
                    sock.sendall(BATCH * BATCHES)
                    self.sent += BATCHES

    def end(self) -> None:
        self._ending.set()
        self.join(WAIT_S)


def hung_up(sock: socket.socket) -> bool:
    """Tell whether the other end has closed, after whatever it said."""
    sock.settimeout(WAIT_S)
    try:
        while sock.recv(4096):
            continue
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.usefixtures("descriptors")
def test_idle_connections_and_floods_of_parts_stop_neither_election_nor_publication(
    tmp_path: Path,
) -> None:
    with Cluster(tmp_path, 3, CALM) as cluster, contextlib.ExitStack() as held:
        leader = cluster.leader()
        silent = []
        for port in cluster.peer_port.values():
            for number in range(IDLE):
                sock = held.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
                if number % 2:
                    sock.sendall(GREETING)
                else:
                    silent.append(sock)
        floods = [Flood(port) for port in cluster.peer_port.values()]
        for flood in floods:
            flood.start()
            held.callback(flood.end)
        published(cluster, cluster.ids)
        others = [each for each in cluster.ids if each != leader]
        epoch = cluster.epoch(others[0])
        cluster.kill(leader)
        cluster.newer_epoch(epoch, others)
        published(cluster, others)
        assert all(flood.sent > BATCHES for flood in floods)
        assert all(hung_up(sock) for sock in silent), "who never shakes hands is hung up on"
        log = cluster.logs()
    assert "Traceback" not in log
    assert "junk on the port for centers" in log


def published(cluster: Cluster, ids: list[int]) -> None:
    """Start a server and wait until all of `ids` serve a map with it."""
    _, address = cluster.server(cluster.target(*ids))

    def everywhere() -> bool:
        return all(address in cluster.servers_at(each) for each in ids)

    wait_until(everywhere, WAIT_S, f"{address} in the maps of {ids}")


def test_a_center_may_open_as_many_files_as_its_system_lets_it() -> None:
    program = (
        "import resource; from center.__main__ import raise_descriptors;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256)); raise_descriptors();"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["256", "256"]
