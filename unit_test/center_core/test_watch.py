"""What a center tells its operator: whom it waits for, and who is silent."""

from __future__ import annotations

from dataclasses import replace

from center.core.ballot import State
from center.core.events import Action, LinkDown, LinkUp, Log, Message
from center.core.messages import Announcement, Inquiry, Introduction
from unit_test.center_core.bench import Bench, introduction, said
from unit_test.center_core.pump import Pump, voters_of

HELLO = Announcement(None, 0, State.LOOKING)


def lines(actions: list[Action]) -> list[str]:
    return [each.text for each in actions if isinstance(each, Log)]


def waits(pump: Pump, center: int) -> list[str]:
    return [line for line in pump.hosts[center].logs if "state is" in line]


def test_an_empty_center_says_for_whom_it_waits_at_times() -> None:
    pump = Pump(3)
    pump.voters = replace(pump.voters, peer_addresses=((3, "127.0.0.1:8798"),))
    pump.start(1, 2)
    pump.run(2.9)
    assert waits(pump, 1) == []
    text = pump.node(1).snapshot(pump.now_s).waiting
    assert text == (
        "state is empty: 2 of 3 centers heard, waiting for center 3 (127.0.0.1:8798);"
        " start all, or this one with --new-cluster if the cluster is new"
    )
    pump.run(0.2)
    assert waits(pump, 1) == waits(pump, 2) == [text]
    pump.run(59)
    assert waits(pump, 1) == [text]
    pump.run(1.1)
    assert waits(pump, 1) == [text, text]
    pump.start(3)
    pump.settle()
    assert {pump.node(each).snapshot(pump.now_s).waiting for each in pump.voters.ids} == {""}
    pump.run(70)
    assert len(waits(pump, 1)) == 2


def test_a_lone_empty_center_names_all_others() -> None:
    pump = Pump(3)
    pump.start(1)
    text = pump.node(1).snapshot(pump.now_s).waiting
    assert "1 of 3 centers heard, waiting for center 2 (127.0.0.1:9002), center 3" in text


def test_the_warning_is_a_deadline() -> None:
    bench = Bench(None)
    bench.later(2.95)
    assert bench.node.next_deadline_s() == 3.0


def test_a_wiped_center_is_not_told_that_the_cluster_is_new() -> None:
    bench = Bench(None)
    bench.hear(2, introduction(bench, empty=False))
    waiting = bench.node.snapshot(0.0).waiting
    assert waiting == (
        "state is empty, that of center 2 is not: waiting for a leader;"
        " not heard: center 3 (127.0.0.1:9003)"
    )
    bench.hear(3, introduction(bench))
    waiting = bench.node.snapshot(0.0).waiting
    assert waiting == "state is empty, that of center 2 is not: waiting for a leader"


def test_a_damaged_center_says_so() -> None:
    pump = Pump(1)
    pump.start(1, damaged=True)
    pump.run(3.1)
    assert waits(pump, 1) == [
        "state is damaged: start this center with --new-cluster to begin anew"
    ]


def test_a_damaged_center_waits_for_the_others() -> None:
    pump = Pump(3)
    pump.start(1, damaged=True)
    pump.run(3.1)
    assert "state is damaged: waiting for a leader among the other centers" in waits(pump, 1)


def test_a_center_whose_promise_is_under_way_waits_for_nobody() -> None:
    bench = Bench(None, disk=False)
    for peer in (2, 3):
        bench.hear(peer, introduction(bench, accepted_epoch=4))
    status = bench.node.snapshot(0.0)
    assert (status.votes, status.state, status.waiting) == (False, State.LOOKING, "")


def test_an_address_for_centers_wins_over_that_for_clients() -> None:
    voters = replace(voters_of(2), peer_addresses=((2, "h:1"),))
    assert [voters.peer_address(each) for each in (1, 2)] == ["127.0.0.1:9001", "h:1"]


# Strangers


def test_a_question_from_another_list_is_named_and_answered() -> None:
    bench = Bench(None)
    asked = Message(2, 20, Inquiry(0, "other", 0), "127.0.0.5")
    actions = bench.feed(asked)
    assert said(actions, Introduction, to=2)
    assert lines(actions) == [
        "center 2 at 127.0.0.5 has another centers list: it counts for nothing"
    ]
    bench.later(59)
    assert not any("another" in line for line in lines(bench.feed(asked)))
    bench.later(1.1)
    assert any("another" in line for line in lines(bench.feed(asked)))


def test_a_center_that_is_not_listed_is_named_at_times() -> None:
    bench = Bench()
    text = "message of center 4 at 127.0.0.9, which is not in the list"
    extra = Message(4, 40, HELLO, "127.0.0.9")
    assert lines(bench.feed(extra)) == [text]
    assert lines(bench.feed(extra)) == []
    bench.later(60)
    assert text in lines(bench.feed(extra))
    assert lines(bench.hear(5, HELLO)) == ["message of center 5, which is not in the list"]


def test_few_of_many_unlisted_ids_are_named() -> None:
    bench = Bench()
    named = [lines(bench.hear(each, HELLO)) for each in range(4, 104)]
    assert sum(map(len, named)) == 16


def test_two_processes_with_one_id_are_named() -> None:
    bench = Bench()
    said_lines: list[str] = []
    for turn in range(8):
        host = f"127.0.0.{turn % 2 + 1}"
        said_lines += lines(bench.feed(Message(2, turn % 2, HELLO, host)))
    assert said_lines == ["center 2 at 127.0.0.2 is two processes: give one another id"]


def test_two_processes_are_named_for_as_long_as_both_speak() -> None:
    bench = Bench()
    text = "center 2 is two processes: give one another id"
    for turn in range(8):
        bench.hear(2, HELLO, incarnation=turn % 2)
    bench.later(61)
    assert text not in lines(bench.hear(2, HELLO, incarnation=1))
    said_lines = [lines(bench.hear(2, HELLO, incarnation=turn % 2)) for turn in range(8)]
    assert said_lines.count([text]) == 1


def test_late_messages_of_many_restarts_are_no_second_process() -> None:
    bench = Bench()
    for restart in range(1, 5):
        bench.later(11)
        for incarnation in (restart, restart - 1, restart):
            assert not lines(bench.hear(2, HELLO, incarnation=incarnation))


def test_a_center_that_restarts_often_is_one_process() -> None:
    bench = Bench()
    assert not any(lines(bench.hear(2, HELLO, incarnation=each)) for each in range(20))


# Silence


def silent(bench: Bench, span_s: float) -> list[str]:
    return [line for line in lines(bench.later(span_s)) if "does not answer" in line]


def test_a_center_that_was_never_heard_is_named_once() -> None:
    bench = Bench()
    bench.hear(3, HELLO)
    assert silent(bench, 9.95) == []
    assert bench.node.next_deadline_s() == 10.0
    assert silent(bench, 0.1) == ["center 2 at 127.0.0.1:9002 does not answer"]
    assert silent(bench, 100) == []


def test_a_center_that_went_away_is_named_each_time_that_it_does() -> None:
    bench = Bench()
    for peer in (2, 3):
        bench.hear(peer, HELLO)
    for _ in range(2):
        bench.feed(LinkDown(2))
        bench.hear(2, HELLO)  # it was under way
        bench.feed(LinkDown(2))
        assert silent(bench, 20) == ["center 2 at 127.0.0.1:9002 does not answer"]
        bench.feed(LinkUp(2))
        bench.hear(2, HELLO)
        assert silent(bench, 20) == []
