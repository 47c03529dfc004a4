"""The sample `mprpc_user`: by one command, through a real ZooKeeper, and with wrong words."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from compare.zookeeper import ZooKeeperCluster

from unit_test.fix_net import free_port
from unit_test.interop.clusters import Process
from unit_test.mprpc.fixbug import ROOT

pytestmark = pytest.mark.live

SAMPLE = ROOT / "samples" / "mprpc_user"
ANSWERS = [
    "Login: success=True errmsg=''",
    "Login: success=False errmsg='wrong name or password'",
    "Register: success=True",
    "GetFriendsList: gao yang, liu hong, wang shuo",
    "online: gao yang",
]


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SAMPLE / script), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_through_a_real_zookeeper(zookeeper: ZooKeeperCluster) -> None:
    done = run("run.py", "--zookeeper", zookeeper.hosts())
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert lines == ANSWERS
    assert last.startswith("wrong call: recv error! errno:1009 ")
    assert "method=UserServiceRpc.Register count=1: UNKNOWN (2001): id 0 is nobody's" in done.stderr


def test_callee_and_caller_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.conf"
    path.write_text("rpcserverip=127.0.0.1\nrpcserverport=0\nregistry=none\n")
    callee = Process([str(SAMPLE / "callee.py"), "-i", str(path)], tmp_path / "log")
    try:
        address = callee.first_line().removeprefix("listening on ")
        path.write_text(f"registry={address}\n")
        done = run("caller.py", "-i", str(path))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[:-1] == ANSWERS
        callee.signal(signal.SIGTERM)
        assert callee.wait() == 0
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        callee.end()


def test_wrong_words_and_absent_callees_are_one_line(tmp_path: Path) -> None:
    absent = tmp_path / "absent.conf"
    absent.write_text(f"registry=127.0.0.1:{free_port()}\n")
    lame = tmp_path / "lame.conf"
    lame.write_text("rpcserverip=127.0.0.1\n")
    for script, words, status in (
        ("callee.py", [], 2),
        ("callee.py", ["-i", "nowhere"], 2),
        ("callee.py", ["-i", str(lame)], 2),
        ("caller.py", ["-i"], 2),
        ("caller.py", ["-i", str(lame)], 2),
        ("caller.py", ["-i", str(absent)], 3),
    ):
        done = run(script, *words)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert done.stderr.startswith(f"{script}: ")
        assert len(done.stderr.splitlines()) == 1
