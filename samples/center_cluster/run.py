"""Start three nodes on free ports, call them, kill one, call the others; exits 0 if all went well.

python samples/center_cluster/run.py
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from libevrpc import RpcClient

HERE = Path(__file__).resolve().parent
WITH_US = ("setpriv", "--pdeathsig", "TERM")  # ends a program when we end, even by a kill
NODES = (1, 2, 3)


def held_port(stack: ExitStack) -> int:
    """Return a port that nobody is given who asks for any, until `stack` ends: it is bound."""
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # who names it may listen there
    sock.bind(("127.0.0.1", 0))
    return int(sock.getsockname()[1])


def start_node(folder: Path, number: int) -> subprocess.Popen[str]:
    command = [
        *(*WITH_US, sys.executable, str(HERE / "server.py"), "--id", str(number)),
        *("--centers-list", str(folder / "centers_list"), "--listen", "127.0.0.1:0"),
        *("--data-dir", str(folder / f"node-{number}")),
    ]
    log = (folder / f"node-{number}.log").open("w")
    with log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


def call(folder: Path, target: str) -> int:
    client = [sys.executable, str(HERE / "client.py"), target]
    client += ["--state-dir", str(folder / "client")]
    return subprocess.run(client, check=False).returncode


def await_servers(folder: Path, target: str) -> None:
    """Wait until all have registered: what each call finds does not depend on chance then."""
    pause = threading.Event()
    with RpcClient(target, timeout_s=10.0, state_dir=str(folder / "starter")) as client:
        while client.call("Place.cluster")["servers"] < len(NODES):
            pause.wait(0.02)


def play(folder: Path, nodes: Sequence[subprocess.Popen[str]], target: str) -> int:
    for number, node in zip(NODES, nodes, strict=True):
        assert node.stdout is not None
        line = node.stdout.readline()
        if not line.startswith("listening on "):
            print((folder / f"node-{number}.log").read_text(), end="", file=sys.stderr)
            return node.wait() or 1
        print(f"node {number} {line}", end="", flush=True)
    await_servers(folder, target)
    failed = call(folder, target)
    if failed:
        return failed
    print("node 1 is killed, and its center with it", flush=True)
    nodes[0].kill()
    return call(folder, target)


def main() -> int:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        peers = [held_port(stack) for _ in NODES]
        clients = [held_port(stack) for _ in NODES]
        lines = [
            f"{number} 127.0.0.1 {peer} {client}\n"
            for number, peer, client in zip(NODES, peers, clients, strict=True)
        ]
        (folder / "centers_list").write_text("".join(lines))
        target = "center://" + ",".join(f"127.0.0.1:{client}" for client in clients)
        nodes = [start_node(folder, number) for number in NODES]
        try:
            return play(folder, nodes, target)
        finally:
            for node in nodes:
                node.send_signal(signal.SIGTERM)
            for node in nodes:
                node.communicate()


if __name__ == "__main__":
    sys.exit(main())
