"""A center inside another program."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from center import embed
from center.core.ballot import State
from center.embed import CenterNode
from libevrpc import ConfigError, RpcError, UsageError
from unit_test.fix_net import free_ports
from unit_test.interop.clusters import ROOT, wait_until

pytestmark = pytest.mark.live
ANSWER_S = 20.0
"""How long a center may take to answer where it must."""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Give a list of one center on free ports."""
    peer, client = free_ports(2)
    path = tmp_path / "centers_list"
    path.write_text(f"1 127.0.0.1 {peer} {client}\n")
    return path


def leads(node: CenterNode) -> bool:
    try:
        return node.status().state == State.LEADING.name
    except RpcError:
        return False


@pytest.fixture(params=[False, True], ids=["child", "in_process"])
def node(request: pytest.FixtureRequest, listed: Path, tmp_path: Path) -> Iterator[CenterNode]:
    """Give a center that is not yet started, of either kind."""
    made = CenterNode(
        centers_list=listed, data_dir=str(tmp_path / "data"), in_process=request.param
    )
    yield made
    made.stop()


def test_it_serves_between_start_and_stop(node: CenterNode) -> None:
    with pytest.raises(RpcError):
        node.status(0.2)
    with node:
        wait_until(lambda: leads(node))
        assert node.status(ANSWER_S).id == node.id == 1
        assert node.target == f"center://{node.address}"
        with pytest.raises(UsageError, match="runs already"):
            node.start()
    node.stop()
    with pytest.raises(RpcError):
        node.status(0.2)


def test_it_goes_on_from_its_state(node: CenterNode) -> None:
    epochs = []
    for _ in range(2):
        node.start()
        wait_until(lambda: leads(node))
        epochs.append(node.status(ANSWER_S).epoch)
        node.stop()
    assert epochs[1] > epochs[0]


def test_wrong_settings_are_refused_before_anything_starts(listed: Path) -> None:
    with pytest.raises(ConfigError, match="no line with id 7"):
        CenterNode(7, listed)
    with pytest.raises(ConfigError, match="heartbeat_s"):
        CenterNode(1, listed, heartbeat_s=-1.0)
    with pytest.raises(ConfigError, match="client_bind = 0.0.0.0"):
        CenterNode(1, listed, client_bind="0.0.0.0")


@pytest.mark.parametrize("in_process", [False, True])
def test_a_taken_folder_is_refused(listed: Path, tmp_path: Path, in_process: bool) -> None:
    data_dir = str(tmp_path / "data")
    with CenterNode(1, listed, data_dir=data_dir, in_process=True):
        again = CenterNode(1, listed, data_dir=data_dir, in_process=in_process)
        with pytest.raises(ConfigError, match="in use by another center"):
            again.start()


@pytest.mark.parametrize("in_process", [False, True])
def test_a_taken_port_is_named(listed: Path, tmp_path: Path, in_process: bool) -> None:
    port = listed.read_text().split()[2]
    with CenterNode(1, listed, data_dir=str(tmp_path / "data"), in_process=True):
        again = CenterNode(1, listed, data_dir=str(tmp_path / "other"), in_process=in_process)
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            again.start()


