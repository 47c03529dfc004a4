"""Start the server on a free port, call it, stop it; exits 0 if every call was answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WITH_US = ("setpriv", "--pdeathsig", "TERM")  # ends a program when we end, even by a kill


def main() -> int:
    command = [*WITH_US, sys.executable, str(HERE / "server.py"), "--listen", "127.0.0.1:0"]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line.startswith("listening on "):
                return server.wait() or 1
            target = line.split()[-1]
            client = [sys.executable, str(HERE / "client.py"), target, "--count", "2"]
            return subprocess.run(client, check=False).returncode
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
