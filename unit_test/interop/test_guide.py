"""The guide's Python blocks, run as they stand: what is documented works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.live, pytest.mark.slow]


def blocks(path: Path) -> list[str]:
    """Return the Python blocks of a document."""
    found = path.read_text().split("```python\n")[1:]
    return [each.partition("```")[0] for each in found]


def test_the_guide_runs_as_it_stands(tmp_path: Path) -> None:
    code = "\n".join(blocks(ROOT / "docs" / "guide.md"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
