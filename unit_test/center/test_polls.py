"""Long-polls: who waits, until when, and what they are told."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from center import polls as polls_module
from center.core.ballot import State
from center.core.record import MapRecord
from center.front import Front
from center.polls import LongPoll, LongPolls, response_of
from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable

WAIT_S = 10.0
LONG_S = 3600.0
"""Beyond whatever a test waits for: what is over in time has another reason."""
ADDRESSES = {1: "a:1", 2: "b:1"}


def front_of(
    version: int, state: State = State.FOLLOWING, services: tuple[str, ...] = ("x.Y", "x.W")
) -> Front:
    servers = (ServerEntry("10.0.0.1:1", services),)
    table = ServiceTable(services, (0,), b"\x00\x00" * 64)
    found = ClusterMap("c", 1, version, servers, (table,), (1, 2))
    return Front(ADDRESSES, state, 1, found, MapRecord(1, version, (0, 0), found.encode()))


class Waiting:
    """Stands in for the reply that is owed."""

    def __init__(self) -> None:
        self.replies: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def reply(self, response: Any) -> bool:
        self.replies.put(response)
        return True

    def answer(self) -> Any:
        return self.replies.get(timeout=WAIT_S)


class Desk:
    """Holds the snapshot that a test puts there."""

    def __init__(self) -> None:
        self.front = front_of(1)
        self.polls = LongPolls(lambda: self.front)

    def publish(self, front: Front) -> None:
        self.front = front
        self.polls.wake()

    def ask(self, version: int, wait_s: float = WAIT_S) -> tuple[Waiting, LongPoll]:
        waiting = Waiting()
        poll = LongPoll(waiting, "x.Y", (1, version), monotonic_s() + wait_s)  # type: ignore[arg-type]
        self.polls.add(poll)
        return waiting, poll

    def settle(self) -> None:
        """Wait until everything that was put in has been looked at."""
        done: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.polls.post(lambda: done.put(True))
        assert done.get(timeout=WAIT_S)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    made.polls.start()
    yield made
    made.polls.stop()


def test_a_newer_map_answers_everybody_who_waits(desk: Desk) -> None:
    waiting = [desk.ask(1, wait_s=LONG_S)[0] for _ in range(100)]
    desk.settle()
    assert all(each.replies.empty() for each in waiting)
    desk.publish(front_of(2))
    answers = [each.answer() for each in waiting]
    assert {ClusterMap.decode(each.map).version for each in answers} == {2}
    assert all(list(each.centers) == ["a:1", "b:1"] for each in answers)


def test_a_map_that_came_before_the_question_was_seen_answers_it(desk: Desk) -> None:
    desk.front = front_of(2)
    assert ClusterMap.decode(desk.ask(1)[0].answer().map).version == 2


def test_a_question_whose_time_is_over_is_answered_with_nothing(desk: Desk) -> None:
    answer = desk.ask(1, wait_s=0.01)[0].answer()
    assert (answer.map, answer.not_ready) == (b"", False)


def test_a_question_that_nobody_waits_for_is_forgotten(desk: Desk) -> None:
    waiting, poll = desk.ask(1)
    desk.settle()
    desk.polls.forget(poll)
    desk.polls.forget(poll)
    desk.publish(front_of(2))
    desk.settle()
    assert waiting.replies.empty()


def test_without_a_leader_nobody_waits_for_long(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls_module, "LEADERLESS_S", 0.02)
    waiting, _ = desk.ask(1)
    desk.settle()
    desk.publish(front_of(1, State.LOOKING))
    assert waiting.answer().not_ready
    assert desk.ask(1)[0].answer().not_ready


def test_a_short_election_disturbs_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls_module, "LEADERLESS_S", LONG_S)
    waiting, _ = desk.ask(1)
    desk.settle()
    for state in (State.LOOKING, State.OBSERVING, State.FOLLOWING):
        desk.publish(front_of(1, state))
        desk.settle()
    assert waiting.replies.empty()
    desk.publish(front_of(2))
    assert waiting.answer().map


def test_too_many_are_answered_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls_module, "POLLS_MAX", 1)
    first, _ = desk.ask(1)
    second, _ = desk.ask(1)
    assert second.answer().map == b""
    assert first.replies.empty()


def test_a_failing_reply_costs_nobody_else(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("broken")

    desk.polls.post(fail)
    assert desk.ask(1, wait_s=0.01)[0].answer().map == b""
    assert "broken" in caplog.text


def test_an_end_answers_who_waits() -> None:
    desk = Desk()
    desk.polls.start()
    waiting, _ = desk.ask(1)
    desk.polls.stop()
    assert waiting.answer().map == b""


def test_what_a_center_says_depends_on_its_leader_and_map() -> None:
    led, alone = front_of(2), front_of(2, State.LOOKING)
    assert response_of(led, "x.Y", (1, 1)).map == led.part("x.Y")
    assert response_of(led, "", (1, 1)).map == led.record.payload  # type: ignore[union-attr]
    assert not response_of(led, "x.Y", (1, 2)).not_ready
    older = response_of(alone, "x.Y", (1, 1))
    assert older.map == alone.part("x.Y")
    assert older.stale
    assert response_of(alone, "x.Y", (1, 2)).not_ready
    empty = Front(ADDRESSES, State.FOLLOWING, 1)
    assert response_of(empty, "x.Y", (0, 0)).not_ready
    assert (empty.part("x.Y"), empty.places("h:1"), empty.stamp) == (b"", [], (0, 0))


def test_a_part_is_encoded_once_per_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    front = front_of(1)
    assert front.part("x.Y") is front.part("x.Y")
    assert ClusterMap.decode(front.part("no.Such")).servers == ()
    monkeypatch.setattr("center.front.PARTS_MAX", 0)
    full = replace(front, _parts={})
    assert full.part("x.Y") == front.part("x.Y")
    assert full.part("x.Y") is not full.part("x.Y")


def test_parts_of_services_that_nobody_offers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask for any name, of any length."""
    monkeypatch.setattr("center.front.PARTS_MAX", 1)
    front = front_of(1)
    front.part("no.Such")
    assert front.part("x.Y") is front.part("x.Y")


def test_the_part_of_the_only_service_is_the_map_itself() -> None:
    front = front_of(1, services=("x.Y",))
    assert front.part("x.Y") is front.part("")
    assert front.part("x.W") != front.part("")


def test_who_asks_for_what_nobody_offers_is_told_what_is_offered() -> None:
    front = front_of(2)
    for stamp in ((0, 0), (1, 2)):  # with the map, and without anything newer
        assert list(response_of(front, "x.Z", stamp).services) == ["x.W", "x.Y"]
        assert not response_of(front, "x.Y", stamp).services
        assert not response_of(front, "", stamp).services
    assert not response_of(Front(ADDRESSES), "x.Z", (0, 0)).services


def test_a_snapshot_tells_whom_its_map_has() -> None:
    front = front_of(1)
    for _ in range(2):
        assert front.names("10.0.0.1:1")
        assert not front.names("10.0.0.2:1")
    assert not Front(ADDRESSES).names("10.0.0.1:1")
