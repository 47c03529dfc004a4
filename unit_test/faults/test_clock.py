"""The wall clock of a center, the leader's too, jumps an hour ahead and back: nobody notices."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from libevrpc.clock import monotonic_s
from unit_test.faults.history import faults_of, reigns_of
from unit_test.faults.stage import Stage
from unit_test.fix_services import REQUIRED, require
from unit_test.interop.clusters import wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

HOUR_S = 3600
SLOW = "lease_s = 1.5\npatience_s = 2\n"
"""Each look at a clock reads a file here."""


class Stepped(Stage):
    """Centers that each have a wall clock to be stepped."""

    preload = ""

    def clock(self, center: int) -> Path:
        """Return the file that says by how much a center's clock is off."""
        return self.folder / f"clock-{center}"

    def around(self, center: int) -> list[str]:
        self.clock(center).write_text("+0\n")
        fake = [f"FAKETIME_TIMESTAMP_FILE={self.clock(center)}"]
        if self.preload:
            fake += [f"LD_PRELOAD={self.preload}", "FAKETIME_NO_CACHE=1"]
            fake += ["FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]
        return [*super().around(center), "env", *fake]

    def words(self, center: int, **options: str) -> list[str]:
        words = super().words(center, **options)
        return words if self.preload else ["-m", "unit_test.faults.stepped_center", *words[2:]]

    def step(self, center: int, seconds: int) -> None:
        """Let a center's wall clock be off by so much from now on."""
        self.clock(center).write_text(f"{seconds:+d}\n")


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stepped]:
    """Give centers under the faketime library; without it, such that are patched in Python."""
    made = Stepped(tmp_path, settings=SLOW)
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if found:
        made.preload = str(found[0])
    elif os.environ.get(REQUIRED) == "required":
        require("libfaketime")
    with made as stage:
        stage.populate()
        yield stage


def ahead(stage: Stage, center: int) -> timedelta:
    """Return by how much the center's own time of the last line that has one was off."""
    log = stage.folder / f"center-{center}.log"
    text, written_s = log.read_text(), os.stat(log).st_mtime
    told = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text, re.MULTILINE)
    logged = datetime.strptime(told[-1], "%Y-%m-%d %H:%M:%S").astimezone()
    return logged - datetime.fromtimestamp(written_s).astimezone()


def test_a_wall_clock_that_jumps_changes_nothing(stage: Stepped) -> None:
    leader = stage.leader()
    epoch = stage.epoch(leader)
    since_s = monotonic_s()
    for seconds in (HOUR_S, -HOUR_S, 0):
        for center in stage.ids:
            stage.step(center, seconds)
            with stage.beacon() as beacon:
                stage.register(beacon, leader, stage.ids)
    seen = stage.history().between(since_s)
    assert {reign.epoch for reign in reigns_of(seen)} == {epoch}
    assert faults_of(seen) == []
    assert [call.failure for call in seen.calls if call.failure] == []
    # The steps were felt: the log of a center that now loses its leader is an hour ahead.
    follower = stage.others(leader)[0]
    stage.step(follower, HOUR_S)
    stage.kill(leader)
    wait_until(lambda: stage.epoch(follower) > epoch, what=stage.logs())
    hour, slack = timedelta(seconds=HOUR_S), timedelta(minutes=5)
    # a thread of its own writes the log, at its leisure
    wait_until(lambda: abs(ahead(stage, follower) - hour) < slack, what=stage.logs())
