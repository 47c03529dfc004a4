"""Start a registry and two servers, call them, stop them; exits 0 if every call was answered.

python samples/tinyrpc_http/run.py [--registry HOST:PORT]
"""

from __future__ import annotations

import argparse
import os
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


def main() -> int:
    parser = argparse.ArgumentParser(description="run registry, servers and client")
    parser.add_argument(
        "--registry", metavar="HOST:PORT", help="one that runs; else one is started"
    )
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["XDG_STATE_HOME"] = folder  # the last known list is kept there
        registry = given.registry or start(stack, "registry.py")
        target = f"http://{registry}/_tinyrpc_/registry"
        for _ in range(SERVERS):
            start(stack, "server.py", "--registry", target)
        await_servers(target)
        client = [sys.executable, str(HERE / "client.py"), target]
        return subprocess.run(client, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
