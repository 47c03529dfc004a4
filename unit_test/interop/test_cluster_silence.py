"""Centers that cannot come together say why, in their logs and to `libevrpc status`."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit_test.interop.clusters import Cluster, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]


def says(cluster: Cluster, center: int, text: str) -> None:
    """Wait until the log of a center has `text`."""
    log = cluster.folder / f"center-{center}.log"
    wait_until(lambda: text in log.read_text(), what=f"{text}\n{cluster.logs()}")


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
        status = cluster.status(1)
        assert status is not None
        assert status.waiting == ""
