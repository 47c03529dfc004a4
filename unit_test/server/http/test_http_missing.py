"""Without h11: everything else works, and what would need it says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.live

PROGRAM = """
import logging, sys
sys.modules["h11"] = None  # as if it were not installed
from libevrpc import HttpRegistry, RpcClient, RpcServer
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
class Foo:
    def add(self, one, two):
        return one + two
server = RpcServer("127.0.0.1:0")
server.add_object(Foo())
with server, RpcClient(server.address) as client:
    print(client.call("Foo.add", 1, 2))
for wrong in (
    lambda: RpcServer("127.0.0.1:0", wires=["http"]),
    lambda: HttpRegistry(server),
    lambda: RpcServer("127.0.0.1:0", registry="http://127.0.0.1:1/_tinyrpc_/registry").start(),
):
    try:
        wrong()
    except Exception as exc:
        print(type(exc).__name__, exc)
"""


def test_everything_else_works_and_what_needs_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    assert "wire http is left out: h11 is not installed" in done.stdout
    assert "\n3\n" in done.stdout
    lines = [line for line in done.stdout.splitlines() if "Error " in line]
    assert len(lines) == 3
    assert lines[0].startswith("ConfigError wires = http: h11 is missing")
    assert lines[1].startswith("UsageError the registry needs HTTP on its server")
    assert "http:// needs h11, which is not installed" in lines[2]
    assert all("libevrpc[http]" in line for line in lines)
