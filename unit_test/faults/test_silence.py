"""Four of ten servers fall silent at once, and some time later come back or do not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc.core.clustermap import ServerState
from unit_test.faults.history import faults_of
from unit_test.faults.stage import CALM, Stage
from unit_test.interop.clusters import wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]

SUSPECT_MAX_S = 2.5
EXPIRY_S = 1.5


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stage]:
    """Give centers that suspect for a short while only."""
    settings = f"suspect_max_s = {SUSPECT_MAX_S}\nexpiry_s = {EXPIRY_S}\n{CALM}"
    with Stage(tmp_path, settings=settings) as stage:
        yield stage


def test_a_mass_of_silent_servers_is_suspected_then_dropped_and_disturbs_no_call(
    stage: Stage,
) -> None:
    _, living = stage.flock(6, "Echo")
    frozen, silent = stage.flock(4, "Other")
    stage.leader()
    stage.await_servers(*living, *silent)
    stage.call()
    frozen.signal(signal.SIGSTOP)

    def suspected() -> bool:
        maps = [stage.map(each) for each in stage.ids]
        return all(
            found is not None
            and {s.address for s in found.servers if s.state is ServerState.SUSPECT} == set(silent)
            and len(found.servers) == len(living) + len(silent)
            for found in maps
        )

    wait_until(suspected, what=f"four suspects\n{stage.logs()}")
    stage.await_servers(*living)
    frozen.signal(signal.SIGCONT)
    stage.await_servers(*living, *silent)
    history = stage.history()
    assert faults_of(history) == []
    assert len(history.calls) > 100
    assert [call.failure for call in history.calls if call.failure] == []
