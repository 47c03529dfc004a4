"""The demo's observer: what it sees, what it objects to, what it concludes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from libevrpc import RpcError, RpcServer, StatusCode
from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ClusterMap, ServerEntry
from libevrpc.gen import center_pb2
from libevrpc.server.servicer import service_base
from tools.demo_observer import Counts, Findings, Observer, judge
from unit_test.fix_rpc import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
Base: Any = service_base(center_pb2.DESCRIPTOR.services_by_name["Center"])
GOOD = Findings([120.0], [40.0], 9000)
CALLS = Counts(started=30_000, returned=30_000)


def a_map(epoch: int, version: int, *ports: int, cluster_id: str = "c") -> bytes:
    servers = tuple(ServerEntry(f"127.0.0.1:{port}", ("x.Y",)) for port in ports)
    return ClusterMap(cluster_id, epoch, version, servers).encode()


class FakeCenter(Base):
    """Serves the map that a test wants, newer or not."""

    def __init__(self) -> None:
        self.map = b""
        self.failing = False

    def pull(self, request: Any) -> center_pb2.PullResponse:
        if self.failing:
            raise RpcError(StatusCode.UNAVAILABLE, "restarted")
        return center_pb2.PullResponse(map=self.map)


@pytest.fixture
def centers() -> Iterator[list[tuple[FakeCenter, str]]]:
    """Give two centers and their addresses."""
    first, second = FakeCenter(), FakeCenter()
    with RpcServer("127.0.0.1:0") as one, RpcServer("127.0.0.1:0") as two:
        one.add_service(first)
        two.add_service(second)
        yield [(first, one.address), (second, two.address)]


@pytest.fixture
def observer(centers: list[tuple[FakeCenter, str]]) -> Iterator[Observer]:
    """Give an observer of both."""
    observer = Observer({1: centers[0][1], 2: centers[1][1]})
    yield observer
    observer.close()


@pytest.mark.live
def test_a_newer_epoch_and_a_gone_server_have_their_moment(
    centers: list[tuple[FakeCenter, str]], observer: Observer
) -> None:
    (first, _), (second, _) = centers
    first.map = second.map = a_map(1, 1, 5, 6)
    assert observer.settled({"127.0.0.1:5", "127.0.0.1:6"}, [1, 2], 5.0)
    assert not observer.settled({"127.0.0.1:5"}, [1, 2], 0.01)
    second.map = a_map(1, 2, 5)
    wait_until(lambda: observer.newest == (1, 2))
    assert not observer.settled({"127.0.0.1:5"}, [1, 2], 0.01)  # the first knows of two
    began_s = monotonic_s()
    second.map = a_map(2, 1, 5, 6)
    served_s = observer.newer_epoch(1, [1, 2], 5.0)
    assert served_s is not None
    assert began_s < served_s <= monotonic_s()
    second.map = a_map(2, 2, 5)
    assert observer.gone("127.0.0.1:6", [1, 2], 0.05) is None  # the first still names it
    first.map = second.map
    assert observer.gone("127.0.0.1:6", [1, 2], 5.0) is not None
    assert observer.newest == (2, 2)
    assert observer.violations == []


@pytest.mark.live
def test_a_center_that_goes_back_and_two_maps_of_one_stamp_are_violations(
    centers: list[tuple[FakeCenter, str]], observer: Observer
) -> None:
    (first, _), (second, _) = centers
    first.map = a_map(2, 7, 5)
    assert observer.newer_epoch(1, [1], 5.0) is not None
    second.map = a_map(2, 7, 6)
    wait_until(lambda: "two different maps of epoch, version (2, 7)" in observer.violations)
    first.map = a_map(2, 6, 5)
    wait_until(lambda: "center 1 went back from (2, 7) to (2, 6)" in observer.violations)
    second.map = b"junk"
    wait_until(lambda: "unreadable" in observer.violations[-1])


@pytest.mark.live
def test_a_center_that_goes_back_over_a_restart_is_a_violation(
    centers: list[tuple[FakeCenter, str]], observer: Observer
) -> None:
    (first, _), (second, _) = centers
    first.map = second.map = a_map(5, 3, 5)
    assert observer.settled({"127.0.0.1:5"}, [1, 2], 5.0)
    first.failing = True
    wait_until(lambda: observer.serving[1] is None)
    assert not observer.settled({"127.0.0.1:5"}, [1, 2], 0.01)
    first.map = a_map(4, 1, 5)
    first.failing = False
    wait_until(lambda: observer.violations)
    # each time that it is served, which is again and again
    assert set(observer.violations) == {"center 1 went back from (5, 3) to (4, 1)"}


STAGE = """
import sys
from pathlib import Path
from tools.demo_stage import Process
code = "import signal; print('up', flush=True); signal.pause()"
child = Process("child", ["-c", code], Path(sys.argv[1]))
child.first_line()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.live
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children")
def test_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STAGE, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as demo:
        assert demo.stdout is not None
        pid = int(demo.stdout.readline())
        fd = os.pidfd_open(pid)
        try:
            demo.kill()
            demo.wait()
            ended, _, _ = select.select([fd], [], [], 10.0)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
        assert ended


@pytest.mark.live
def test_counts_are_followed_to_the_end(observer: Observer) -> None:
    lines: SimpleQueue[str | None] = SimpleQueue()
    observer.listen(lines)
    lines.put(json.dumps({"returned": 5, "started": 6, "at_s": 10.0}))
    lines.put(json.dumps({"returned": 8, "started": 9, "at_s": 11.0}))
    assert observer.counted_at(10.5).returned == 8
    lines.put(json.dumps({"returned": 7, "started": 9, "at_s": 12.0}))
    lines.put(None)
    assert observer.final_counts(5.0).returned == 7
    assert observer.violations == ["the client's counts went back"]


def test_a_good_run_has_no_complaint() -> None:
    line, complaints = judge(GOOD, CALLS, [], 4)
    assert complaints == []
    assert json.loads(line) == {
        "calls": 30_000,
        "failed": 0,
        "leader_failover_ms": 120.0,
        "dead_server_out_of_map_ms": 40.0,
        "calls_without_centers": 9000,
        "epoch": 4,
    }


@pytest.mark.parametrize(
    ("findings", "counts", "violations", "said"),
    [
        (GOOD, Counts(started=30_000, returned=30_000, failed=1), [], "1 calls failed"),
        (GOOD, Counts(started=30_001, returned=30_000), [], "1 calls failed"),
        (GOOD, Counts(started=19_999, returned=19_999), [], "fewer than 20000"),
        (Findings([120.0, 500.0], [40.0], 1), CALLS, [], "leader failover: 500.0 ms"),
        (Findings([], [40.0], 1), CALLS, [], "leader failover: None"),
        (Findings([120.0], [1000.0], 1), CALLS, [], "out of the map: 1000.0 ms"),
        (Findings([120.0], [40.0], 0), CALLS, [], "without centers"),
        (Findings([120.0], [40.0], 1, ["fell"]), CALLS, [], "fell"),
        (GOOD, CALLS, ["went back"], "went back"),
    ],
)
def test_anything_less_is_a_complaint(
    findings: Findings, counts: Counts, violations: list[str], said: str
) -> None:
    _, complaints = judge(findings, counts, violations, 4)
    assert len(complaints) == 1
    assert said in complaints[0]
