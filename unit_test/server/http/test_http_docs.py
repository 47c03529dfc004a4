"""The examples of docs/http.md do what stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^    \$ (curl .*)\n    (.*)$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    words = [sys.executable, "samples/echo/server.py", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.terminate()
        server.wait(20)


def curl(words: str, address: str) -> str:
    command = shlex.split(words.replace("127.0.0.1:9998", address))
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_example_answers_as_it_is_written(address: str) -> None:
    assert len(EXAMPLES) == 3
    for words, answer in EXAMPLES:
        assert curl(words, address).rstrip("\n") == answer
    page = curl("curl -s http://127.0.0.1:9998/debug/services", address)
    shown = "\n".join(f"    {line}" if line else "" for line in page.splitlines())
    assert shown in TEXT
