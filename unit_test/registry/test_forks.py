"""Registries over a fork: watchers and announcers stay with the parent, a child has its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from libevrpc import RpcServer

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import os, sys
from libevrpc import RpcClient
target, folder = sys.argv[1:]
client = RpcClient(target, state_dir=folder)
print(client.call("Foo.sum", 1, 2), flush=True)
child = os.fork()
if not child:
    print(client.call("Foo.sum", 2, 3), flush=True)
    client.close()
    os._exit(0)
print(os.waitpid(child, 0)[1], client.call("Foo.sum", 3, 4), flush=True)
client.close()
"""


class Foo:
    def sum(self, one: int, two: int) -> int:
        return one + two


def test_parent_and_child_watch_each_by_itself(tmp_path: Path) -> None:
    with RpcServer("127.0.0.1:0", threads=1) as server:
        server.add_object(Foo())
        listed = tmp_path / "servers"
        listed.write_text(f"{server.address}\n")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"file://{listed}", str(tmp_path / "state")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=50.0,
            check=False,
        )
        server.stop(0.0)
    assert (done.returncode, done.stdout.split()) == (0, ["3", "5", "0", "7"]), done.stderr
