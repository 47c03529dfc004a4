"""Reports: to the owner each second, to its successors when it fails, for ever."""

from __future__ import annotations

import random
from collections import Counter

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uhashring import HashRing

from libevrpc.core.mapcache import Failed, Note, NotReady, PersistRecord
from libevrpc.core.places import places_of
from libevrpc.core.reporting import (
    Accepted,
    AskPlaces,
    GoodbyeDone,
    Registered,
    ReportAction,
    ReportAnswer,
    Reporter,
    SendGoodbye,
    SendReport,
    Unregistered,
)

CENTERS = ["c1:1", "c2:1", "c3:1"]
PLACES = Accepted(("c2:1", "c3:1", "c1:1"))
GONE = Failed("refused")


def reporter_of(record: bytes | None = None, centers: list[str] | None = None) -> Reporter:
    return Reporter(CENTERS if centers is None else centers, random.Random(1), record=record)


def asked(actions: list[ReportAction]) -> list[AskPlaces | SendReport | SendGoodbye]:
    return [a for a in actions if isinstance(a, AskPlaces | SendReport | SendGoodbye)]


def changes(actions: list[ReportAction]) -> list[Registered | Unregistered]:
    return [a for a in actions if isinstance(a, Registered | Unregistered)]


def sent(actions: list[ReportAction]) -> AskPlaces | SendReport | SendGoodbye:
    (action,) = asked(actions)
    return action


def registered() -> tuple[Reporter, float]:
    """Give a reporter whose first report, at 0 s, was accepted by its owner c2."""
    reporter = reporter_of()
    reporter.start(0.0)
    report = sent(reporter.answered(1, PLACES, 0.0))
    assert report == SendReport(2, "c2:1")
    assert reporter.answered(2, PLACES, 0.1) == [Registered("c2:1", 0)]
    assert reporter.registered
    return reporter, reporter.next_deadline_s()


def test_new_server_asks_where_to_report_and_remembers_the_answer() -> None:
    reporter = reporter_of()
    assert reporter.next_deadline_s() == float("inf")
    assert reporter.start(0.0) == [AskPlaces(1, "c1:1")]
    record, report = reporter.answered(1, PLACES, 0.1)
    assert isinstance(record, PersistRecord)
    assert report == SendReport(2, "c2:1")
    again = reporter_of(record.record)
    assert again.start(5.0) == [SendReport(1, "c2:1")]


def test_report_goes_to_the_owner_each_second() -> None:
    reporter, due_s = registered()
    for second in range(1, 5):
        assert due_s == second
        report = sent(reporter.tick(due_s))
        assert report.center == "c2:1"
        reporter.answered(report.number, Accepted(), due_s + 0.2)
        due_s = reporter.next_deadline_s()


def test_slow_answer_puts_the_next_report_off_but_never_queues_two() -> None:
    reporter, due_s = registered()
    report = sent(reporter.tick(due_s))
    assert reporter.tick(due_s + 0.9) == []
    assert reporter.answered(report.number, Accepted(), due_s + 0.95) == []
    assert reporter.next_deadline_s() == due_s + 1.0


def test_remembered_center_alone_is_enough() -> None:
    record = msgpack.packb([1, ["old:1"]])
    reporter = reporter_of(record, [])
    assert reporter.start(0.0) == [SendReport(1, "old:1")]
    reporter = reporter_of(record)
    report = sent(reporter.start(0.0))
    reporter.answered(report.number, Accepted(), 0.0)
    assert reporter.registered


def test_dead_owner_costs_one_failed_try_and_gets_its_reports_back() -> None:
    reporter, due_s = registered()
    report = sent(reporter.tick(due_s))
    report = sent(reporter.answered(report.number, GONE, due_s))
    assert report == SendReport(4, "c3:1")
    assert not reporter.registered
    owners = []
    for _ in range(15):
        reporter.answered(report.number, PLACES, reporter.next_deadline_s() - 1.0)
        report = sent(reporter.tick(reporter.next_deadline_s()))
        owners.append(report.center)
    assert owners.index("c2:1") == 10
    assert set(owners[:10]) == {"c3:1"}
    assert set(owners[10:]) == {"c2:1"}


def test_with_all_places_failing_lately_the_one_that_answers_stays() -> None:
    reporter = reporter_of(msgpack.packb([1, ["n1:1"]]))
    report = sent(reporter.start(0.0))
    report = sent(reporter.answered(report.number, GONE, 0.0))
    assert report.center == "c1:1"
    reporter.answered(report.number, Accepted(), 0.0)
    assert sent(reporter.tick(1.0)).center == "c1:1"


def test_silence_counts_as_failure_and_late_answers_are_dropped() -> None:
    reporter, due_s = registered()
    report = sent(reporter.tick(due_s))
    assert reporter.next_deadline_s() == due_s + 1.0
    assert sent(reporter.tick(due_s + 1.0)).center == "c3:1"
    assert reporter.answered(report.number, PLACES, due_s + 1.1) == []


