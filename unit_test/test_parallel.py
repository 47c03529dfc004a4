"""What several processes of one run do beside each other, and what they do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[1]
TESTS = """
import fcntl
import os
import pathlib
import threading

import pytest

LOG = pathlib.Path({log!r})
DOOR = pathlib.Path(os.environ["LIBEVRPC_TEST_LOCKS"], "door")


def note(what):
    with LOG.open("a") as log:
        log.write(f"{{what}} {name}\\n")


def until(holds):
    pause = threading.Event()
    for _ in range(2000):
        if holds():
            return
        pause.wait(0.01)
    pytest.fail("did not happen")


def both_began():
    told = LOG.read_text()
    return "begin beside a" in told and "begin beside b" in told


def alone_has_begun_or_waits():
    if "begin alone" in LOG.read_text():
        return True
    with DOOR.open("wb") as door:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("number", range(3))
@pytest.mark.alone
def test_alone(number):
    note("begin alone")
    threading.Event().wait(0.05)
    note("end alone")


@pytest.mark.parametrize("number", range({beside}))
def test_beside(number):
    note("begin beside")
    if number == 0:
        until(both_began)
    if (number, {name!r}) == (1, "b"):  # what is alone comes while b goes on
        until(alone_has_begun_or_waits)
    note("end beside")
"""


def run_shared(folder: Path, processes: str = "2", **environ: str) -> None:
    """Run the tests in `folder` in processes that share them."""
    arguments = ["-q", "-n", processes, "--dist", "loadgroup", "--no-loadscope-reorder"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_marked_alone_has_the_machine_to_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["unit_test.fix_parallel"]\n')
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    alone: by itself\n    slow: long\n    xdist_group: together\n"
    )
    for name, beside in (("a", 3), ("b", 9)):
        text = TESTS.format(log=str(log), name=name, beside=beside)
        (tmp_path / f"test_{name}.py").write_text(text)
    run_shared(tmp_path)
    inside: list[str] = []
    beside = after = 0
    alone = False
    for line in log.read_text().splitlines():
        what, _, who = line.partition(" ")
        if what == "end":
            inside.remove(who)
            continue
        if "alone" in who or any("alone" in each for each in inside):
            assert not inside, f"{who} began beside {inside}"
        beside += bool(inside)
        alone = alone or "alone" in who
        after += alone and "beside" in who
        inside.append(who)
    assert beside, "nothing ran side by side"
    assert after, "nothing was left that might have run beside what is alone"


TOGETHER = """
import os
import pathlib

import pytest

LOG = pathlib.Path({log!r})


@pytest.fixture(scope="session")
def etcd_kept():
    return os.getpid()


@pytest.mark.parametrize("number", range(3))
def test_of_a_file(number):
    with LOG.open("a") as log:
        log.write(f"{name} {{os.getpid()}}\\n")


@pytest.mark.parametrize("number", range(3))
def test_of_a_service(number, etcd_kept):
    with LOG.open("a") as log:
        log.write(f"etcd {{etcd_kept}}\\n")
"""


def test_tests_of_a_file_and_of_a_service_stay_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["unit_test.fix_parallel"]\n')
    for name in ("a", "b", "c"):
        (tmp_path / f"test_{name}.py").write_text(TOGETHER.format(log=str(log), name=name))
    run_shared(tmp_path)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == 18
    assert len({process for _, process in lines}) == 2, "nothing ran side by side"
    for group in ("a", "b", "c", "etcd"):
        assert len({process for of, process in lines if of == group}) == 1, group


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
    run_shared(tmp_path, processes, PYTHONDONTWRITEBYTECODE="1")
