"""Messages of other epochs, tries and lists: each test needs one comparison that no other needs."""

from __future__ import annotations

from dataclasses import replace

from center.core.ballot import Ballot, State
from center.core.events import (
    LinkDown,
    Persist,
    Persisted,
    PersistFailed,
    Planned,
    PlannedMap,
    RoleChanged,
)
from center.core.ledger import Ledger
from center.core.messages import (
    Acceptance,
    Confirmation,
    Inquiry,
    Introduction,
    Join,
    Ping,
    Pong,
    Proposal,
    Put,
    Relay,
    Silent,
    Stored,
)
from center.core.record import MapRecord, Record
from libevrpc.core.clustermap import ClusterMap, ServerEntry
from unit_test.center_core.bench import (
    DIGEST,
    RECORD,
    Bench,
    confirmation,
    introduction,
    map_record,
    said,
)

SERVER = "10.0.0.1:80"


def with_server(epoch: int, version: int) -> MapRecord:
    made = ClusterMap("c", epoch, version, (ServerEntry(SERVER, ("s.S",)),))
    return MapRecord(epoch, version, (0, 0), made.encode())


def elected(bench: Bench, accepted_epoch: int) -> int:
    """Have center 1 win its present round by a voter bound to `accepted_epoch`."""
    mine = said(bench.later(0.2), Proposal)[0]
    won = bench.hear(2, replace(mine, accepted_epoch=accepted_epoch))
    return said(won, Confirmation)[0].epoch


# Leader


def test_a_late_promise_to_an_earlier_try_makes_no_follower() -> None:
    bench = Bench()
    epoch = bench.leads()
    assert said(bench.hear(3, bench.acceptance(epoch - 1)), Put) == []


def test_an_answer_to_a_ping_of_an_earlier_reign_prolongs_no_lease() -> None:
    bench = Bench()
    epoch = bench.leads()
    bench.later(0.25)
    for sequence in range(1, 4):
        bench.hear(2, Pong(epoch - 1, sequence, (3, 5)))
    bench.later(0.04)
    assert bench.node.may_claim(bench.now_s)
    assert not bench.node.may_claim(bench.now_s + 0.03)


# Candidate


def test_a_candidate_whose_disk_failed_asks_it_again() -> None:
    bench = Bench(disk=False)
    epoch = bench.stands()
    bench.hear(2, bench.acceptance(epoch))
    bench.feed(PersistFailed(bench.writes[0].token, "no space"))
    bench.later(0.1)
    assert [each.record.accepted_epoch for each in bench.writes] == [epoch, epoch]
    bench.feed(Persisted(bench.writes[1].token))
    assert bench.state is State.LEADING


def test_a_candidate_that_joins_or_promises_is_one_no_more() -> None:
    for gone in (Ping(9, 1, (0, 0)), confirmation(9)):
        bench = Bench()
        epoch = bench.stands()
        bench.hear(3, gone)
        bench.hear(2, bench.acceptance(epoch))
        assert bench.state is not State.LEADING


def test_a_candidate_tells_what_it_asks_for_though_its_disk_fails() -> None:
    """Who forgot a promise of that epoch must promise it again before it votes."""
    bench = Bench(disk=False)
    epoch = bench.stands()
    bench.feed(PersistFailed(bench.writes[0].token, "no space"))
    (told,) = said(bench.hear(2, Inquiry(0, DIGEST, 0)), Introduction)
    assert told.accepted_epoch == epoch


def test_promises_and_copies_for_nobody_are_ignored() -> None:
    bench = Bench()
    assert bench.hear(3, bench.acceptance(9)) == []
    assert bench.hear(3, Stored(3, (3, 5))) == []
    assert bench.feed(Planned((3, 1), PlannedMap(None))) == []
    bench.leads()
    assert bench.hear(3, Relay("c", map_record(99, 9))) == []


# Follower


def test_a_center_that_forgot_and_then_promised_more_acknowledges_no_map_of_its_leader() -> None:
    """Center 2 lost its disk too, and asks for epoch 7, which this one may have promised."""
    bench = Bench(None)
    bench.hear(3, introduction(bench, accepted_epoch=4, state=State.LEADING, leader=3))
    bench.hear(2, introduction(bench, empty=False))
    bench.hear(3, confirmation(4, established=True, stamp=(0, 0)))
    assert bench.state is State.FOLLOWING
    bench.disk = False
    put = Put(4, "c", map_record(4, 1))
    bench.hear(3, put)
    bench.hear(2, introduction(bench, accepted_epoch=7))
    stored = bench.feed(Persisted(bench.writes[-1].token))
    assert said(stored + bench.hear(3, put), Stored) == []


def test_a_leader_that_rose_to_a_larger_epoch_is_joined_before_its_pings_are_answered() -> None:
    bench = Bench()
    bench.follows(4)
    actions = bench.hear(3, Ping(5, 1, (0, 0)))
    assert said(actions, Pong) == []
    assert said(actions, Join, to=3)


# Election