def test_after_a_whole_round_it_waits_then_asks_again_for_ever() -> None:
    reporter, now_s = registered()
    action, waits = sent(reporter.tick(now_s)), []
    for _ in range(60):
        actions = reporter.answered(action.number, GONE, now_s)
        if not asked(actions):
            waits.append(reporter.next_deadline_s() - now_s)
            now_s = reporter.next_deadline_s()
            actions = reporter.tick(now_s)
        action = sent(actions)
        assert isinstance(action, AskPlaces) == bool(waits)
    assert 0.05 <= waits[0] <= 0.1
    assert all(1.0 <= wait <= 2.0 for wait in waits[6:])
    report = sent(reporter.answered(action.number, PLACES, now_s))
    assert isinstance(report, SendReport)


def test_center_without_a_leader_names_the_others_and_is_not_blamed() -> None:
    reporter = reporter_of(centers=["c1:1"])
    reporter.start(0.0)
    record, action = reporter.answered(1, NotReady(("c1:1", "c2:1")), 0.0)
    assert isinstance(record, PersistRecord)
    assert action == AskPlaces(2, "c2:1")
    (told,) = reporter.answered(2, NotReady(("x:1",)), 0.0)
    assert told == Unregistered(
        False, ("c1:1", "c2:1"), "c1:1: it has no leader; c2:1: it has no leader"
    )
    assert 0.0 < reporter.next_deadline_s() <= 0.1


def test_goodbye_ends_the_reports() -> None:
    reporter, _ = registered()
    (goodbye,) = reporter.goodbye(0.5)
    assert goodbye == SendGoodbye(3, "c2:1")
    assert reporter.goodbye(0.5) == []
    assert reporter.answered(3, Accepted(), 0.6) == [GoodbyeDone(True)]
    assert reporter.next_deadline_s() == float("inf")
    assert not reporter.registered


def test_goodbye_overtakes_a_report_and_tries_three_centers_at_most() -> None:
    reporter, due_s = registered()
    report = sent(reporter.tick(due_s))
    goodbye = sent(reporter.goodbye(due_s))
    assert reporter.answered(report.number, PLACES, due_s) == []
    told = [goodbye.center]
    for _ in range(2):
        goodbye = sent(reporter.answered(goodbye.number, GONE, due_s))
        told.append(goodbye.center)
    assert told == ["c2:1", "c3:1", "c1:1"]
    assert reporter.answered(goodbye.number, GONE, due_s) == [GoodbyeDone(False)]


@pytest.mark.parametrize(
    "record", [b"", b"x", msgpack.packb([9, []]), msgpack.packb([1, [5]]), msgpack.packb(1)]
)
def test_unreadable_record_is_a_note_and_a_fresh_start(record: bytes) -> None:
    note, ask = reporter_of(record).start(0.0)
    assert isinstance(note, Note)
    assert isinstance(ask, AskPlaces)


def test_places_are_an_owner_and_two_successors_whatever_the_order() -> None:
    assert places_of("s:1", []) == ()
    assert places_of("s:1", [4]) == (4,)
    ring = HashRing([f"center {center}" for center in (1, 2, 3, 4, 5)])
    for number in range(200):
        found = ring.range(f"s:{number}", size=3)
        ids = tuple(int(node["nodename"].removeprefix("center ")) for node in found)
        assert places_of(f"s:{number}", (1, 2, 3, 4, 5)) == ids
    owners: Counter[int] = Counter()
    for number in range(500):
        places = places_of(f"10.0.0.{number}:1", [1, 2, 3, 4, 5])
        assert places == places_of(f"10.0.0.{number}:1", (5, 4, 3, 2, 1, 1))
        assert len(set(places)) == 3
        owners[places[0]] += 1
        without = places_of(f"10.0.0.{number}:1", {1, 2, 3, 4, 5} - {places[0]})
        assert without[:2] == places[1:]
    assert min(owners.values()) > 50


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from([Accepted(), PLACES, Accepted(("n1:1",)), NotReady(("n2:1",)), GONE]),
        max_size=60,
    )
)
def test_whatever_centers_answer_there_is_a_next_report(answers: list[ReportAnswer]) -> None:
    reporter, now_s = reporter_of(), 0.0
    actions = reporter.start(now_s)
    for answer in answers:
        while not asked(actions):
            assert now_s <= reporter.next_deadline_s() <= now_s + 2.0
            now_s = reporter.next_deadline_s()
            actions = reporter.tick(now_s)
        actions = reporter.answered(sent(actions).number, answer, now_s)


