from __future__ import annotations

import pytest

from center.core import leadership as leadership_module
from center.core import ledger as ledger_module
from center.core.events import Action, Log, Persist
from center.core.leadership import Lease
from center.core.ledger import Ledger
from center.core.record import MapRecord, Record
from center.core.timing import Timing
from libevrpc.errors import ConfigError

NEW = MapRecord(2, 7, (2, 6), b"map")


def saying(text: str, into: list[str]) -> ledger_module.Then:
    def then(now_s: float) -> list[Action]:
        into.append(text)
        return []

    return then


def test_changes_asked_for_during_a_write_share_the_next_one_in_order() -> None:
    ledger, done = Ledger(None, "d", 1), list[str]()
    (first,) = ledger.accept(1, saying("accept 1", done))
    assert isinstance(first, Persist)
    assert ledger.accept(2, saying("accept 2", done)) == []
    assert ledger.store("c", NEW, False, saying("store", done)) == []
    assert (ledger.promised, ledger.durable.accepted_epoch) == (2, 0)
    (second,) = ledger.on_persisted(first.token, 0.0)
    assert isinstance(second, Persist)
    assert second.record == Record("c", 2, NEW, False, "d", 1)
    assert done == ["accept 1"]
    assert ledger.on_persisted(second.token, 0.0) == []
    assert done == ["accept 1", "accept 2", "store"]
    assert ledger.durable == second.record


def test_a_promise_never_goes_back() -> None:
    ledger = Ledger(Record(accepted_epoch=9), "d", 1)
    (write,) = ledger.accept(3, lambda now_s: [])
    assert isinstance(write, Persist)
    assert write.record.accepted_epoch == 9


def test_a_promise_that_forgot_nothing_stays_one_though_the_next_is_asked_for_meanwhile() -> None:
    ledger = Ledger(None, "d", 1)
    (first,) = ledger.accept(1, lambda now_s: [])
    assert isinstance(first, Persist)
    assert not first.record.forgot
    assert ledger.accept(2, lambda now_s: [], forgot=True) == []
    (second,) = ledger.on_persisted(first.token, 0.0)
    assert isinstance(second, Persist)
    assert not second.record.forgot


def test_a_disk_that_is_behind_is_named_once_for_each_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood of questions would fill the log that it is told in."""
    monkeypatch.setattr(ledger_module, "WAITING_MAX", 1)
    ledger = Ledger(None, "d", 1)

    def flood() -> int:
        return sum(isinstance(each, Log) for _ in range(99) for each in ledger.accept(1, _nothing))

    (write,) = ledger.accept(1, _nothing)
    assert flood() == 1
    assert flood() == 0
    assert isinstance(write, Persist)
    ledger.on_persisted(write.token, 0.0)
    assert flood() == 1


def _nothing(now_s: float) -> list[Action]:
    return []


def test_a_failed_write_takes_along_what_was_built_upon_it() -> None:
    ledger, done = Ledger(Record(accepted_epoch=1), "d", 1), list[str]()
    (first,) = ledger.accept(2, saying("2", done))
    ledger.accept(3, saying("3", done))
    assert isinstance(first, Persist)
    (line,) = ledger.on_failed(first.token, "no space", 0.0)
    assert isinstance(line, Log)
    assert (ledger.promised, done) == (1, [])
    assert ledger.on_persisted(first.token, 0.0) == []
    assert ledger.durable.accepted_epoch == 1


def test_changes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "WAITING_MAX", 1)
    ledger = Ledger(None, "d", 1)
    for epoch in (1, 2):
        ledger.accept(epoch, lambda now_s: [])
    (line,) = ledger.accept(3, lambda now_s: [])
    assert isinstance(line, Log)
    assert ledger.promised == 2


def test_a_commit_is_noted_once_and_for_the_kept_map_only() -> None:
    ledger = Ledger(Record(map=NEW), "d", 1)
    assert ledger.mark_committed((2, 6)) == []
    (write,) = ledger.mark_committed(NEW.stamp)
    assert isinstance(write, Persist)
    assert ledger.mark_committed(NEW.stamp) == []
    assert ledger.on_persisted(write.token, 0.0) == []
    assert ledger.durable.committed


def test_a_lease_counts_from_the_sending_of_what_was_answered() -> None:
    timing = Timing()
    lease = Lease(1, 3, timing, 10.0)
    assert lease.until_s(10.0) == 10.0
    assert not lease.lost(10.29)
    assert lease.lost(10.3)
    sequence = lease.sent(10.1)
    lease.sent(10.2)
    lease.answered(2, sequence)
    assert lease.until_s(10.25) == pytest.approx(10.4)
    lease.answered(3, 99)
    lease.contact(2, 10.0)
    assert lease.until_s(10.25) == pytest.approx(10.4)
    assert lease.live(10.25, 1.0) == (1, 2)
    assert lease.live(12.0, 1.0) == (1,)


def test_a_lone_leaders_lease_never_ends() -> None:
    lease = Lease(1, 1, Timing(), 0.0)
    assert lease.until_s(50.0) > 50.0
    assert not lease.lost(50.0)


def test_pings_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership_module, "PINGS_KEPT_MAX", 1)
    lease = Lease(1, 3, Timing(), 0.0)
    first = lease.sent(1.0)
    lease.sent(2.0)
    lease.answered(2, first)
    assert lease.until_s(2.0) == 0.0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"heartbeat_s": 0.0}, "heartbeat_s must be"),
        ({"patience_s": 0.25}, "below patience_s"),
        ({"heartbeat_s": 0.2}, "at least 2"),
        ({"retry_min_s": 2.0}, "retry_max_s"),
        ({"expire_s": 1.0}, "over round_s"),
        ({"suspect_ratio": 1.01}, "suspect_ratio"),
    ],
)
def test_spans_that_contradict_each_other_are_refused(wrong: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Timing(**wrong)
