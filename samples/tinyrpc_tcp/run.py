"""Start two servers on free ports, call them, stop them; exits 0 if every call was answered.

python samples/tinyrpc_tcp/run.py
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
WITH_US = ("setpriv", "--pdeathsig", "TERM")  # ends a program when we end, even by a kill


def start_server(stack: ExitStack) -> str:
    """Start a server, to be ended with the others; returns its address."""
    command = [*WITH_US, sys.executable, str(HERE / "server.py"), "--listen", "127.0.0.1:0"]
    server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(server.terminate)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line.startswith("listening on "):
        sys.exit(server.wait() or 1)
    return line.split()[-1]


def main() -> int:
    with ExitStack() as stack:
        target = "list://" + ",".join(start_server(stack) for _ in range(2))
        return subprocess.run(
            [sys.executable, str(HERE / "client.py"), target], check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
