"""The program as a process: exit statuses, signals, a reader that goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from unit_test.fix_rpc import wait_until

pytestmark = pytest.mark.live

START_S = 30.0
"""Longest until a program that has been started does what it shall."""
END_S = 20.0

# A shell's background jobs ignore SIGINT, and so would what they start.
HEEDING = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from libevrpc.cli.main import main; sys.exit(main())"
)


def start(*words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEEDING, *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_module_runs_as_a_program(serving: Any) -> None:
    words = [sys.executable, "-m", "libevrpc.cli", "call", serving.address, "EchoService/Echo"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"response": ""}
    words[-1] = "EchoService/Nope"
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_an_interrupt_in_the_middle_of_a_call_is_130(serving: Any) -> None:
    with start("call", serving.address, "EchoService/Echo", "-d", '{"request": "hold"}') as program:
        assert serving.handler.entered.wait(START_S)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=END_S)
    assert (program.returncode, out, err) == (130, "", "libevrpc: interrupted\n")


def test_an_interrupted_measurement_shows_what_it_has(serving: Any) -> None:
    words = ("bench", serving.address, "EchoService/Echo", "-z", "60", "-c", "3", "--json")
    with start(*words) as program:
        wait_until(lambda: len(serving.handler.calls) > 100, START_S)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=END_S)
    assert (program.returncode, err) == (130, "interrupted\n")
    assert json.loads(out)["calls"] > 90
    assert json.loads(out)["failed"] == 0


def test_a_reader_that_goes_away_is_no_traceback(serving: Any) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)  # before the program can have written anything
    try:
        program = start("list", serving.address, stdout=write_fd)
    finally:
        os.close(write_fd)
    with program:
        assert program.stderr is not None
        assert program.stderr.read() == ""
    assert program.returncode == 1
