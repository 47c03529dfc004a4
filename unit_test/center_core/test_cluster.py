"""Whole clusters: elections, handshakes, leases, cuts, disks and first boots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from center.core.ballot import State
from center.core.events import LinkDown, LinkUp, Message, ServerReport
from center.core.messages import (
    Acceptance,
    Confirmation,
    Ping,
    Proposal,
    Put,
    Report,
)
from center.core.record import MapRecord, Record
from center.core.timing import Timing
from unit_test.center_core.pump import Pump

REPORT = Report("10.0.0.1:80", ("echo.EchoService",))


def started(count: int = 3, **options: object) -> Pump:
    pump = Pump(count, **options)  # type: ignore[arg-type]
    pump.start()
    pump.settle()
    return pump


def others(pump: Pump, *but: int) -> list[int]:
    return [each for each in pump.voters.ids if each not in but]


# Elections


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_a_new_cluster_has_one_leader_and_a_committed_map(count: int) -> None:
    pump = Pump(count)
    pump.start()
    assert pump.settle(0.2) == count
    assert {pump.map_of(each).stamp for each in pump.voters.ids} == {(1, 1)}


def test_a_lone_centers_epoch_moves_with_each_start_and_is_durable() -> None:
    pump = started(1)
    pump.kill(1)
    pump.start()
    pump.settle()
    assert pump.hosts[1].record is not None
    assert pump.hosts[1].record.accepted_epoch == 2


def test_of_two_centers_both_are_needed() -> None:
    pump = started(2)
    pump.kill(pump.leader())
    pump.run(5)
    assert pump.leaders() == []


@pytest.mark.parametrize("kills", [1, 2, 3])
def test_leader_after_leader_may_be_killed_while_a_quorum_lives(kills: int) -> None:
    pump = started(7)
    for killed in range(1, kills + 1):
        pump.kill(pump.leader())
        pump.settle(0.1)
        assert pump.map_of(pump.leader()).epoch == killed + 1
    assert len(pump.states()) == 7 - kills


def test_without_a_quorum_nobody_leads_and_nothing_changes() -> None:
    pump = started(5)
    before = pump.map_of(1).stamp
    for each in (5, 4, 3):
        pump.kill(each)
    pump.run(5)
    assert pump.leaders() == []
    assert pump.map_of(1).stamp == before


def test_a_frozen_leader_is_replaced_and_gives_up_when_it_wakes() -> None:
    pump = started(3)
    old = pump.leader()
    pump.freeze(old, 3.0)
    pump.run_until(lambda: any(each != old for each in pump.leaders()), 0.8)
    assert not pump.node(old).may_claim(pump.now_s)
    pump.run(4)
    assert pump.settled()
    assert pump.leader() != old


def test_an_isolated_leader_stops_claiming_before_another_is_elected() -> None:
    pump = started(5)
    old = pump.leader()
    pump.isolate(old)
    claims = []

    def replaced() -> bool:
        claims.append(sum(pump.node(each).may_claim(pump.now_s) for each in pump.voters.ids))
        return any(each != old for each in pump.leaders())

    assert pump.run_until(replaced) < 0.8
    assert max(claims) == 1
    pump.heal()
    assert pump.settle() != old


def test_a_cut_follower_changes_no_leader_when_it_comes_back() -> None:
    pump = started(3)
    leader = pump.leader()
    pump.isolate(1)
    pump.run(10)
    assert pump.states()[1] is State.LOOKING
    pump.heal()
    pump.settle(0.3)
    assert pump.leader() == leader
    assert len([role for role in pump.hosts[leader].roles if role.state is State.LEADING]) == 1


def test_a_follower_cut_from_its_leader_serves_fresh_maps_through_the_third() -> None:
    pump = started(3)
    leader = pump.leader()
    follower = others(pump, leader)[0]
    pump.cut = {(leader, follower), (follower, leader)}
    pump.run(2)
    pump.feed(leader, ServerReport(REPORT))
    assert pump.run_until(lambda: len(pump.map_of(follower).servers) == 1) <= 1.0
    assert pump.leader() == leader
    assert pump.states()[follower] is State.LOOKING


@pytest.mark.parametrize("seed", range(20))
def test_no_map_is_older_than_a_second_from_the_moment_of_the_cut_on(seed: int) -> None:
    pump = started(3, seed=seed)
    leader = pump.leader()
    follower = others(pump, leader)[seed % 2]
    pump.cut = {(leader, follower)} | ({(follower, leader)} if seed % 3 else set())
    for count in range(1, 6):
        report = replace(REPORT, address=f"127.0.0.1:{7000 + count}")
        pump.feed(leader, ServerReport(report))
        pump.run_until(lambda want=count: len(pump.map_of(leader).servers) == want)
        late_s = pump.run_until(lambda want=count: len(pump.map_of(follower).servers) == want)
        assert late_s <= 1.0
    assert pump.leader() == leader


def test_one_way_when_pongs_are_lost_the_leader_gives_up_and_others_lead() -> None:
    pump = started(3)
    old = pump.leader()
    pump.cut = {(each, old) for each in others(pump, old)}
    pump.run_until(lambda: any(each != old for each in pump.leaders()), 2.0)
    pump.heal()
    pump.settle()


def test_one_way_a_center_whose_words_are_lost_disturbs_nobody() -> None:
    pump = started(3)
    leader = pump.leader()
    pump.cut = {(1, each) for each in others(pump, 1)}
    pump.run(3)
    assert pump.leader() == leader


def test_five_cut_into_two_two_and_one_publish_nothing() -> None:
    pump = started(5)
    groups = ((1, 2), (3, 4), (5,))
    for group in groups:
        pump.isolate(*group)
    pump.run(3)
    assert pump.leaders() == []
    pump.heal()
    pump.settle(3.0)


def test_a_late_center_with_a_bigger_id_follows_in_one_exchange() -> None:
    pump = Pump(3)
    pump.start(1, 2, new_cluster=True)
    pump.run_until(lambda: len(pump.leaders()) == 1)
    leader = pump.leader()
    pump.run(1)
    pump.start(3, new_cluster=True)
    pump.settle(0.3)
    assert pump.leader() == leader
    assert State.LEADING not in [role.state for role in pump.hosts[3].roles]


def test_all_centers_restarting_at_once_go_on_with_the_newest_map() -> None:
    pump = started(3)
    pump.feed(1, ServerReport(REPORT))
    pump.run_until(lambda: all(pump.map_of(each).servers for each in pump.voters.ids))
    stamp = pump.map_of(1).stamp
    pump.run(0.1)
    for each in pump.voters.ids:
        pump.kill(each, seen=False)
    pump.start()
    assert pump.map_of(1).stamp == stamp
    pump.settle()
    assert pump.map_of(1).stamp > stamp
    assert [entry.address for entry in pump.map_of(1).servers] == [REPORT.address]


def test_a_lost_confirmation_and_lost_promises_cost_a_heartbeat_each() -> None:
    pump = Pump(3)
    lost: list[type] = []

    def lose(sender: int, to: int, body: object) -> bool:
        first = isinstance(body, Confirmation | Acceptance | Put) and lost.count(type(body)) < 2
        if first:
            lost.append(type(body))
        return first

    pump.lose = lose
    pump.start()
    pump.settle(1.5)
    assert len(lost) == 6


def test_under_heavy_loss_a_leader_is_found_and_kept_after_it() -> None:
    for seed in range(5):
        pump = Pump(5, seed=seed)
        pump.lose = lambda sender, to, body, rng=pump.rng: rng.random() < 0.3
        pump.start()
        pump.run(5)
        pump.lose = lambda sender, to, body: False
        pump.settle(3.0)


# Epochs and adoption


def test_the_newest_map_of_the_quorum_is_adopted_even_from_a_voter() -> None:
    pump = started(3)
    pump.run(0.1)
    kept = replace(pump.map_of(1), version=50).encode()
    for each in pump.voters.ids:
        pump.kill(each, seen=False)
    for each in pump.voters.ids:
        record = pump.hosts[each].record
        assert record is not None
        pump.hosts[each].record = replace(record, accepted_epoch=4)
    pump.hosts[1].record = replace(
        pump.hosts[1].record or Record(), map=MapRecord(1, 50, (1, 49), kept), committed=False
    )
    # Center 1 is slow to vote: the others elect 3 before its better ballot is heard.
    pump.lose = lambda sender, to, body: isinstance(body, Proposal) and sender == 1
    pump.start()
    pump.settle()
    assert pump.leader() != 1
    assert pump.map_of(1).stamp == (5, 51)


def test_a_center_bound_to_a_larger_epoch_makes_the_leader_ask_for_a_larger_one() -> None:
    pump = started(3)
    leader = pump.leader()
    bound = others(pump, leader)[0]
    pump.kill(bound)
    pump.with_record(bound, accepted_epoch=9)
    pump.start(bound)
    pump.run_until(lambda: pump.settled() and pump.map_of(bound).epoch == 10)


def test_a_leader_is_not_impressed_by_a_candidate_without_support() -> None:
    pump = started(3)
    leader = pump.leader()
    usurper, third = others(pump, leader)
    epoch = pump.node(leader).snapshot(pump.now_s).epoch
    claim = Confirmation(epoch + 5, False, (0, 0), "", pump.voters.digest)
    for each in (leader, third):
        pump.feed(each, Message(usurper, 1, claim))
    pump.run(1)
    assert pump.settled()
    assert pump.leader() == leader


def test_a_leader_gives_up_at_once_when_a_larger_epoch_is_established() -> None:
    pump = started(3)
    leader = pump.leader()
    rival = others(pump, leader)[0]
    epoch = pump.node(leader).snapshot(pump.now_s).epoch
    pump.feed(leader, Message(rival, 1, Ping(epoch + 1, 1, (0, 0))))
    assert leader not in pump.leaders()


def test_puts_of_an_older_epoch_are_not_acknowledged() -> None:
    pump = started(3)
    leader = pump.leader()
    follower = others(pump, leader)[0]
    pump.run(0.1)
    record = pump.hosts[follower].record
    stale = Put(0, "", MapRecord(0, 99, (0, 0), b""))
    pump.feed(follower, Message(leader, pump.node(leader).incarnation, stale))
    pump.run(0.05)
    assert pump.hosts[follower].record == record


def test_an_unreadable_adopted_map_stops_the_candidate_and_says_why() -> None:
    pump = started(1)
    pump.kill(1)
    pump.with_record(1, map=MapRecord(1, 5, (1, 4), b"junk"), committed=True)
    pump.start()
    pump.run(0.3)
    assert pump.leaders() == []
    assert any("unreadable map" in line for line in pump.hosts[1].logs)
    assert pump.node(1).snapshot(pump.now_s).servers == ()


# Disks


def test_a_slow_disk_fakes_no_dead_leader() -> None:
    pump = started(3)
    leader = pump.leader()
    for host in pump.hosts.values():
        host.disk_s = 1.5
    pump.feed(leader, ServerReport(REPORT))
    pump.run(10)
    assert pump.leader() == leader
    assert all(pump.map_of(each).servers for each in pump.voters.ids)


def test_slow_disks_delay_the_first_leader_and_do_not_prevent_it() -> None:
    pump = Pump(3)
    for host in pump.hosts.values():
        host.disk_s = 0.8
    pump.start()
    pump.settle(6.0)


def test_a_center_whose_disk_fails_never_acknowledges_and_recovers_when_it_works() -> None:
    pump = Pump(3)
    pump.hosts[1].disk_fails = True
    pump.start()
    pump.run(2)
    assert pump.states()[1] is not State.FOLLOWING
    assert pump.node(1).snapshot(pump.now_s).accepted_epoch == 0
    assert pump.leader() == 3
    assert sum("not written" in line for line in pump.hosts[1].logs) == 1
    pump.hosts[1].disk_fails = False
    pump.settle()
    assert any("writes again" in line for line in pump.hosts[1].logs)


def test_a_candidate_whose_disk_fails_gives_up_and_keeps_trying() -> None:
    pump = Pump(3)
    for host in pump.hosts.values():
        host.disk_fails = True
    pump.start()
    pump.run(5)
    assert pump.leaders() == []
    for host in pump.hosts.values():
        host.disk_fails = False
    pump.settle()


def test_a_leader_whose_disk_fails_for_a_while_commits_afterwards() -> None:
    pump = started(3)
    leader = pump.leader()
    pump.hosts[leader].disk_fails = True
    pump.feed(leader, ServerReport(REPORT))
    pump.run(1)
    assert pump.map_of(leader).servers == ()
    pump.hosts[leader].disk_fails = False
    pump.run_until(lambda: bool(pump.map_of(leader).servers), 0.3)


def test_with_all_disks_failing_nothing_is_committed() -> None:
    pump = started(3)
    for host in pump.hosts.values():
        host.disk_fails = True
    pump.feed(1, ServerReport(REPORT))
    pump.run(2)
    assert all(pump.map_of(each).servers == () for each in pump.voters.ids)


# First boot


def test_the_closed_link_of_a_live_leader_costs_the_follower_nothing_lasting() -> None:
    pump = started(3)
    leader = pump.leader()
    pump.feed(1, LinkDown(leader))
    assert pump.states()[1] is State.LOOKING
    pump.feed(1, LinkUp(leader))
    pump.settle(0.3)
    assert pump.leader() == leader


def test_a_process_that_was_paused_does_not_blame_its_leader() -> None:
    pump = started(3)
    leader = pump.leader()
    pump.cut = {(leader, 1)}
    pump.freeze(1, 2.0)
    pump.run(2.0)
    pump.heal()
    pump.run(0.3)
    assert pump.states()[1] is State.FOLLOWING
    assert [role.state for role in pump.hosts[1].roles].count(State.LOOKING) == 0


def test_a_candidate_that_dies_is_dropped_at_once() -> None:
    pump = Pump(3)
    pump.start(new_cluster=True)
    pump.run_until(lambda: State.OBSERVING in pump.states().values())
    pump.kill(3)
    pump.settle(0.4)
    assert pump.leader() == 2


def test_unequal_timings_can_be_given() -> None:
    pump = Pump(3, timing=Timing(heartbeat_s=0.02, lease_s=0.06, patience_s=0.1))
    pump.start()
    pump.freeze(pump.settle(), 1.0)
    assert pump.run_until(lambda: len(pump.leaders()) == 2) < 0.3
