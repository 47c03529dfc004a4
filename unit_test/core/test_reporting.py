"""Reports: to the owner each second, to its successors when it fails, for ever."""

from __future__ import annotations

import random
from collections import Counter

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.mapcache import Failed, Note, NotReady, PersistRecord
from libevrpc.core.reporting import (
    Accepted,
    AskPlaces,
    GoodbyeDone,
    ReportAction,
    ReportAnswer,
    Reporter,
    SendGoodbye,
    SendReport,
    places_of,
)

CENTERS = ["c1:1", "c2:1", "c3:1"]
PLACES = Accepted(("c2:1", "c3:1", "c1:1"))
GONE = Failed("refused")


def reporter_of(record: bytes | None = None, centers: list[str] | None = None) -> Reporter:
    return Reporter(CENTERS if centers is None else centers, random.Random(1), record=record)


def sent(actions: list[ReportAction]) -> AskPlaces | SendReport | SendGoodbye:
    (action,) = [a for a in actions if isinstance(a, AskPlaces | SendReport | SendGoodbye)]
    return action


def registered() -> tuple[Reporter, float]:
    """Give a reporter whose first report, at 0 s, was accepted by its owner c2."""
    reporter = reporter_of()
    reporter.start(0.0)
    report = sent(reporter.answered(1, PLACES, 0.0))
    assert report == SendReport(2, "c2:1")
    assert reporter.answered(2, PLACES, 0.1) == []
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
        if not actions:
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
    assert reporter.answered(2, NotReady(("x:1",)), 0.0) == []
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
        while not [a for a in actions if not isinstance(a, PersistRecord)]:
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
