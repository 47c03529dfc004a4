"""First boots, wiped and damaged disks, other lists and other clusters."""

from __future__ import annotations

from center.core.ballot import State
from center.core.messages import (
    Inquiry,
    Introduction,
    Put,
    Report,
)
from center.core.record import MapRecord
from libevrpc.core.clustermap import ClusterMap
from unit_test.center_core.bench import DIGEST, Bench, said
from unit_test.center_core.pump import Pump, voters_of

REPORT = Report("10.0.0.1:80", ("echo.EchoService",))


def started(count: int = 3, **options: object) -> Pump:
    pump = Pump(count, **options)  # type: ignore[arg-type]
    pump.start()
    pump.settle()
    return pump


def others(pump: Pump, *but: int) -> list[int]:
    return [each for each in pump.voters.ids if each not in but]


# Elections


def test_an_empty_center_does_not_vote_while_others_are_unheard() -> None:
    pump = Pump(3)
    pump.start(1, 2)
    pump.run(3)
    assert pump.leaders() == []
    assert not pump.node(1).snapshot(pump.now_s).votes
    pump.start(3)
    pump.settle()


def test_told_that_the_cluster_is_new_a_quorum_is_enough() -> None:
    pump = Pump(3)
    pump.start(1, 2, new_cluster=True)
    pump.run_until(lambda: len(pump.leaders()) == 1, 1.0)


def test_a_wiped_center_does_not_help_to_lose_what_it_forgot() -> None:
    pump = started(3)
    leader = pump.leader()
    wiped, gone = others(pump, leader)
    pump.kill(leader)
    pump.kill(gone)
    pump.kill(wiped)
    pump.wipe(wiped)
    pump.start(wiped, leader)
    pump.run(5)
    assert pump.leaders() == []
    pump.start(gone)
    pump.settle()
    assert pump.node(wiped).snapshot(pump.now_s).votes


def test_a_damaged_record_is_not_a_new_cluster() -> None:
    pump = Pump(3)
    pump.start(1, 2)
    pump.start(3, damaged=True)
    pump.run(3)
    assert pump.leaders() == []


def test_a_damaged_lone_center_waits_for_its_operator() -> None:
    pump = Pump(1)
    pump.start(1, damaged=True)
    pump.run(1)
    assert pump.leaders() == []
    pump.start(1, damaged=True, new_cluster=True)
    pump.settle()


def test_an_empty_center_joins_only_a_leader_that_the_others_know_no_better_of() -> None:
    pump = started(3)
    leader = pump.leader()
    wiped = others(pump, leader)[0]
    pump.kill(wiped)
    pump.wipe(wiped)
    third = others(pump, leader, wiped)[0]
    pump.cut = {(third, wiped), (wiped, third)}
    pump.start(wiped)
    pump.run(2)
    assert pump.states()[wiped] is not State.FOLLOWING
    pump.heal()
    pump.settle(2.0)


def test_promises_of_a_first_boot_that_was_broken_off_bind_and_block_nobody() -> None:
    pump = Pump(3)
    pump.with_record(1, accepted_epoch=4)
    pump.start(2)
    pump.run(0.5)
    assert not pump.node(2).snapshot(pump.now_s).votes
    pump.start(1, 3)
    leader = pump.settle(1.0)
    assert pump.map_of(leader).epoch == 5
    assert all(pump.node(each).snapshot(pump.now_s).votes for each in pump.voters.ids)


def test_an_empty_center_whose_disk_fails_does_not_vote_below_what_others_promised() -> None:
    pump = Pump(3)
    pump.with_record(1, accepted_epoch=4)
    pump.hosts[2].disk_fails = True
    pump.start()
    pump.run(1)
    assert not pump.node(2).snapshot(pump.now_s).votes
    pump.hosts[2].disk_fails = False
    pump.settle(4.0)
    assert pump.node(2).snapshot(pump.now_s).votes


def test_a_candidates_unheard_epoch_counts_for_an_empty_center() -> None:
    bench = Bench()
    epoch = bench.stands()
    answer = said(bench.hear(2, Inquiry(0, DIGEST, 0)), Introduction)
    assert answer[0].accepted_epoch == epoch


def test_a_wiped_center_that_restarts_before_it_has_a_map_does_not_vote() -> None:
    pump = started(3)
    leader = pump.leader()
    wiped = others(pump, leader)[0]
    pump.kill(wiped)
    pump.wipe(wiped)
    pump.lose = lambda sender, to, body: isinstance(body, Put)
    pump.start(wiped)
    pump.run(1)
    assert pump.states()[wiped] is State.FOLLOWING
    pump.kill(wiped)
    pump.start(wiped)
    assert not pump.node(wiped).snapshot(pump.now_s).votes
    pump.lose = lambda sender, to, body: False
    pump.settle(2.0)
    assert pump.node(wiped).snapshot(pump.now_s).votes


# Lists and clusters


def test_the_name_drawn_by_a_leader_who_commits_nothing_keeps_nobody_out() -> None:
    pump = Pump(3)
    pump.start(3, new_cluster=True)
    unborn = MapRecord(1, 1, (0, 0), ClusterMap("unborn", 1, 1).encode())
    pump.kill(3)
    pump.with_record(3, cluster_id="unborn", accepted_epoch=1, map=unborn)
    pump.with_record(1, accepted_epoch=1)
    pump.start(1, 2, new_cluster=True)
    pump.run_until(lambda: pump.leaders() == [2], 1.0)
    pump.run(0.5)
    pump.start(3)
    pump.settle(2.0)
    assert pump.map_of(3).cluster_id == pump.map_of(1).cluster_id != "unborn"


def test_a_center_with_another_list_counts_for_nothing_and_is_named() -> None:
    pump = Pump(3)
    pump.start(1, 2, new_cluster=True)
    pump.run(1)
    leader = pump.leader()
    pump.start(3, new_cluster=True, voters=voters_of(3, "0ther"))
    pump.run(3)
    assert pump.leader() == leader
    assert pump.states()[3] is not State.FOLLOWING
    assert any("center 3 has another centers list" in line for line in pump.hosts[leader].logs)
    assert sum("another centers list" in line for line in pump.hosts[leader].logs) == 1
    seen = pump.node(leader).snapshot(pump.now_s).centers
    assert [each.trouble for each in seen] == ["", "", "another centers list"]
    pump.kill(3)
    pump.start(3, voters=pump.voters)
    pump.run(3)
    assert not any(each.trouble for each in pump.node(leader).snapshot(pump.now_s).centers)


def test_a_center_of_another_cluster_is_not_taken_over() -> None:
    pump = started(3)
    pump.run(0.1)
    leader = pump.leader()
    pump.kill(1)
    pump.with_record(1, cluster_id="f0reign")
    pump.start(1)
    pump.run(2)
    assert pump.leader() == leader
    assert pump.states()[1] is not State.FOLLOWING
    assert any("belongs to cluster" in line for line in pump.hosts[1].logs)


# Links and lag
