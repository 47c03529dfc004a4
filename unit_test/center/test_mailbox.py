"""The mailbox of the node's thread."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from center import mailbox as mailbox_module
from center.core.events import Event, ServerConnectionClosed, ServerGoodbye, ServerReport, Tick
from center.core.messages import Report
from center.mailbox import Mailbox, Question


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


def report(address: str, load: float = 0.0) -> ServerReport:
    return ServerReport(Report(address, ("x.Y",), load))


def is_ringing(mailbox: Mailbox) -> bool:
    return bool(select.select([mailbox], [], [], 0)[0])


def test_items_come_out_in_their_order_and_reports_after_them(mailbox: Mailbox) -> None:
    first, second = ServerConnectionClosed("a:1"), ServerConnectionClosed("b:1")
    assert mailbox.offer(report("c:1"))
    mailbox.put(first)
    assert mailbox.offer(second)
    assert mailbox.take() == [first, second, report("c:1")]
    assert mailbox.take() == []


def test_only_the_newest_report_of_a_server_is_kept(mailbox: Mailbox) -> None:
    for load in (0.1, 0.2, 0.3):
        mailbox.offer(report("a:1", load))
    assert mailbox.take() == [report("a:1", 0.3)]


def test_a_goodbye_undoes_a_report_that_waits(mailbox: Mailbox) -> None:
    mailbox.offer(report("a:1"))
    mailbox.offer(report("b:1"))
    mailbox.offer(ServerGoodbye("a:1"))
    assert mailbox.take() == [ServerGoodbye("a:1"), report("b:1")]


def test_a_goodbye_undoes_no_report_of_the_next_process(mailbox: Mailbox) -> None:
    born = ServerReport(Report("a:1", ("x.Y",), session="new"))
    mailbox.offer(born)
    mailbox.offer(ServerGoodbye("a:1", "old"))
    assert mailbox.take() == [ServerGoodbye("a:1", "old"), born]


def test_the_bell_rings_once_until_somebody_looks(mailbox: Mailbox) -> None:
    assert not is_ringing(mailbox)
    mailbox.put(Tick())
    mailbox.put(Tick())
    assert is_ringing(mailbox)
    mailbox.quiet()
    assert not is_ringing(mailbox)
    mailbox.take()
    mailbox.put(Tick())
    assert is_ringing(mailbox)


def test_what_is_left_for_the_next_turn_rings(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "ITEMS_PER_TURN_MAX", 2)
    for number in range(3):
        mailbox.put(ServerConnectionClosed(f"a:{number}"))
        mailbox.offer(report(f"a:{number}"))
    mailbox.quiet()
    assert len(mailbox.take()) == 4
    assert is_ringing(mailbox)
    mailbox.quiet()
    assert len(mailbox.take()) == 2
    assert not is_ringing(mailbox)


def test_what_comes_from_outside_is_bounded_and_results_are_not(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "WAITING_MAX", 1)
    monkeypatch.setattr(mailbox_module, "REPORTS_MAX", 1)
    question = Question(lambda status, leads: None)
    assert mailbox.offer(question)
    assert not mailbox.offer(ServerGoodbye("a:1"))
    assert mailbox.offer(report("a:1", 0.1))
    assert mailbox.offer(report("a:1", 0.2))
    assert not mailbox.offer(report("b:1"))
    mailbox.put(Tick())
    assert mailbox.take() == [question, Tick(), report("a:1", 0.2)]


def test_nothing_is_lost_between_threads(mailbox: Mailbox) -> None:
    each_thread = 5000
    taken: list[Event | Question] = []
    reports = 0

    def produce(thread: int) -> None:
        for number in range(each_thread):
            mailbox.put(ServerConnectionClosed(f"{thread}:{number}"))
            mailbox.offer(report(f"h{thread}:{number % 7}", number / each_thread))

    threads = [threading.Thread(target=produce, args=(each,)) for each in range(4)]
    for each in threads:
        each.start()
    closed = 0
    while closed < 4 * each_thread:
        assert select.select([mailbox], [], [], 5.0)[0], "an item waits and nobody rang"
        mailbox.quiet()
        for item in mailbox.take():
            closed += isinstance(item, ServerConnectionClosed)
            reports += isinstance(item, ServerReport)
            taken.append(item)
    for each in threads:
        each.join()
    last = mailbox.take()
    newest = {
        item.report.address: item.report.load
        for item in [*taken, *last]
        if isinstance(item, ServerReport)
    }
    assert len(newest) == 28
    assert all(load > 0.99 for load in newest.values())
