"""A center whose disk fails leads nobody, follows nobody, says so once, and comes back."""

from __future__ import annotations

import pytest

from center.core.ballot import State
from center.core.events import ServerReport
from center.core.messages import Report
from center.core.record import Record
from unit_test.center_core.pump import Pump


def report(number: int) -> Report:
    return Report(f"10.0.0.{number}:80", ("s.S",))


def started(count: int = 3) -> Pump:
    pump = Pump(count)
    pump.start()
    pump.settle()
    pump.run(0.2)
    return pump


def others(pump: Pump, center: int) -> list[int]:
    return [each for each in pump.voters.ids if each != center]


def addresses(pump: Pump, center: int) -> list[str]:
    return [entry.address for entry in pump.map_of(center).servers]


def test_a_leader_that_cannot_write_gives_way_and_maps_go_on() -> None:
    pump = started()
    leader = pump.leader()
    pump.hosts[leader].disk_fails = True
    pump.feed(leader, ServerReport(report(1)))
    took_s = pump.run_until(lambda: pump.leaders() not in ([], [leader]))
    assert took_s < 1.0
    successor = pump.leader()
    pump.feed(successor, ServerReport(report(2)))
    pump.run(0.2)
    for center in others(pump, leader):
        assert "10.0.0.2:80" in addresses(pump, center)
    assert pump.states()[leader] is State.OBSERVING
    waiting = pump.node(leader).snapshot(pump.now_s).waiting
    assert waiting == "its state cannot be written: no space left"


@pytest.mark.parametrize("leads", [True, False])
def test_it_says_so_once_and_does_not_waver(leads: bool) -> None:
    pump = started()
    victim = pump.leader() if leads else others(pump, pump.leader())[0]
    pump.hosts[victim].disk_fails = True
    pump.feed(pump.leader(), ServerReport(report(1)))
    pump.run(2.0)
    host = pump.hosts[victim]
    assert len([text for text in host.logs if "not written" in text]) == 1
    host.roles.clear()
    pump.run(10.0)
    assert host.roles == []
    assert len(pump.leaders()) == 1
    assert pump.leader() != victim


@pytest.mark.parametrize("leads", [True, False])
def test_it_follows_again_when_the_disk_writes_again(leads: bool) -> None:
    pump = started()
    victim = pump.leader() if leads else others(pump, pump.leader())[0]
    pump.hosts[victim].disk_fails = True
    pump.feed(pump.leader(), ServerReport(report(1)))
    pump.run(3.0)
    assert pump.states()[victim] is State.OBSERVING
    pump.hosts[victim].disk_fails = False
    pump.run_until(lambda: pump.states()[victim] is State.FOLLOWING, limit_s=1.5)
    pump.run(0.2)
    assert pump.settled()
    assert [text for text in pump.hosts[victim].logs if "disk writes again" in text] != []
    assert pump.node(victim).snapshot(pump.now_s).waiting == ""


def test_a_short_trouble_changes_no_leader() -> None:
    pump = started()
    leader, epoch = pump.leader(), pump.map_of(1).epoch
    pump.hosts[leader].disk_fails = True
    pump.feed(leader, ServerReport(report(1)))
    pump.run(0.3)
    pump.hosts[leader].disk_fails = False
    pump.run(1.0)
    assert addresses(pump, leader) == ["10.0.0.1:80"]
    assert (pump.leader(), pump.map_of(1).epoch) == (leader, epoch)


def test_without_a_disk_that_writes_nobody_leads_and_the_old_map_is_served() -> None:
    pump = started()
    stamp = pump.node(1).snapshot(pump.now_s).stamp
    for host in pump.hosts.values():
        host.disk_fails = True
    pump.feed(pump.leader(), ServerReport(report(1)))
    pump.run(10.0)
    assert pump.leaders() == []
    assert {pump.node(each).snapshot(pump.now_s).stamp for each in pump.hosts} == {stamp}
    for host in pump.hosts.values():
        host.disk_fails = False
    pump.settle()


def test_a_single_center_leads_again_by_itself() -> None:
    pump = started(1)
    pump.hosts[1].disk_fails = True
    pump.feed(1, ServerReport(report(1)))
    pump.run(5.0)
    assert pump.states() == {1: State.LOOKING}
    assert len(pump.hosts[1].logs) < 12
    pump.hosts[1].disk_fails = False
    pump.run_until(lambda: pump.leaders() == [1], limit_s=1.5)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_disk_that_is_tried_makes_no_memory_of_none(damaged: bool) -> None:
    pump = started()
    victim = others(pump, pump.leader())[0]
    host = pump.hosts[victim]
    pump.kill(victim)
    pump.wipe(victim)
    host.disk_fails = True
    pump.start(victim, damaged=damaged)
    pump.run(3.0)
    pump.isolate(victim)
    pump.run(1.0)
    host.disk_fails = False
    pump.run(3.0)  # it writes what it has, which is nothing
    assert host.record is not None
    assert not host.record.says_something
    pump.kill(victim)
    pump.start(victim)
    pump.run(1.0)
    assert not pump.node(victim).snapshot(pump.now_s).votes
    pump.heal()
    pump.run(2.0)
    assert pump.settled()
    assert pump.node(victim).snapshot(pump.now_s).votes


def test_a_single_center_of_damaged_state_does_not_begin_anew_by_itself() -> None:
    pump = Pump(1)
    pump.with_record(1, forgot=True)  # what a damaged one writes when it tries its disk
    pump.start(1)
    pump.run(3.0)
    assert pump.leaders() == []
    pump.with_record(1, forgot=False)
    pump.start(1)
    pump.run_until(lambda: pump.leaders() == [1])
    assert pump.hosts[1].record != Record()
