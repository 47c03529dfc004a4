"""The list of centers changes by the procedure of docs/election.md, under the load of a client."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import TracebackType

import pytest

from libevrpc import RpcClient, RpcError
from unit_test.interop.clusters import CALM, Cluster, Process, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


PAUSE_S = 0.002
"""Between two calls: enough of them to be hit by whatever fails, and time for the others."""
GONE_S = 1.0
"""The ten seconds of the procedure, on one machine: so long ago was heard who was stopped."""


class Load:
    """A client that calls all the time, from `with` to its end."""

    def __init__(self, cluster: Cluster) -> None:
        self._client = RpcClient(cluster.target(), state_dir=str(cluster.folder / "client"))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.calls = 0
        self.failures: list[RpcError] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                assert self._client.call("Echo.echo", str(self.calls)) == str(self.calls)
            except RpcError as exc:
                self.failures.append(exc)
            self.calls += 1
            self._stopping.wait(PAUSE_S)

    def servers(self) -> int:
        """How many servers the client knows."""
        return len(self._client.endpoints("Echo"))


def change(cluster: Cluster, generation: int, ids: list[int]) -> None:
    """Follow the written procedure, step by step."""
    leaving = [each for each in cluster.ids if each not in ids]
    staying = [each for each in cluster.ids if each in ids]
    for center in leaving:
        cluster.stop(center)
    wait_until(lambda: agreed(cluster, staying, leaving), what=f"step 2\n{cluster.logs()}")
    cluster.relist(generation, ids)
    for center in staying:
        cluster.stop(center)
        cluster.restart(center)
    for center in ids:
        if center not in staying:
            shutil.rmtree(cluster.folder / f"data-{center}", ignore_errors=True)
            cluster.restart(center)
    cluster.leader()


def agreed(cluster: Cluster, staying: list[int], leaving: list[int]) -> bool:
    """See whether those that stay have one leader, one of them, and one map, and heard no other."""
    seen = [status for each in staying if (status := cluster.status(each)) is not None]
    heads = {(each.leader, each.map_epoch, each.version) for each in seen}
    late = [view.last_heard_s for each in seen for view in each.centers if view.id in leaving]
    return (
        len(seen) == len(staying)
        and len(heads) == 1
        and seen[0].leader in staying
        and all(heard_s < 0 or heard_s >= GONE_S for heard_s in late)
    )


@pytest.mark.parametrize(
    "steps",
    [
        [[1, 2, 4]],
        [[1, 2, 3, 4, 5], [3, 4, 5]],
        [[1, 2, 3, 4], [2, 3, 4]],
    ],
    ids=["replace", "grow_and_shrink", "one_by_one"],
)
def test_calls_go_on_while_the_list_changes(tmp_path: Path, steps: list[list[int]]) -> None:
    with Cluster(tmp_path) as cluster:
        epoch = cluster.epoch(cluster.leader())
        one, two = cluster.server()[1], cluster.server()[1]
        cluster.await_servers(one, two)
        with Load(cluster) as load:
            for generation, ids in enumerate(steps, 2):
                change(cluster, generation, ids)
                after = cluster.epoch(cluster.leader())
                assert after > epoch, "a new list is a new reign"
                epoch = after
                cluster.await_servers(one, two)
            _, three = cluster.server()
            cluster.await_servers(one, two, three)
            wait_until(lambda: load.servers() == 3, what="the client follows the new list")
            counted = load.calls
            wait_until(lambda: load.calls > counted + 100)
        assert not load.failures


@pytest.mark.alone  # its leader must stay
def test_a_center_that_comes_back_with_the_old_list_changes_nothing(tmp_path: Path) -> None:
    with Cluster(tmp_path, settings=CALM) as cluster:
        cluster.leader()
        _, server = cluster.server()
        cluster.await_servers(server)
        old = cluster.words(3)
        change(cluster, 2, [1, 2, 4])
        leader = cluster.leader()
        epoch = cluster.epoch(leader)
        left = Process(old, tmp_path / "left.log")
        cluster.servers.append(left)
        left.first_line()
        wait_until(lambda: "center 3 at 127.0.0.1, which is not in the list" in cluster.logs())
        wait_until(lambda: cluster.status(3) is not None)
        assert cluster.leader() == leader
        assert cluster.epoch(leader) == epoch
        cluster.await_servers(server)


def test_a_center_of_an_earlier_change_counts_for_nothing_when_its_list_comes_again(
    tmp_path: Path,
) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.leader()
        old = cluster.words(3)
        change(cluster, 2, [1, 2, 4])
        cluster.relist(3, [1, 2, 3])
        process = cluster.launch(3)
        assert process.wait() == 2, "its disk is from before both changes"
        del cluster.processes[3]
        assert "comes back, starts with an empty folder" in cluster.logs()
        cluster.stop(4)
        cluster.stop(2)
        cluster.restart(2)
        left = Process(old, tmp_path / "left.log")
        cluster.servers.append(left)
        left.first_line()
        wait_until(lambda: "center 3 at 127.0.0.1 has another centers list" in cluster.logs())
        status = cluster.status(2)
        assert status is not None
        assert not status.leader, "the list of the first generation is not that of the third"


def test_a_list_that_was_edited_by_mistake_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.leader()
        cluster.stop(3)
        cluster.relist(1, [1, 2, 3, 4])
        process = cluster.launch(3)
        assert process.wait() == 2
        del cluster.processes[3]
        assert "if the list was changed on purpose, list_generation = 2" in cluster.logs()
        assert cluster.leader() in (1, 2)


def test_one_center_grows_to_three(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        epoch = cluster.epoch(cluster.leader())
        _, server = cluster.server()
        cluster.await_servers(server)
        with Load(cluster) as load:
            cluster.relist(2, [1, 2, 3])
            cluster.stop(1)
            cluster.restart(1)
            log = tmp_path / "center-2.log"
            cluster.processes[2] = Process([*cluster.words(2), "--new-cluster"], log)
            cluster.processes[2].first_line()
            cluster.restart(3)
            assert cluster.epoch(cluster.leader()) > epoch
            cluster.stop(2)
            cluster.restart(2)  # without the option
            cluster.leader()
            cluster.await_servers(server)
        assert load.calls
        assert not load.failures
