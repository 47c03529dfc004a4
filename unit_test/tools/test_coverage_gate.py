"""The coverage gate: pure files must be whole, other packages may miss a tenth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.coverage_gate import shortfalls

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = {
    "setup.cfg": "[tool:pytest]\nfilterwarnings = error\n[coverage:run]\n"
    "branch = true\nparallel = true\nsource = counted\n",
    "counted/__init__.py": "NAME = 1\n",
    "test_it.py": "import counted\n\ndef test_it():\n    assert counted.NAME == 1\n",
    ".coverage.of.pid7.killed": "SQLite format 3, but not for long",
    ".coverage.of.pid8.killed": "",
}


def summary(lines: tuple[int, int], branches: tuple[int, int] = (0, 0)) -> dict[str, object]:
    return {
        "summary": {
            "covered_lines": lines[0],
            "num_statements": lines[1],
            "covered_branches": branches[0],
            "num_branches": branches[1],
        }
    }


def complaints(files: dict[str, object]) -> list[str]:
    return [str(shortfall) for shortfall in shortfalls({"files": files})]


def test_whole_files_pass() -> None:
    assert complaints({"libevrpc/core/a.py": summary((9, 9), (4, 4))}) == []


def test_one_missed_branch_of_a_pure_file_is_too_many() -> None:
    assert complaints({"center/core/deep/a.py": summary((1000, 1000), (999, 1000))}) == [
        "center/core/deep/a.py: 99.9 % of branches, wanted 100 %"
    ]


def test_a_pure_file_cannot_hide_behind_another() -> None:
    files = {
        "libevrpc/core/whole.py": summary((1000, 1000)),
        "libevrpc/core/holed.py": summary((9, 10)),
    }
    assert complaints(files) == ["libevrpc/core/holed.py: 90.0 % of lines, wanted 100 %"]


def test_other_packages_are_taken_as_a_whole() -> None:
    files = {
        "libevrpc/loop/a.py": summary((100, 100), (40, 40)),
        "libevrpc/loop/b.py": summary((8, 20), (2, 4)),
    }
    assert complaints(files) == []


def test_lines_cannot_make_up_for_branches() -> None:
    assert complaints({"libevrpc/client/a.py": summary((100, 100), (8, 10))}) == [
        "libevrpc/client: 80.0 % of branches, wanted 90 %"
    ]


def test_a_file_without_code_is_whole() -> None:
    assert complaints({"libevrpc/core/__init__.py": summary((0, 0))}) == []


@pytest.mark.live
def test_what_a_killed_process_was_writing_fails_nobody(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    words = [
        "coverage",
        "run",
        "-m",
        "pytest",
        "-p",
        "tools.coverage_gate",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TOTAL" in done.stdout
    for number in (7, 8):
        assert f".coverage.of.pid{number}.killed: its process was killed" in done.stdout
