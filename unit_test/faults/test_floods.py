"""Junk, ten thousand messages a second on each port of the leading center, for a while."""

from __future__ import annotations

import re

import pytest

from libevrpc.clock import monotonic_s
from unit_test.faults.history import faults_of, reigns_of
from unit_test.faults.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

MESSAGES_PER_S = 10_000
SECONDS = 3
JUNK_LINES_MAX = 60
"""Lines that a flood of one kind may cost: the first, and one for each thousand messages."""


def test_calls_and_maps_go_on_while_both_ports_of_the_leader_are_flooded(stage: Stage) -> None:
    leader = stage.leader()
    epoch = stage.epoch(leader)
    log = stage.folder / f"center-{leader}.log"
    peer = f"{stage.host(leader)}:{stage.peer_port[leader]}"
    client = stage.address(leader)
    before_s = monotonic_s()
    flood = stage.spawn("flood", "flood", peer, client, str(MESSAGES_PER_S), str(SECONDS))
    try:
        flood.first_line()
        for _ in range(5):
            with stage.beacon() as beacon:
                stage.register(beacon, stage.others(leader)[0], stage.ids)
        sent = [int(count) for count in flood.first_line().split()]
    finally:
        flood.end()
    seen = stage.history().between(before_s)
    assert min(sent) >= MESSAGES_PER_S * SECONDS, sent
    assert {reign.epoch for reign in reigns_of(seen)} == {epoch}
    assert stage.leader() == leader
    assert faults_of(stage.history()) == []
    assert [call.failure for call in seen.calls if call.failure] == []
    said = log.read_text()
    assert "Traceback" not in said
    assert len(re.findall(r"junk|is not in the list|refused", said)) <= JUNK_LINES_MAX, said
