"""When a leader plans, how long that may take, and what becomes of what it planned."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest

from center.core import members
from center.core.events import Plan, Planned, PlannedMap, ServerGoodbye, ServerReport
from center.core.messages import Put, Report
from center.jobs import plan_map
from libevrpc.core import clustermap
from unit_test.center_core.bench import said
from unit_test.center_core.pump import Pump


def report(number: int) -> Report:
    return Report(f"10.0.0.{number}:80", ("s.S",))


def started() -> Pump:
    pump = Pump(3)
    pump.start()
    pump.settle()
    pump.run(0.2)  # nothing was published for a while
    return pump


def versions(pump: Pump, center: int) -> list[int]:
    return [each.version for each in pump.hosts[center].committed]


def test_a_plan_that_takes_longer_than_a_lease_costs_no_leader() -> None:
    pump = started()
    leader, epoch = pump.leader(), pump.map_of(1).epoch
    pump.plan_s = 3 * pump.timing.lease_s
    pump.feed(leader, ServerReport(report(1)))
    pump.run(0.3)
    pump.feed(leader, ServerReport(report(2)))  # into the next map: this one is being planned
    pump.run(0.7)
    assert [entry.address for entry in pump.map_of(leader).servers] == ["10.0.0.1:80"]
    pump.run(1.0)
    assert len(pump.map_of(leader).servers) == 2
    assert (pump.leader(), pump.map_of(1).epoch) == (leader, epoch)


def test_the_first_registration_is_published_at_once_and_those_after_it_together() -> None:
    pump = started()
    leader = pump.leader()
    before = len(versions(pump, leader))
    for number in (1, 2, 3):
        pump.feed(leader, ServerReport(report(number)))
    pump.run(0.01)
    assert [len(each.servers) for each in pump.hosts[leader].committed[before:]] == [1]
    pump.run(0.04)
    assert [len(each.servers) for each in pump.hosts[leader].committed[before:]] == [1, 3]


def test_a_plan_of_another_leadership_is_not_published() -> None:
    pump = started()
    node, now_s = pump.node(pump.leader()), pump.now_s
    epoch = node.snapshot(now_s).epoch
    (asked,) = [a for a in node.step(ServerReport(report(1)), now_s) if isinstance(a, Plan)]
    assert asked.token[0] == epoch
    made = asked.job.run()
    for token in ((epoch - 1, asked.token[1]), (epoch, asked.token[1] - 1)):
        assert said(node.step(Planned(token, made), now_s), Put) == []
    assert said(node.step(Planned(asked.token, made), now_s), Put) != []
    assert said(node.step(Planned(asked.token, made), now_s), Put) == []


def test_entries_of_a_map_are_made_by_whoever_runs_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of ten thousand servers take too long for the thread that pings."""
    pump = started()
    node, now_s = pump.node(pump.leader()), pump.now_s

    def refuse(*values: object) -> NoReturn:
        raise AssertionError("an entry was made")

    with monkeypatch.context() as patch:
        patch.setattr(members, "ServerEntry", refuse)
        (asked,) = [a for a in node.step(ServerReport(report(1)), now_s) if isinstance(a, Plan)]
        with pytest.raises(AssertionError, match="an entry was made"):
            asked.job.run()
    made = asked.job.run().map
    assert made is not None
    assert [entry.address for entry in made.servers] == ["10.0.0.1:80"]


class Faulty:
    """A job with a fault of ours in it."""

    def run(self) -> PlannedMap:
        raise ZeroDivisionError("division by zero")


def test_a_job_that_fails_is_answered_and_its_traceback_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = plan_map(Plan((1, 1), Faulty()))
    assert outcome.made.map is None
    assert outcome.made.complaint == "map not published: ZeroDivisionError: division by zero"
    assert "Traceback" in caplog.text


def test_servers_that_would_make_the_map_too_long_stay_out_and_others_may_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pump = started()
    leader = pump.leader()
    for number in (1, 2):
        pump.feed(leader, ServerReport(report(number)))
    pump.run(0.1)
    pump.hosts[leader].logs.clear()
    limit = len(pump.map_of(leader).encode()) + 10
    monkeypatch.setattr(clustermap, "MAP_BYTES_MAX", limit)
    pump.feed(leader, ServerReport(replace(report(3), tags=("x" * 100,))))
    pump.run(2.2)
    addresses = [entry.address for entry in pump.map_of(leader).servers]
    assert addresses == ["10.0.0.1:80", "10.0.0.2:80"]
    (complaint,) = [text for text in pump.hosts[leader].logs if "map without" in text]
    assert complaint.startswith("map without 1 new servers: map of ")
    pump.feed(leader, ServerGoodbye("10.0.0.1:80"))
    pump.run(0.2)
    assert [entry.address for entry in pump.map_of(leader).servers] == ["10.0.0.2:80"]


def test_a_map_that_fits_in_no_way_is_named_and_the_old_one_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pump = started()
    leader = pump.leader()
    pump.feed(leader, ServerReport(report(1)))
    pump.run(0.1)
    before = versions(pump, leader)
    monkeypatch.setattr(clustermap, "MAP_BYTES_MAX", 10)
    pump.feed(leader, ServerGoodbye("10.0.0.1:80"))
    pump.run(2.0)
    assert versions(pump, leader) == before
    (complaint,) = [text for text in pump.hosts[leader].logs if "map not published" in text]
    assert "at most 10 are allowed" in complaint
