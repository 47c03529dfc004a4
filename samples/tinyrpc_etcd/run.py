"""Start two servers and, if need be, an etcd; call them, stop all; exits 0 if all went well.

python samples/tinyrpc_etcd/run.py [--etcd HOST:PORT]

Where no etcd answers and none is installed, the client is told the servers' addresses.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from libevrpc import RpcClient

HERE = Path(__file__).resolve().parent
WITH_US = ("setpriv", "--pdeathsig", "TERM")  # ends a program when we end, even by a kill
SERVERS = 2
USUAL = "127.0.0.1:2379"
START_S = 20.0


@dataclass
class Args:
    Num1: int
    Num2: int


def start(stack: ExitStack, script: str, *words: str) -> str:
    """Start a program of ours, to be ended with the others; returns its address."""
    command = [*WITH_US, sys.executable, str(HERE / script), "--listen", "127.0.0.1:0", *words]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.terminate)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        sys.exit(process.wait() or 1)
    return line.split()[-1]


def await_servers(target: str) -> None:
    """Wait until both have announced themselves: what the client finds is no chance then."""
    pause = threading.Event()
    with RpcClient(target, wire="tinyrpc", timeout_s=20.0) as client:
        while len(client.broadcast("Foo.Sum", Args(0, 0))) < SERVERS:
            pause.wait(0.05)


def answers(address: str) -> bool:
    """Tell whether somebody listens there."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((host, int(port)), timeout=1.0).close()
        return True
    return False


def held_port(stack: ExitStack) -> int:
    """Return a port that nobody is given who asks for any, until `stack` ends: it is bound."""
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # who names it may listen there
    sock.bind(("127.0.0.1", 0))
    return int(sock.getsockname()[1])


def start_etcd(stack: ExitStack, program: str, folder: Path) -> str:
    """Start an etcd of one on free ports; returns its address."""
    mine, peers = (f"127.0.0.1:{held_port(stack)}" for _ in range(2))
    command = [
        *(
            *WITH_US,
            program,
            "--data-dir",
            str(folder / "etcd"),
            "--initial-cluster",
            f"default=http://{peers}",
        ),
        *("--listen-client-urls", f"http://{mine}", "--advertise-client-urls", f"http://{mine}"),
        *("--listen-peer-urls", f"http://{peers}"),
        *("--initial-advertise-peer-urls", f"http://{peers}"),
    ]
    with (folder / "etcd.log").open("w") as log:
        etcd = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
    stack.callback(etcd.terminate)
    pause = threading.Event()
    for _ in range(int(START_S / 0.1)):
        if answers(mine) or etcd.poll() is not None:
            break
        pause.wait(0.1)
    if not answers(mine):
        sys.exit(f"run.py: etcd does not start: {(folder / 'etcd.log').read_text()[-500:]}")
    return mine


def main() -> int:
    parser = argparse.ArgumentParser(description="run etcd, servers and client")
    parser.add_argument("--etcd", metavar="HOST:PORT", help=f"{USUAL} if it is there")
    given = parser.parse_args().etcd
    if given and not answers(given):
        sys.exit(f"run.py: nobody listens at {given}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["XDG_STATE_HOME"] = folder  # the last known list is kept there
        etcd = given or (USUAL if answers(USUAL) else "")
        program = shutil.which("etcd")
        if not etcd and program:
            etcd = start_etcd(stack, program, Path(folder))
        if etcd:
            target = f"etcd://{etcd}?layout=tinyrpc&expiry=5"
            for _ in range(SERVERS):
                start(stack, "server.py", "--registry", target)
            await_servers(target)
        else:
            print(
                f"no etcd at {USUAL} and none installed: the client is told where the servers are"
            )
            servers = [start(stack, "server.py", "--registry", "none") for _ in range(SERVERS)]
            target = "list://" + ",".join(servers)
        client = [sys.executable, str(HERE / "client.py"), target]
        return subprocess.run(client, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
