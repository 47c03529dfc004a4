"""The observer of maps and claims, as a process: `witness.py FILE NAME=HOST:PORT ...`.

It asks every center for its map and for its status, both at once, every few milliseconds,
and writes down the answers. It uses nothing of the client: sockets, and the wire format. A
question that is not answered in time is forgotten, with its connection. Ends with SIGTERM.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import zlib
from contextlib import closing
from pathlib import Path

from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.prpc import PrpcDecoder, Reply, WireLimits
from libevrpc.core.prpc_encode import encode_request
from libevrpc.gen import center_pb2
from unit_test.faults.history import Claim, Read, Writer

NAME = "witness"
EVERY_S = 0.005
TIMEOUT_S = 0.25
TIMEOUT_MS = 250
SERVICE = "evrpc.Center"
STATUS = center_pb2.StatusRequest().SerializeToString()


class Look(threading.Thread):
    """Looks at one center, again and again."""

    def __init__(self, center: str, address: str, writer: Writer, ending: threading.Event) -> None:
        super().__init__(name=f"look-{center}", daemon=True)
        host, _, port = address.rpartition(":")
        self._center = center
        self._address = (host, int(port))
        self._writer = writer
        self._ending = ending
        self._held = center_pb2.PullRequest(client_id=NAME)
        self._digest = 0

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                with closing(socket.create_connection(self._address, TIMEOUT_S)) as sock:
                    sock.settimeout(TIMEOUT_S)
                    self._look(sock)
            except OSError:
                self._ending.wait(EVERY_S)

    def _look(self, sock: socket.socket) -> None:
        decoder = PrpcDecoder("client", WireLimits())
        number = 1
        while not self._ending.is_set():
            call_s = monotonic_s()
            pull = self._held.SerializeToString()
            sock.sendall(
                encode_request(SERVICE, "Pull", number, pull, timeout_ms=TIMEOUT_MS)
                + encode_request(SERVICE, "Status", number + 1, STATUS, timeout_ms=TIMEOUT_MS)
            )
            waiting = {number, number + 1}
            while waiting:
                data = sock.recv(1 << 20)
                return_s = monotonic_s()
                if not data or return_s - call_s > TIMEOUT_S:
                    raise ConnectionError("closed, or too slow")
                for event in decoder.receive_data(data):
                    if not isinstance(event, Reply) or event.error_code:
                        raise ConnectionError("refused")
                    waiting.remove(event.correlation_id)
                    if event.correlation_id == number:
                        self._note_map(call_s, return_s, event.payload)
                    else:
                        self._note_claim(call_s, return_s, event.payload)
            number += 2
            self._ending.wait(EVERY_S)

    def _note_map(self, call_s: float, return_s: float, payload: bytes) -> None:
        answer = center_pb2.PullResponse.FromString(payload)
        servers = None
        if answer.map:
            found = ClusterMap.decode(answer.map)
            self._digest = zlib.crc32(answer.map)
            self._held.cluster_id = found.cluster_id
            self._held.epoch, self._held.version = found.stamp
            servers = tuple(entry.address for entry in found.servers)
        held = self._held
        read = (call_s, return_s, held.epoch, held.version, self._digest, answer.stale, servers)
        self._writer.write(Read(NAME, self._center, *read))

    def _note_claim(self, call_s: float, return_s: float, payload: bytes) -> None:
        told = center_pb2.StatusResponse.FromString(payload)
        said = (told.leads, told.epoch, told.leader)
        self._writer.write(Claim(NAME, self._center, call_s, return_s, *said))


def main() -> None:
    path, *centers = sys.argv[1:]
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    with closing(Writer(Path(path))) as writer:
        looks = [Look(*center.split("="), writer, ending) for center in centers]
        for look in looks:
            look.start()
        sys.stdout.write("looking\n")
        sys.stdout.flush()
        for look in looks:
            look.join()


if __name__ == "__main__":
    main()
