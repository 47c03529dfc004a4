"""What `import libevrpc` may not bring into every program that uses it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import libevrpc

pytestmark = pytest.mark.live
LATER = {
    "asyncio",
    "center",
    "difflib",
    "google.protobuf.descriptor_pb2",
    "google.protobuf.json_format",
    "hashlib",
    "json",
    "libevrpc.core.http",
    "msgpack",
    "multiprocessing",
    "psutil",
    "ssl",
    "subprocess",
    "zmq",
}
"""Dear modules that are imported where they are first needed."""


def modules_of(program: str) -> set[str]:
    """Return the modules that a process has imported after `program`."""
    # coverage imports much of its own
    environ = {name: each for name, each in os.environ.items() if not name.startswith("COVERAGE")}
    words = [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_leaves_dear_modules_for_later() -> None:
    found = modules_of("from libevrpc import RpcClient, RpcServer")
    assert {"libevrpc.server.server", "libevrpc.client.client"} <= found
    assert not LATER.intersection(found)


@pytest.mark.parametrize(
    ("program", "there", "not_there"),
    [
        ("import center.__main__", "libevrpc.server", "libevrpc.client"),
        ("from libevrpc import RpcClient", "libevrpc.client", "libevrpc.server"),
    ],
)
def test_a_center_does_without_the_client_and_a_client_without_the_server(
    program: str, there: str, not_there: str
) -> None:
    found = modules_of(program)
    assert there in found
    assert not_there not in found


def test_every_public_name_is_found_and_listed() -> None:
    found = dir(libevrpc)
    for name in libevrpc.__all__:
        assert getattr(libevrpc, name) is not None
        assert name in found
    with pytest.raises(AttributeError, match="no attribute 'RpcServr'"):
        _ = libevrpc.RpcServr
