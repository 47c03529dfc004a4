"""Centers far apart: whatever is said to one of them takes its time, through a relay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit_test.faults.stage import CALM, Stage
from unit_test.faults.trials import kill

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

DELAY_MS = 40
RELAY = "relay"


class Distant(Stage):
    """Centers that are listed with the address of a relay, which each is really behind."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=CALM, hosts=(RELAY,))
        self.peer_port = {each: 7000 + each for each in self.ids}
        self.client_port = {each: 7100 + each for each in self.ids}
        self._write_list()

    def host(self, center: int) -> str:
        return f"192.0.2.{len(self.ids) + 2}"

    def words(self, center: int, **options: str) -> list[str]:
        behind = f"192.0.2.{center}"
        config = self.folder / f"center-{center}.ini"
        config.write_text(
            f"[center]\nsecurity = none\n{CALM}peer_bind = {behind}\nclient_bind = {behind}\n"
        )
        return super().words(center, config=str(config))

    def start_all(self) -> None:
        links = [
            f"{self.host(each)}:{port}=192.0.2.{each}:{port}"
            for each in self.ids
            for port in (self.peer_port[each], self.client_port[each])
        ]
        if not self._observers:
            relay = self.spawn("relay", "relay", str(DELAY_MS), *links, host=RELAY)
            self._observers.append(relay)
            assert relay.first_line() == "relaying"
        super().start_all()


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stage]:
    """Give centers that are 40 ms away from everybody, each way."""
    with Distant(tmp_path) as stage:
        stage.populate()
        yield stage


def test_centers_far_apart_keep_their_leader_and_replace_a_dead_one(stage: Stage) -> None:
    leader = stage.leader()
    epoch = stage.epoch(leader)
    for _ in range(3):
        with stage.beacon() as beacon:
            stage.register(beacon, leader, stage.ids)
    assert (stage.leader(), stage.epoch(leader)) == (leader, epoch)
    trial = kill(stage)
    assert trial.faults == []
    assert (trial.two_surely_ms, trial.leader_changes, trial.failed) == (0.0, 1, 0)
