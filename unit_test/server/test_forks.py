"""A forked child of a server holds none of its ports and connections."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError, RpcServer, StatusCode
from unit_test.fix_rpc import WAIT_S

pytestmark = pytest.mark.live

PROGRAM = """
import os, signal, stat, sys
from libevrpc import RpcServer
def kept():
    kinds = []
    for fd in range(3, 256):
        try:
            kinds.append(stat.S_IFMT(os.fstat(fd).st_mode))
        except OSError:
            pass
    return kinds.count(stat.S_IFSOCK), kinds.count(stat.S_IFIFO)
class Forker:
    def fork(self):
        child = os.fork()
        if not child:
            server.stop()
            print(*kept(), server.wait(0.0), server.statistics().in_flight, flush=True)
            while True:
                signal.pause()
        return child
    def kept(self):
        return kept()
    def slow(self, controller):
        controller.wait_cancelled(60)
server = RpcServer(sys.argv[1:])
server.add_object(Forker())
server.start()
print(*server.addresses, flush=True)
server.wait()
"""


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a server's process whose first line of output is its addresses."""
    listen = ["127.0.0.1:0", f"unix://{tmp_path}/s.sock"]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *listen], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_nothing_of_a_killed_server_lives_on_in_its_child(
    forking: subprocess.Popen[str],
) -> None:
    assert forking.stdout is not None
    address, _ = forking.stdout.readline().split()
    with RpcClient(address, retries_max=0) as client:
        child = client.call("Forker.fork")
        try:
            assert forking.stdout.readline() == "0 0 True 0\n"
            # the parent goes on as before: two listeners and our connection; a pipe per loop
            assert client.call("Forker.kept") == [3, 6]
            future = client.future("Forker.slow", timeout_s=WAIT_S)
            assert client.call("Forker.kept") == [3, 6]
            forking.kill()
            forking.wait(WAIT_S)
            error = future.exception(WAIT_S)
            assert isinstance(error, RpcError)
            assert error.code is StatusCode.UNAVAILABLE
            with RpcServer(address):  # the port is free again
                pass
        finally:
            os.kill(child, signal.SIGKILL)
