"""The golden bytes on each implementation of protobuf, one process each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
REPLAY = """
import sys
from google.protobuf.internal import api_implementation
from unit_test.core import test_prpc_golden as golden

if api_implementation.Type() != sys.argv[1]:
    sys.exit(f"runs on {api_implementation.Type()}, not on {sys.argv[1]}")
for name in golden.GOLDEN:
    golden.test_vector_in_one_piece(name)
    golden.test_vector_byte_by_byte(name)
    golden.test_vector_twice_on_one_connection(name)
print(len(golden.GOLDEN), "vectors")
"""


@pytest.mark.live
@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_golden_bytes_read_the_same_on_each_implementation(implementation: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, implementation],
        cwd=ROOT,
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" vectors\n")
