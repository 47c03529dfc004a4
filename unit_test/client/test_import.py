"""What `import libevrpc` may not bring into every program that uses it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.live
LATER = {
    "asyncio",
    "center",
    "google.protobuf.json_format",
    "multiprocessing",
    "psutil",
    "ssl",
    "subprocess",
    "zmq",
}
"""Dear modules that are imported where they are first needed."""


def test_import_leaves_dear_modules_for_later() -> None:
    program = "import sys, libevrpc; print(*sys.modules)"
    # coverage imports much of its own
    environ = {name: each for name, each in os.environ.items() if not name.startswith("COVERAGE")}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert "libevrpc.server.server" in done.stdout.split()
    assert not LATER.intersection(done.stdout.split())
