"""What several processes of one run do beside each other, and what they do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[1]
TESTS = """
import os
import pathlib
import threading

import pytest

LOG = pathlib.Path({log!r})


def note(what):
    with LOG.open("a") as log:
        log.write(f"{{what}} {name}\\n")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.alone
def test_alone(number):
    note("begin alone")
    threading.Event().wait(0.05)
    note("end alone")


@pytest.mark.parametrize("number", range(20))
def test_beside(number):
    note("begin beside")
    threading.Event().wait(0.01)
    note("end beside")
"""


def test_what_is_marked_alone_has_the_machine_to_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["unit_test.fix_parallel"]\n')
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    alone: by itself\n    slow: long\n    xdist_group: together\n"
    )
    for name in ("a", "b"):
        (tmp_path / f"test_{name}.py").write_text(TESTS.format(log=str(log), name=name))
    arguments = ["-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    inside: list[str] = []
    beside = 0
    for line in log.read_text().splitlines():
        what, who = line.split(" ", 1)
        if what == "end":
            inside.remove(who)
            continue
        if "alone" in who or any("alone" in each for each in inside):
            assert not inside, f"{who} began beside {inside}"
        beside += bool(inside)
        inside.append(who)
    assert beside, "nothing ran side by side"


COMPILING = """
import subprocess
import sys

ASKED = "import sys; print(sys.dont_write_bytecode, sys.pycache_prefix)"


def test_programs():
    words = [sys.executable, "-c", ASKED]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert told.startswith("False ")
    assert told.endswith("/compiled")
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_programs_keep_compiled_files_where_nobody_else_does(
    tmp_path: Path, processes: str
) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["unit_test.fix_parallel"]\n')
    (tmp_path / "test_compiling.py").write_text(COMPILING)
    arguments = ["-q", "-n", processes, "--dist", "loadgroup", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