def test_broken_connection_to_the_owner_is_reported_around_at_once() -> None:
    reporter, due_s = registered()
    report = sent(reporter.lost("c2:1", due_s - 0.5))
    assert report == SendReport(3, "c2:1")
    assert sent(reporter.answered(3, GONE, due_s - 0.5)) == SendReport(4, "c3:1")


def test_broken_connection_matters_only_where_the_reports_go_and_nobody_asks() -> None:
    reporter, due_s = registered()
    assert reporter.lost("c1:1", due_s - 0.5) == []
    reporter.tick(due_s)
    assert reporter.lost("c2:1", due_s) == []
    reporter.goodbye(due_s)
    assert reporter.lost("c2:1", due_s) == []


def drive(reporter: Reporter, until_s: float, answer: ReportAnswer) -> list[ReportAction]:
    """Answer everything the same until then; returns what was told of the registration."""
    told: list[ReportAction] = []
    now_s = reporter.next_deadline_s()
    while now_s < until_s:
        actions = reporter.tick(now_s)
        while asked(actions):
            actions = reporter.answered(sent(actions).number, answer, now_s)
            told += changes(actions)
        now_s = reporter.next_deadline_s()
    return told


def test_who_cannot_register_says_so_once_per_kind_of_reason() -> None:
    reporter = reporter_of()
    failures: list[ReportAction] = []
    action = sent(reporter.start(0.0))
    for text in ("c1:1: refused", "refused", "refused"):
        actions = reporter.answered(action.number, Failed(text), 0.0)
        failures += changes(actions)
        action = asked(actions)[0] if asked(actions) else action
    everybody = tuple(CENTERS)
    assert failures == [
        Unregistered(False, everybody, "c1:1: refused; c2:1: refused; c3:1: refused")
    ]
    assert drive(reporter, 100.0, GONE) == []
    leaderless = "; ".join(f"{center}: it has no leader" for center in CENTERS)
    assert drive(reporter, 200.0, NotReady()) == [Unregistered(False, everybody, leaderless)]
    assert drive(reporter, 300.0, GONE) == []
    assert drive(reporter, 400.0, Accepted((), 7)) == [Registered("c1:1", 7)]


def test_a_registration_is_lost_after_seconds_not_with_the_first_refusal() -> None:
    reporter, due_s = registered()
    told = drive(reporter, due_s + 1.0, NotReady())
    assert told == [], "an election takes less"
    assert drive(reporter, due_s + 2.0, Accepted()) == []
    (lost,) = drive(reporter, due_s + 60.0, GONE)
    assert isinstance(lost, Unregistered)
    assert lost.lost
    assert set(lost.centers) == set(CENTERS)
    (again,) = drive(reporter, due_s + 100.0, PLACES)
    assert isinstance(again, Registered)


UNSEEN = Accepted(in_map=False)


def test_a_server_is_registered_once_it_is_in_the_map() -> None:
    reporter = reporter_of(msgpack.packb([1, ["c1:1"]]))
    now_s, waits = 0.0, []
    report = sent(reporter.start(now_s))
    for _ in range(5):
        assert changes(reporter.answered(report.number, UNSEEN, now_s)) == []
        assert not reporter.registered
        waits.append(round(reporter.next_deadline_s() - now_s, 3))
        now_s = reporter.next_deadline_s()
        report = sent(reporter.tick(now_s))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0]
    seen = reporter.answered(report.number, Accepted((), 4), now_s)
    assert changes(seen) == [Registered("c1:1", 4)]
    assert reporter.registered
    assert reporter.next_deadline_s() == now_s + 1.0


def test_reports_that_are_taken_in_vain_are_told_once() -> None:
    reporter, due_s = registered()
    assert drive(reporter, due_s + 2.0, UNSEEN) == [], "the next map may have it"
    why = "c2:1: it takes the reports, and its map is without this server"
    assert drive(reporter, due_s + 60.0, UNSEEN) == [Unregistered(True, ("c2:1",), why)]
    (refused,) = drive(reporter, due_s + 120.0, GONE)
    assert isinstance(refused, Unregistered)
    assert not refused.lost
    assert drive(reporter, due_s + 180.0, UNSEEN) == []
    (again,) = drive(reporter, due_s + 240.0, Accepted((), 5))
    assert isinstance(again, Registered)
    assert drive(reporter, due_s + 240.0 + 4.0, UNSEEN)


def test_a_center_that_names_places_but_takes_no_report_is_told() -> None:
    reporter = reporter_of(centers=["c1:1"])
    asks = sent(reporter.start(0.0))
    report = sent(reporter.answered(asks.number, Accepted(), 0.0))
    actions = reporter.answered(report.number, Failed("no such address"), 0.0)
    assert changes(actions) == [Unregistered(False, ("c1:1",), "c1:1: no such address")]
    assert drive(reporter, 100.0, NotReady())
    assert drive(reporter, 101.0, Accepted()) == [Registered("c1:1", 0)]
