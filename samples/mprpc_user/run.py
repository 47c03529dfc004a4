"""Start the callee, call it, stop it; exits 0 if every call was answered.

python samples/mprpc_user/run.py [--zookeeper HOST:PORT]

Without a ZooKeeper the caller is told the callee's address.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WITH_US = ("setpriv", "--pdeathsig", "TERM")  # ends a program when we end, even by a kill
USUAL = "127.0.0.1:2181"


def answers(address: str) -> bool:
    """Tell whether somebody listens there."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((host, int(port)), timeout=1.0).close()
        return True
    return False


def written(folder: str, port: int, registry: str) -> str:
    path = Path(folder) / "test.conf"
    path.write_text(
        "# made by run.py\n"
        "rpcserverip = 127.0.0.1\n"
        f"rpcserverport = {port}   # 0: any free one\n"
        f"{registry}\n"
    )
    return str(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="run callee and caller")
    parser.add_argument("--zookeeper", metavar="HOST:PORT", help=f"{USUAL} if it is there")
    given = parser.parse_args().zookeeper
    if given and not answers(given):
        sys.exit(f"run.py: nobody listens at {given}")
    zookeeper = given or (USUAL if answers(USUAL) else "")
    if zookeeper:
        host, _, port = zookeeper.rpartition(":")
        registry = f"zookeeperip = {host}\nzookeeperport = {port}"
    else:
        print(f"no ZooKeeper at {USUAL}: the caller is told where the callee is")
        registry = "registry = none"
    with tempfile.TemporaryDirectory() as folder:
        conf = written(folder, 0, registry)
        command = [*WITH_US, sys.executable, str(HERE / "callee.py"), "-i", conf]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as callee:
            try:
                assert callee.stdout is not None
                line = callee.stdout.readline()
                if not line.startswith("listening on "):
                    return callee.wait() or 1
                if not zookeeper:
                    registry = f"registry = {line.split()[-1]}"
                caller = [sys.executable, str(HERE / "caller.py"), "-i"]
                path = written(folder, 0, registry)
                return subprocess.run([*caller, path], check=False).returncode
            finally:
                callee.terminate()


if __name__ == "__main__":
    sys.exit(main())
