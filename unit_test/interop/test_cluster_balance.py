"""Load moves virtual nodes: reports of real servers under real calls reach the assignment."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from libevrpc import RpcClient
from unit_test.interop.clusters import WAIT_S, Cluster, wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]
REPORT_S = 0.2
"""A fifth of the usual period, so that what takes a minute takes a fifth of it."""
SETTINGS = f"report_s = {REPORT_S}\nslow_start_s = 0\n"
ROUNDS = 60
CALLERS = 4


def shares(cluster: Cluster) -> dict[str, float]:
    """Return the share of the slots that each server owns."""
    published = cluster.map(1, "Work")
    if published is None or not published.tables:
        return {}
    table = published.tables[0]
    owned = Counter(memoryview(table.owners).cast("H"))
    return {
        published.servers[member].address: owned[index] * 2 / len(table.owners)
        for index, member in enumerate(table.members)
    }


def test_server_slowed_to_half_loses_about_half_of_its_slots(tmp_path: Path) -> None:
    ended = threading.Event()
    with Cluster(tmp_path, centers=1, settings=SETTINGS) as cluster:
        words = (cluster.target(), str(tmp_path / "server-state"), str(REPORT_S))
        addresses = [cluster.program("load_process.py", *words)[1] for _ in range(3)]
        wait_until(lambda: sorted(shares(cluster)) == sorted(addresses), what=cluster.logs())
        state_dir = str(tmp_path / "client-state")
        with RpcClient(cluster.target(), balancer="vnode", state_dir=state_dir) as client:
            keys = count()

            def load() -> None:
                while not ended.is_set():
                    client.call("Work.do", key=str(next(keys)), timeout_s=WAIT_S)

            callers = [threading.Thread(target=load) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            slowed = addresses[0]
            try:
                wait_until(
                    lambda: min(shares(cluster).values(), default=0.0) > 0.27, 60.0, "equal shares"
                )
                before = shares(cluster)[slowed]
                with RpcClient(slowed) as direct:
                    direct.call("Work.slow", 0.5)
                # of three, the fair share of one at half speed is a fifth: 40 % less
                wait_until(
                    lambda: shares(cluster)[slowed] < 0.68 * before,
                    within_s=ROUNDS * REPORT_S,
                    what="slots of the slow server moved",
                )
            finally:
                ended.set()
                for caller in callers:
                    caller.join()
            assert shares(cluster)[slowed] > 0.3 * before
