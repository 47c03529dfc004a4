"""A center inside another program."""

from __future__ import annotations

import os
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
        assert node.status().id == node.id == 1
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
        epochs.append(node.status().epoch)
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


def test_a_child_that_dies_is_started_again(
    listed: Path, tmp_path: Path, launched: list[int]
) -> None:
    with CenterNode(1, listed, data_dir=str(tmp_path / "data")) as node:
        wait_until(lambda: leads(node))
        os.kill(launched[0], signal.SIGKILL)
        wait_until(lambda: len(launched) == 2)
        wait_until(lambda: leads(node))


def test_a_child_that_does_not_end_is_killed(
    listed: Path, tmp_path: Path, launched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "STOP_S", 0.1)
    with CenterNode(1, listed, data_dir=str(tmp_path / "data")):
        os.kill(launched[0], signal.SIGSTOP)


def test_a_child_ends_with_its_parent(listed: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from center.embed import CenterNode\n"
        f"node = CenterNode(1, {str(listed)!r}, data_dir={str(tmp_path / 'data')!r})\n"
        "node.start()\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    node = CenterNode(1, listed, data_dir=str(tmp_path / "data"))
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        wait_until(lambda: leads(node))
        parent.kill()
        parent.wait()

        def gone() -> bool:
            try:
                node.status(0.2)
            except RpcError:
                return True
            return False

        wait_until(gone)