def test_a_child_that_cannot_tell_why_it_ended_is_reported(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    node = CenterNode(1, listed, data_dir=str(tmp_path / "data"))
    with pytest.raises(ConfigError, match="with status 1: its standard error says why"):
        node.start()


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the ids of the processes that were started, as they are."""
    pids: list[int] = []
    usual = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[bytes], *given: Any, **options: Any) -> None:
        usual(self, *given, **options)
        pids.append(self.pid)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    return pids


@pytest.mark.parametrize("in_process", [False, True])
def test_a_program_may_change_its_folder(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zmq.py").write_text("raise SystemExit('a module of the program, not ours')\n")
    node = CenterNode(1, listed.name, data_dir="data", in_process=in_process)
    monkeypatch.chdir(elsewhere)
    with node:
        wait_until(lambda: leads(node))
    assert (tmp_path / "data" / "record").exists()
    assert list(elsewhere.iterdir()) == []


def test_a_child_that_dies_is_started_again(
    listed: Path, tmp_path: Path, launched: list[int]
) -> None:
    with CenterNode(1, listed, data_dir=str(tmp_path / "data")) as node:
        wait_until(lambda: leads(node))
        os.kill(launched[0], signal.SIGKILL)
        wait_until(lambda: len(launched) == 2)
        wait_until(lambda: leads(node))


def test_ctrl_c_is_for_the_program_alone(listed: Path, tmp_path: Path, launched: list[int]) -> None:
    with CenterNode(1, listed, data_dir=str(tmp_path / "data")) as node:
        os.kill(launched[0], signal.SIGINT)
        wait_until(lambda: leads(node))
        epoch = node.status(ANSWER_S).epoch
        os.kill(launched[0], signal.SIGINT)
        assert node.status(ANSWER_S).epoch == epoch
    assert len(launched) == 1


def test_a_child_that_cannot_be_started_now_is_started_later(
    listed: Path,
    tmp_path: Path,
    launched: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = [OSError(24, "Too many open files"), OSError(12, "Cannot allocate memory")]
    with CenterNode(1, listed, data_dir=str(tmp_path / "data")) as node:
        usual = subprocess.Popen.__init__

        def refused(self: subprocess.Popen[bytes], *given: Any, **options: Any) -> None:
            if refusals:
                raise refusals.pop()
            usual(self, *given, **options)

        monkeypatch.setattr(subprocess.Popen, "__init__", refused)
        os.kill(launched[0], signal.SIGKILL)
        wait_until(lambda: len(launched) == 2)
        wait_until(lambda: leads(node))
    warnings = [each.getMessage() for each in caplog.records if each.name == "center.embed"]
    assert "center 1 ended with status -9" in warnings[0]
    assert "cannot be started: [Errno 12]" in warnings[1]
    assert "cannot be started: [Errno 24]" in warnings[2]


def test_a_first_start_that_fails_leaves_nothing_open(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: subprocess.Popen[bytes], *given: Any, **options: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(subprocess.Popen, "__init__", refused)
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda self: None)  # it was never made
    node = CenterNode(1, listed, data_dir=str(tmp_path / "data"))
    with pytest.raises(OSError, match="Too many open files"):
        node.start()
    node.stop()


def test_a_child_ends_though_a_worker_holds_the_pipe_of_its_life(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    statuses: list[int | None] = []
    usual_pipe, usual_wait = os.pipe, subprocess.Popen.wait

    def pipe() -> tuple[int, int]:
        made = usual_pipe()
        if not held:
            held.append(os.dup(made[1]))  # as a worker has it that the program forks
        return made

    def wait(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        statuses.append(usual_wait(self, timeout))
        return statuses[-1] or 0

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    monkeypatch.setattr(embed, "STOP_S", 40.0)  # who is killed proves nothing
    try:
        with monkeypatch.context() as patch:
            patch.setattr(embed.os, "pipe", pipe)
            node = CenterNode(1, listed, data_dir=str(tmp_path / "data"))
            node.start()
        node.stop()
    finally:
        for fd in held:
            os.close(fd)
    assert statuses == [0]


def test_a_child_that_does_not_end_is_killed(
    listed: Path, tmp_path: Path, launched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "STOP_S", 0.1)
    with CenterNode(1, listed, data_dir=str(tmp_path / "data")):
        os.kill(launched[0], signal.SIGSTOP)


PROGRAM = """
import os, sys
from center.embed import CenterNode
listed, data_dir, forks = sys.argv[1:]
node = CenterNode(1, listed, data_dir=data_dir)
node.start()
pid = os.fork() if forks else 1
if pid == 0:  # a worker, as programs fork them; what it holds must not keep the center
    sys.stdin.read()
    os._exit(0)
print(node.status(20.0).id, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("forks", ["", "forks"])
def test_a_child_ends_with_its_parent(listed: Path, tmp_path: Path, forks: str) -> None:
    words = [sys.executable, "-c", PROGRAM, str(listed), str(tmp_path / "data"), forks]
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        parent.kill()
        parent.wait()
        node = CenterNode(1, listed, data_dir=str(tmp_path / "data"))

        def freed() -> bool:
            try:
                node.start()
            except ConfigError:
                return False
            return True

        wait_until(freed)
        node.stop()


def test_a_parent_with_many_descriptors_has_a_child(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 3000:
        pytest.skip(f"only {most} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, 3000), most))
    usual = os.pipe

    def high() -> tuple[int, int]:
        made = usual()
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 2000) for fd in made]
        for fd in made:
            os.close(fd)
        return moved[0], moved[1]

    try:
        with monkeypatch.context() as patch:
            patch.setattr(embed.os, "pipe", high)
            child = CenterNode(1, listed, data_dir=str(tmp_path / "data"))
            child.start()
        wait_until(lambda: leads(child))
        child.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
