"""Centers that cannot come together say why, in their logs and to `libevrpc status`."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit_test.fix_net import free_ports
from unit_test.interop.clusters import Cluster, Process, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


def says(cluster: Cluster, center: int, text: str) -> None:
    """Wait until the log of a center has `text`."""
    log = cluster.folder / f"center-{center}.log"
    wait_until(lambda: text in log.read_text(), what=f"center {center}: {text}")


def test_empty_centers_say_for_whom_they_wait(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.ids = [1, 2]
    with cluster:
        address = f"127.0.0.1:{cluster.peer_port[3]}"
        for center in cluster.ids:
            says(cluster, center, f"2 of 3 centers heard, waiting for center 3 ({address})")
            status = cluster.status(center)
            assert status is not None
            assert address in status.waiting
        cluster.restart(3)
        cluster.leader()

        def waits_no_more() -> bool:
            status = cluster.status(1)
            return status is not None and status.waiting == ""

        wait_until(waits_no_more, what=cluster.logs())


def test_centers_with_different_lists_name_each_other(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    listed = cluster.list_path.read_text()
    moved = tmp_path / "moved_list"
    ports = free_ports(2)
    moved.write_text(
        listed.replace("1 127.0.0.1", "1 127.0.0.5") + f"4 127.0.0.1 {ports[0]} {ports[1]}\n"
    )
    cluster.ids = [2, 3]
    with cluster:
        for center in (1, 4):
            words = cluster.words(center, centers_list=str(moved))
            cluster.processes[center] = Process(words, tmp_path / f"center-{center}.log")
            cluster.processes[center].first_line()
        says(cluster, 2, "center 1 at 127.0.0.1 has another centers list")
        says(cluster, 2, "message of center 4 at 127.0.0.1, which is not in the list")
        for center in (1, 4):
            address = f"127.0.0.1:{cluster.peer_port[2]}"
            says(cluster, center, f"center 2 at {address} does not answer")
