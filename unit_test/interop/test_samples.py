"""Every sample runs by one command, and says what is wrong in one line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from unit_test.fix_net import free_port
from unit_test.fix_rpc import wait_until
from unit_test.interop.clusters import ROOT, Cluster, Process

pytestmark = [pytest.mark.live, pytest.mark.slow]

SAMPLES = sorted(path.parent for path in ROOT.glob("samples/*/run.py"))
RUN_S = 120.0
"""A sample takes five seconds, on a machine that has nothing else to do."""
CLIENTS = {"client.py", "caller.py"}
PAIRS = [folder for folder in SAMPLES if (folder / "server.py").exists()]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


def test_there_are_samples_and_each_is_explained() -> None:
    assert len(SAMPLES) >= 7
    assert len(PAIRS) >= 6
    for folder in ROOT.glob("samples/*/"):
        assert folder in SAMPLES, f"{folder} has no run.py"
        assert (folder / "README.md").read_text().startswith(f"# {folder.name}\n")


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.name)
def test_a_sample_runs_by_one_command(folder: Path) -> None:
    done = run(str(folder / "run.py"))
    assert done.returncode == 0, done.stderr
    assert "wrong call: " in done.stdout
    if folder.name.startswith("tinyrpc_"):
        lines = done.stdout.splitlines()
        assert "call Foo.Sum: 4 + 16 = 20" in lines
        assert "broadcast Foo.Sum: 4 + 16 = [20, 20]" in lines  # by both servers
        # two sleep for longer than the deadline, a third for as long: it may go either way
        assert sum("broadcast Foo.Sleep: no answer" in line for line in lines) in (2, 3)


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """A pipe that takes nothing: who has printed to it cannot end before it is killed."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    yield writer
    os.close(writer)
    os.close(reader)


@pytest.mark.parametrize("name", ["echo", "mprpc_user", "tinyrpc_etcd"])
def test_a_sample_that_is_killed_leaves_no_servers_behind(name: str, full_pipe: int) -> None:
    """The others start theirs with the same words. What is printed waits for the end, and there
    for ever, so that the client is there however late we look.
    """
    for path in ROOT.glob("samples/*/run.py"):
        text = path.read_text()
        starts = len(re.findall(r"Popen\(command", text))
        assert 1 <= starts <= len(re.findall(r"\*WITH_US,", text)), path
    buffered = {key: each for key, each in os.environ.items() if key != "PYTHONUNBUFFERED"}
    words = [sys.executable, f"samples/{name}/run.py"]
    sample = psutil.Popen(words, cwd=ROOT, env=buffered, stdout=full_pipe)
    found: list[psutil.Process] = []

    def works() -> bool:
        found[:] = sample.children(recursive=True)
        assert sample.poll() is None, "it has ended by itself"
        return any(is_client(each) for each in found)

    try:
        wait_until(works, RUN_S)
        sample.kill()
        servers = [each for each in found if not is_client(each)]
        assert servers
        wait_until(lambda: all(is_over(each) for each in servers), RUN_S)
    finally:
        for each in (sample, *found):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        sample.wait()


def is_over(process: psutil.Process) -> bool:
    """Tell whether a process has ended, whoever is to notice."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_client(process: psutil.Process) -> bool:
    """Tell by its command line whether a process is a sample's client."""
    with contextlib.suppress(psutil.Error):
        return not CLIENTS.isdisjoint(Path(word).name for word in process.cmdline())
    return False


def test_the_echo_sample_answers_in_every_way() -> None:
    lines = run("samples/echo/run.py").stdout.splitlines()
    for way in ("subclass", "stub", "future"):
        assert lines.count(f"by {way}: Hello! test") == 2
    assert "wrong call: UNIMPLEMENTED (1002)" in lines[-1]


def test_an_inline_server_answers_and_stops_by_a_signal(tmp_path: Path) -> None:
    words = ["samples/echo/server.py", "--listen", "127.0.0.1:0", "--inline"]
    server = Process(words, tmp_path / "log")
    try:
        target = server.first_line().removeprefix("listening on ")
        done = run("samples/echo/client.py", target, "--message", "x", "--count", "3")
        assert done.stdout.count(": x\n") == 9
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        server.end()


def test_the_cluster_sample_goes_on_without_one_of_its_nodes() -> None:
    before, after = run("samples/center_cluster/run.py").stdout.split("node 1 is killed")
    assert "without a key were answered by nodes [1, 2, 3]" in before
    assert "without a key were answered by nodes [2, 3]" in after
    assert before.count(" leads in epoch ") == after.count(" leads in epoch ") == 1


def test_the_echo_sample_is_found_by_its_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Cluster(tmp_path, 1) as cluster:
        words = ["samples/echo/server.py", "--listen", "127.0.0.1:0"]
        server = Process([*words, "--registry", cluster.target()], tmp_path / "echo.log")
        try:
            cluster.await_servers(server.first_line().removeprefix("listening on "))
            done = run("samples/echo/client.py", cluster.target())
            assert (done.returncode, done.stderr) == (0, "")
        finally:
            server.end()


@pytest.mark.parametrize("folder", PAIRS, ids=lambda folder: folder.name)
def test_wrong_words_and_absent_servers_are_one_line(folder: Path) -> None:
    absent = f"127.0.0.1:{free_port()}"
    for script, words, status in (
        ("server.py", ["--listen", "nowhere"], 2),
        ("client.py", ["127.0.0.1:x"], 2),
        ("client.py", [absent], 3),
        ("server.py", ["--frobnicate"], 2),
        ("client.py", [], 2),
    ):
        done = run(str(folder / script), *words)
        assert done.returncode == status, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"{script}: ")


@pytest.mark.parametrize(
    ("name", "option"), [("mprpc_user", "--zookeeper"), ("tinyrpc_etcd", "--etcd")]
)
def test_a_registry_that_is_not_there_is_told_at_once(name: str, option: str) -> None:
    absent = f"127.0.0.1:{free_port()}"
    done = run(f"samples/{name}/run.py", option, absent)
    assert (done.returncode, done.stderr) == (1, f"run.py: nobody listens at {absent}\n")


@pytest.mark.parametrize("count", ["-3", "0", "two"])
def test_no_calls_are_no_success(count: str) -> None:
    done = run("samples/echo/client.py", f"127.0.0.1:{free_port()}", "--count", count)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"client.py: argument --count: {count!r} is not a whole number from 1 on\n"
    )