def test_an_established_leader_of_a_smaller_epoch_than_the_promised_one_is_not_joined() -> None:
    """It must give up as soon as it hears of the promise; who joined would wait in vain."""
    bench = Bench()
    for peer, state in ((3, State.LEADING), (2, State.FOLLOWING)):
        vote = Proposal(9, Ballot(1, 1, 0, 3), state, 2, 2, (1, 1), DIGEST, 0)
        assert said(bench.hear(peer, vote), Join) == []
    assert bench.state is State.LOOKING


def test_an_established_leader_that_is_gone_is_not_joined() -> None:
    bench = Bench()
    bench.feed(LinkDown(3))
    for peer, state in ((3, State.LEADING), (2, State.FOLLOWING)):
        vote = Proposal(9, Ballot(4, 6, 0, 3), state, 4, 4, (4, 6), DIGEST, 0)
        assert said(bench.hear(peer, vote), Join) == []


# The name of the cluster


def test_a_cluster_keeps_its_name_while_a_new_leader_stores_its_first_map() -> None:
    ledger = Ledger(RECORD, DIGEST, 0)
    (write,) = ledger.store("c", MapRecord(4, 6, (3, 5), b""), False, lambda now_s: [])
    assert isinstance(write, Persist)
    ledger.on_persisted(write.token, 0.0)
    assert ledger.cluster_id == "c"


def test_a_name_that_replaces_another_counts_once_a_map_that_bears_it_is_committed() -> None:
    ledger = Ledger(RECORD, DIGEST, 0)
    for committed, name in ((False, ""), (True, "d")):
        (write,) = ledger.store("d", MapRecord(4, 6, (3, 5), b""), committed, lambda now_s: [])
        assert isinstance(write, Persist)
        ledger.on_persisted(write.token, 0.0)
        assert ledger.cluster_id == name


def test_a_second_map_of_one_leader_shows_that_its_first_was_committed() -> None:
    first = Record("c", 4, MapRecord(4, 6, (3, 5), b""))
    second = Record("c", 4, MapRecord(4, 7, (4, 6), b""))
    assert [Ledger(each, DIGEST, 0).cluster_id for each in (first, second)] == ["", "c"]


# No more than is needed


def test_only_those_who_have_not_promised_are_asked_again() -> None:
    bench = Bench(disk=False)
    bench.hear(2, bench.acceptance(bench.stands()))
    again = bench.later(0.1)
    assert (said(again, Confirmation, to=2), len(said(again, Confirmation, to=3))) == ([], 1)
    assert len(bench.writes) == 1
    bench.feed(Persisted(bench.writes[0].token))
    assert [each.record.map for each in bench.writes].count(RECORD.map) == 1


def test_a_question_repeated_changes_no_role_and_is_written_once() -> None:
    bench = Bench(disk=False)
    for _ in range(3):
        bench.hear(3, confirmation(4))
    assert said(bench.hear(3, Ping(4, 1, (0, 0))), Join) == []
    bench.feed(Persisted(bench.writes[0].token))
    assert len(bench.writes) == 1
    again = bench.hear(3, confirmation(4))
    assert not any(isinstance(each, RoleChanged) for each in again)


def test_a_map_that_the_candidate_has_is_not_sent_to_it() -> None:
    (answer,) = said(Bench().hear(3, confirmation(4)), Acceptance)
    assert (answer.stamp, answer.map) == ((3, 5), None)


def test_a_leader_writes_its_map_once_and_sends_it_to_no_holder() -> None:
    bench = Bench()
    epoch = bench.leads()
    bench.hear(2, Stored(epoch, (epoch, 6)))
    writes = len(bench.writes)
    bench.later(0.2)
    assert said(bench.hear(2, Pong(epoch, 1, (epoch, 6))), Put) == []
    assert len(bench.writes) == writes


def test_an_empty_center_among_empty_ones_votes_without_a_write() -> None:
    bench = Bench(None, disk=False)
    bench.hear(2, introduction(bench))
    bench.hear(3, introduction(bench))
    assert (bench.node.snapshot(0.0).votes, bench.writes) == (True, [])


# Ages of servers


def ages_after(adopted: MapRecord, committed: tuple[int, int], silent_s: float) -> float:
    """Return a server's age in the first map of a leader that adopted `adopted`."""
    bench = Bench(RECORD)
    bench.follows(4)
    bench.hear(3, Ping(4, 1, committed, (Silent(SERVER, silent_s),)))
    bench.feed(LinkDown(3))
    epoch = elected(bench, accepted_epoch=adopted.epoch)
    actions = bench.hear(2, bench.acceptance(epoch, map=adopted, stamp=adopted.stamp))
    (put,) = said(actions, Put, to=2)
    return ClusterMap.decode(put.map.payload).servers[0].age_s


def test_ages_that_a_leader_pinged_are_taken_over_for_its_own_map_only() -> None:
    assert ages_after(with_server(4, 6), (4, 6), 2.5) >= 2.5
    assert ages_after(with_server(6, 9), (4, 6), 2.5) < 1.0
