"""What a build takes from the folder of an earlier one: nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.live
def test_modules_of_an_earlier_version_do_not_get_into_a_build(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    modules = tmp_path / "lib" / "libevrpc"
    modules.mkdir(parents=True)
    (modules / "of_long_ago.py").write_text("")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=50,
    )
    built = {path.relative_to(tmp_path / "lib").as_posix() for path in modules.rglob("*.py")}
    assert "libevrpc/of_long_ago.py" not in built
    assert "libevrpc/errors.py" in built
