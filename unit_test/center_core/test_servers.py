"""Servers of a whole cluster: registration, forwarding, departures, expiry, leader changes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from center.core import node as node_module
from center.core.ballot import State
from center.core.events import (
    Dial,
    DialOutcome,
    DialResult,
    LinkDown,
    LinkUp,
    Log,
    Message,
    ServerConnectionClosed,
    ServerGoodbye,
    ServerReport,
    Tick,
)
from center.core.messages import Forward, Inquiry, Pong, Report
from center.core.node import Node
from center.core.record import MapRecord, Record
from libevrpc.core.clustermap import ClusterMap, ServerState
from unit_test.center_core.pump import PlainPlanner, Pump, voters_of


def report(number: int, **more: object) -> Report:
    return Report(f"10.0.0.{number}:80", ("s.S",), **more)  # type: ignore[arg-type]


def started(count: int = 3) -> Pump:
    pump = Pump(count)
    pump.start()
    pump.settle()
    return pump


def follower_of(pump: Pump) -> int:
    return next(each for each in pump.voters.ids if each != pump.leader())


def addresses(pump: Pump, center: int) -> list[str]:
    return [entry.address for entry in pump.map_of(center).servers]


def everywhere(pump: Pump, *numbers: int) -> bool:
    wanted = [f"10.0.0.{number}:80" for number in numbers]
    return all(addresses(pump, each) == wanted for each in pump.states())


def keep_reporting(pump: Pump, span_s: float, *numbers: int, through: int) -> None:
    until_s = pump.now_s + span_s
    while pump.now_s < until_s:
        for number in numbers:
            pump.feed(through, ServerReport(report(number)))
        pump.run(min(0.5, until_s - pump.now_s))


@pytest.mark.parametrize("through_leader", [True, False])
def test_a_registration_is_at_all_centers_within_25_ms(through_leader: bool) -> None:
    pump = started()
    center = pump.leader() if through_leader else follower_of(pump)
    pump.feed(center, ServerReport(report(1)))
    assert pump.run_until(lambda: everywhere(pump, 1)) <= 0.0255


def test_registrations_of_one_batch_make_one_version() -> None:
    pump = started()
    before = pump.map_of(1).version
    for number in range(1, 6):
        pump.feed(follower_of(pump), ServerReport(report(number)))
        pump.run(0.002)
    pump.run(0.1)
    assert everywhere(pump, 1, 2, 3, 4, 5)
    assert pump.map_of(1).version == before + 1


def test_steady_reports_make_no_versions_and_large_changes_of_load_do() -> None:
    pump = started()
    keep_reporting(pump, 1.5, 1, through=1)
    version = pump.map_of(1).version
    keep_reporting(pump, 5.0, 1, through=1)
    assert pump.map_of(1).version == version
    pump.feed(1, ServerReport(report(1, load=0.5)))
    pump.run(1.2)
    assert pump.map_of(1).servers[0].load == 0.5


def test_reports_that_arrive_without_a_leader_wait_for_one() -> None:
    pump = Pump(3)
    pump.start(1, 2)
    pump.feed(1, ServerReport(report(1)))
    pump.run(1)
    pump.start(3)
    pump.run_until(lambda: pump.settled() and everywhere(pump, 1))


def test_what_a_center_took_before_it_led_is_not_lost() -> None:
    pump = Pump(1)
    pump.start()
    pump.feed(1, ServerReport(report(1)))
    pump.run_until(lambda: pump.settled() and everywhere(pump, 1))


@pytest.mark.parametrize("through_leader", [True, False])
def test_a_goodbye_is_out_within_50_ms(through_leader: bool) -> None:
    pump = started()
    for number in (1, 2):
        pump.feed(1, ServerReport(report(number, session="s")))
    pump.run(0.2)
    center = pump.leader() if through_leader else follower_of(pump)
    pump.feed(center, ServerGoodbye("10.0.0.1:80", "s"))
    assert pump.run_until(lambda: everywhere(pump, 2)) <= 0.05


def test_after_every_servers_goodbye_the_map_may_be_empty() -> None:
    pump = started()
    pump.feed(1, ServerReport(report(1)))
    pump.run(0.2)
    pump.feed(1, ServerGoodbye("10.0.0.1:80"))
    pump.run_until(lambda: everywhere(pump), 0.1)


def test_a_closed_connection_is_dialled_once_and_a_refusal_is_proof() -> None:
    pump = started()
    for number in (1, 2):
        pump.feed(1, ServerReport(report(number)))
    pump.run(0.2)
    center = follower_of(pump)
    for _ in range(2):
        pump.feed(center, ServerConnectionClosed("10.0.0.1:80"))
    assert pump.hosts[center].dials == ["10.0.0.1:80"]
    pump.feed(center, DialResult("10.0.0.1:80", DialOutcome.REFUSED))
    assert pump.run_until(lambda: everywhere(pump, 2)) <= 0.1


@pytest.mark.parametrize("through_leader", [True, False])
def test_a_server_reborn_while_its_last_life_is_dialled_stays(through_leader: bool) -> None:
    pump = started()
    center = pump.leader() if through_leader else follower_of(pump)
    for number in (1, 2):
        pump.feed(center, ServerReport(report(number, session="old")))
    pump.run(0.2)
    pump.feed(center, ServerConnectionClosed("10.0.0.1:80", "old"))
    pump.feed(center, ServerReport(report(1, session="new")))
    pump.feed(center, DialResult("10.0.0.1:80", DialOutcome.REFUSED, "old"))
    pump.run(0.5)
    assert everywhere(pump, 1, 2)
    pump.feed(center, ServerConnectionClosed("10.0.0.1:80", "new"))
    pump.feed(center, DialResult("10.0.0.1:80", DialOutcome.REFUSED, "new"))
    assert pump.run_until(lambda: everywhere(pump, 2)) <= 0.1


def test_each_session_is_dialled() -> None:
    pump = started()
    for session in ("old", "new", "old"):
        pump.feed(1, ServerConnectionClosed("10.0.0.1:80", session))
    assert pump.hosts[1].dials == ["10.0.0.1:80"] * 2


@pytest.mark.parametrize("outcome", [DialOutcome.ACCEPTED, DialOutcome.TIMEOUT])
def test_a_dial_that_is_not_refused_proves_nothing(outcome: DialOutcome) -> None:
    pump = started()
    pump.feed(1, ServerReport(report(1)))
    pump.run(0.2)
    pump.feed(1, ServerConnectionClosed("10.0.0.1:80"))
    pump.feed(1, DialResult("10.0.0.1:80", outcome))
    pump.run(0.2)
    assert everywhere(pump, 1)
    pump.feed(1, ServerConnectionClosed("10.0.0.1:80"))
    assert len(pump.hosts[1].dials) == 2


def test_dials_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "DIALS_MAX", 1)
    pump = started()
    for number in (1, 2):
        pump.feed(1, ServerConnectionClosed(f"10.0.0.{number}:80"))
    assert pump.hosts[1].dials == ["10.0.0.1:80"]


def test_a_frozen_server_is_out_within_4_s_also_across_a_leader_change() -> None:
    pump = started(3)
    pump.feed(1, ServerReport(report(1)))
    frozen_s = pump.now_s
    keep_reporting(pump, 2.7, 2, 3, 4, through=1)
    old = pump.leader()
    assert old != 1
    pump.kill(old)
    while "10.0.0.1:80" in addresses(pump, 1):
        keep_reporting(pump, 0.1, 2, 3, 4, through=1)
        assert pump.now_s - frozen_s < 4.0
    assert addresses(pump, 1) == [f"10.0.0.{number}:80" for number in (2, 3, 4)]


def test_a_leader_without_contact_to_a_quorum_expires_nobody() -> None:
    pump = started(3)
    pump.feed(1, ServerReport(report(1)))
    pump.run(0.2)
    pump.isolate(1)
    pump.isolate(2)
    pump.run(20)
    assert everywhere(pump, 1)
    assert pump.map_of(1).servers[0].state is ServerState.UP


def test_a_mass_silence_is_shown_as_suspects() -> None:
    pump = started()
    keep_reporting(pump, 1.0, *range(1, 8), through=1)
    keep_reporting(pump, 4.0, 1, 2, 3, through=1)
    kinds = [entry.state for entry in pump.map_of(1).servers]
    assert kinds == [ServerState.UP] * 3 + [ServerState.SUSPECT] * 4
    assert len(pump.hosts[pump.leader()].dials) == 4


def test_bad_reports_are_dropped_at_leader_and_follower_with_a_line() -> None:
    pump = started()
    for center in (pump.leader(), follower_of(pump)):
        pump.feed(center, ServerReport(Report("nonsense", ())))
        assert "report dropped" in pump.hosts[center].logs[-1]


def test_one_line_stands_for_the_bad_reports_of_a_second() -> None:
    """One message of a stranger may bring thousands."""
    pump = started()
    leader, sender = pump.leader(), follower_of(pump)
    assert leader is not None
    bad = Message(sender, 7, Forward(tuple(Report("nonsense", ()) for _ in range(4000))))

    def dropped() -> list[str]:
        return [text for text in pump.hosts[leader].logs if "report dropped" in text]

    pump.feed(leader, bad)
    pump.feed(leader, bad)
    assert [text.partition(":")[0] for text in dropped()] == ["report dropped (count 1)"]
    pump.run(1.1)
    pump.feed(leader, bad)
    assert [text.partition(":")[0] for text in dropped()][1:] == ["report dropped (count 8000)"]


def test_a_full_inbox_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("center.core.inbox.SERVERS_MAX", 1)
    pump = Pump(3)
    pump.start(1)
    for number in (1, 2):
        pump.feed(1, ServerReport(report(number)))
    assert "wait for a leader" in pump.hosts[1].logs[-1]


def test_the_refusal_of_one_server_too_many_is_logged_by_the_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("center.core.members.SERVERS_MAX", 1)
    pump = started()
    for number in (1, 2):
        pump.feed(pump.leader(), ServerReport(report(number)))
    pump.run(0.1)
    assert any("server refused" in line for line in pump.hosts[pump.leader()].logs)


def test_a_map_that_grows_too_large_is_not_published_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pump = started()
    monkeypatch.setattr("libevrpc.core.clustermap.MAP_BYTES_MAX", 10)
    pump.feed(pump.leader(), ServerReport(report(1)))
    pump.run(0.1)
    assert "map not published" in pump.hosts[pump.leader()].logs[-1]
    monkeypatch.undo()
    pump.feed(pump.leader(), ServerReport(report(2)))
    pump.run_until(lambda: everywhere(pump, 1, 2), 1.1)


# Status


def test_the_status_shows_centers_and_servers_everywhere_alike() -> None:
    pump = started()
    pump.feed(1, ServerReport(report(1)))
    pump.run(1.0)
    for center in pump.voters.ids:
        status = pump.node(center).snapshot(pump.now_s)
        assert status.leader == pump.leader()
        assert [each.leader for each in status.centers] == [3, 3, 3]
        assert [each.state for each in status.centers] == [
            State.FOLLOWING,
            State.FOLLOWING,
            State.LEADING,
        ]
        assert all((each.last_heard_s or 0.0) < 1.1 for each in status.centers)
        assert [entry.address for entry in status.servers] == ["10.0.0.1:80"]
        assert 0.9 <= status.servers[0].age_s <= 1.6
        held = ClusterMap.decode(served_of(pump.node(center)).payload)
        assert pump.node(center).snapshot(pump.now_s, held) == status
        older = replace(held, version=held.version - 1, servers=())
        assert pump.node(center).snapshot(pump.now_s, older) == status
    pump.kill(1)
    pump.run(0.5)
    gone = pump.node(2).snapshot(pump.now_s).centers[0]
    assert (gone.state, gone.leader) == (None, None)
    assert pump.map_of(2).centers == (1, 2, 3)
    pump.run(2.0)
    assert pump.map_of(2).centers == (2, 3)


def served_of(node: Node) -> MapRecord:
    assert node.served is not None
    return node.served


def test_without_a_leader_the_ages_of_the_served_map_grow() -> None:
    pump = started()
    pump.feed(1, ServerReport(report(1)))
    pump.run(0.2)
    pump.isolate(1)
    pump.run(2.0)
    assert pump.node(1).snapshot(pump.now_s).servers[0].age_s >= 1.9


# Edges of the machine


def lone() -> Node:
    return Node(1, voters_of(3), Record(), 0.0, chance=random.Random(1), planner=PlainPlanner)


def test_a_center_must_be_in_its_list() -> None:
    with pytest.raises(ValueError, match="center 9 is not in the list"):
        Node(
            9,
            voters_of(3),
            None,
            0.0,
            chance=random.Random(1),
            planner=PlainPlanner,
        )


def test_unlisted_centers_are_named_and_ignored() -> None:
    node = lone()
    node.step(Tick(), 0.0)
    for stranger in (1, 99):
        (line,) = node.step(Message(stranger, 1, Inquiry(0, "d", 0)), 0.001)
        assert isinstance(line, Log)
    assert node.step(LinkUp(99), 0.001) == []
    assert node.step(LinkDown(99), 0.001) == []


def test_time_that_goes_back_stands_still() -> None:
    node = lone()
    node.step(Tick(), 10.0)
    before_s = node.next_deadline_s()
    node.step(Tick(), 5.0)
    assert node.next_deadline_s() == before_s


def test_a_closed_connection_asks_for_one_dial() -> None:
    node = lone()
    node.step(Tick(), 0.0)
    assert node.step(ServerConnectionClosed("10.0.0.1:80"), 0.0) == [Dial("10.0.0.1:80")]


def test_answers_to_forgotten_pings_and_epochs_count_for_nothing() -> None:
    pump = started()
    leader = pump.leader()
    pump.isolate(leader)
    follower = follower_of(pump)
    epoch = pump.node(leader).snapshot(pump.now_s).epoch
    for _ in range(40):
        if leader not in pump.leaders():
            break
        for pong in (Pong(epoch, 10_000, (0, 0)), Pong(epoch - 1, 1, (0, 0))):
            pump.feed(leader, Message(follower, pump.node(follower).incarnation, pong))
        pump.run(0.02)
    assert leader not in pump.leaders()


def test_a_goodbye_of_nobody_takes_no_reports_with_it() -> None:
    pump = started()
    follower = follower_of(pump)
    pump.feed(follower, ServerGoodbye("x" * 5000))
    pump.feed(follower, ServerGoodbye("10.0.0.2:80", "x" * 5000))
    pump.feed(follower, ServerReport(report(1)))
    pump.run(0.3)
    assert everywhere(pump, 1)
