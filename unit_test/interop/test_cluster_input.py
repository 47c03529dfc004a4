"""What `python -m center` says to wrong input: one line, status 2."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unit_test.fix_net import free_port
from unit_test.interop.clusters import ROOT, Cluster, Process, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


def refused(*words: str) -> str:
    """Run a center that must refuse to start; returns its one line."""
    done = subprocess.run(
        [sys.executable, "-m", "center", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [each for each in done.stderr.splitlines() if " WARNING " not in each]
    assert len(lines) == 1, done.stderr
    (line,) = lines
    assert "Traceback" not in done.stderr
    return line


@pytest.fixture
def single(tmp_path: Path) -> Cluster:
    """Give a list of one center; nothing runs yet."""
    return Cluster(tmp_path, 1)


def test_wrong_options_are_one_line_each(single: Cluster, tmp_path: Path) -> None:
    words = single.words(1)[2:]
    assert "no line with id 9" in refused(*single.words(9)[2:])
    assert "cannot read it" in refused(*single.words(1, centers_list="/nowhere/list")[2:])
    bad = tmp_path / "bad.ini"
    bad.write_text("[center]\nheartbeat = 1\n")
    assert "bad.ini:2" in refused(*words, "--config", str(bad))
    bad.write_text("[center]\nlease_s = 0.15\n")
    assert "lease_s" in refused(*words, "--config", str(bad))
    listed = tmp_path / "centers_list"
    listed.write_text("1 10.9.8.7 8898 8899\n")
    assert "security = none" in refused(*words)
    listed.write_text("1 127.0.0.1 8898\n")
    assert "centers_list:1" in refused(*words)
    (tmp_path / "file").write_text("")
    listed.write_text("1 127.0.0.1 8898 8899\n")
    assert "set data_dir" in refused(*single.words(1, data_dir=str(tmp_path / "file"))[2:])


def test_a_second_process_with_the_same_id_is_refused(single: Cluster) -> None:
    with single:
        single.leader()
        words = single.words(1)[2:]
        assert "in use by another center" in refused(*words)
        elsewhere = single.words(1, data_dir=str(single.folder / "other"))[2:]
        assert f"cannot listen on 127.0.0.1:{single.peer_port[1]}" in refused(*elsewhere)
        assert single.leader() == 1


def test_a_taken_client_port_is_named(single: Cluster) -> None:
    with single:
        single.leader()
        port = single.client_port[1]
        other = single.folder / "other_list"
        other.write_text(f"1 127.0.0.1 {free_port()} {port}\n")
        words = single.words(1, centers_list=str(other), data_dir=str(single.folder / "other"))
        assert str(port) in refused(*words[2:])


def test_the_state_of_another_cluster_is_refused(single: Cluster, tmp_path: Path) -> None:
    with single:
        single.leader()
    (tmp_path / "second").mkdir()
    other = Cluster(tmp_path / "second", 3)
    foreign = other.words(1, data_dir=str(tmp_path / "data-1"))
    assert "belongs to another centers list" in refused(*foreign[2:])
    other.ids = [2]
    other.list_path.write_text(single.list_path.read_text().replace("1 127", "2 127", 1))
    assert "belongs to center 1" in refused(*other.words(2, data_dir=str(tmp_path / "data-1"))[2:])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_center_ends_cleanly_on_a_signal(single: Cluster, number: signal.Signals) -> None:
    with single:
        single.leader()
        process = single.processes.pop(1)
        process.signal(number)
        assert process.wait() == 0
        assert "Traceback" not in process.log.read_text()


def test_the_id_may_be_left_out_where_one_line_is_local(single: Cluster) -> None:
    words = ["-m", "center", "--centers-list", str(single.list_path)]
    words += ["--data-dir", str(single.folder / "data")]
    process = Process(words, single.folder / "center.log")
    try:
        assert process.first_line() == f"center 1 listening on {single.address(1)}"
    finally:
        process.end()


def test_a_center_whose_log_nobody_reads_goes_on(single: Cluster) -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_fd, b"x")
    os.set_blocking(write_fd, True)
    command = [sys.executable, *single.words(1)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=write_fd) as center:
        os.close(write_fd)
        try:
            assert center.stdout is not None
            assert center.stdout.readline().startswith(b"center 1 listening on ")
            wait_until(lambda: (found := single.status(1)) and found.state == "LEADING")
        finally:
            with os.fdopen(read_fd, "rb") as log:
                center.terminate()
                said = log.read()
    assert b"leading leader=1" in said
    assert center.returncode == 0
