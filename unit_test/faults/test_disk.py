"""A center whose disk is full: one line, and the cluster goes on; it recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit_test.faults.history import faults_of
from unit_test.faults.stage import CALM, Stage
from unit_test.interop.clusters import wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]

DISK_KIB = 256


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stage]:
    """Give centers with small disks of their own, and a client that calls."""
    with Stage(tmp_path, settings=CALM, disk_kib=DISK_KIB) as stage:
        stage.populate()
        yield stage


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_full_disk_of_one_center_stops_nobody_else(stage: Stage, role: str) -> None:
    leader = stage.leader()
    victim = leader if role == "leader" else stage.others(leader)[0]
    others = stage.others(victim)
    log = stage.folder / f"center-{victim}.log"
    stage.fill_disk(victim)
    with stage.beacon() as first, stage.beacon() as second:
        stage.register(first, others[0], others)
        stage.register(second, others[0], others)
        wait_until(lambda: "No space left on device" in log.read_text(), what=log.read_text())
        stage.free_disk(victim)
        after = stage.leader()
        stage.register(second, after, stage.ids)
    wait_until(lambda: "disk writes again" in log.read_text(), what=log.read_text())
    errors = [line for line in log.read_text().splitlines() if " ERROR " in line]
    assert len(errors) == 1, errors
    history = stage.history()
    assert faults_of(history) == []
    assert [call.failure for call in history.calls if call.failure] == []
